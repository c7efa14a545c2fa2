"""A partition's log with a network in between that delays, repeats, cuts, loses and lies low.

What the log has taken stands for ever and in order: everything else that may go wrong with an
append does. All of it comes from one random generator, so one seed is one history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from meshline.events.log.protocol import Accepted, AppendResult, Entry, LogRecord, Refused, Unknown

__all__ = ["FaultyLog"]

Answer = Callable[[AppendResult], None]


@dataclass
class _Append:
    """An append on its way; ``first`` is where an earlier part of it stands."""

    entries: Sequence[Entry]
    answer: Answer | None
    first: int | None = None
    asked: int = 0


class FaultyLog:
    """One partition. ``records`` is the truth; ``advance`` lets one thing happen on the network.

    Args:
        now: the log's clock.
        faults: how many of ten appends go wrong; ``heal`` makes it none.
    """

    def __init__(self, random: Random, now: Callable[[], datetime], faults: int = 4) -> None:
        self.records: list[LogRecord] = []
        self._random = random
        self._now = now
        self._faults = faults
        self._appends: list[_Append] = []
        self._answers: list[tuple[Answer, AppendResult]] = []

    def is_quiet(self) -> bool:
        return not self._appends and not self._answers

    def heal(self) -> None:
        """From now on each append arrives; what is on its way still may be late."""
        self._faults = 0

    def put(self, entries: Sequence[Entry]) -> int:
        """Take the entries at once and return the offset of the first."""
        first = len(self.records)
        now_ms = int(self._now().timestamp() * 1000)
        for offset, entry in enumerate(entries, first):
            self.records.append(LogRecord(0, offset, entry.key, entry.value, now_ms))
        return first

    def append(self, entries: Sequence[Entry], answer: Answer) -> None:
        """Send the entries; ``answer`` is called once, some time later."""
        self._appends.append(_Append(entries, answer, asked=len(entries)))

    def advance(self) -> None:
        """Let one append arrive or go astray, or one answer."""
        if self._answers and (not self._appends or self._random.random() < 0.6):
            answer, result = self._answers.pop(self._random.randrange(len(self._answers)))
            answer(result)
        elif self._appends:
            append = self._appends.pop(self._random.randrange(len(self._appends)))
            if self._random.randrange(10) >= self._faults:
                self._arrive(append)
            else:
                self._random.choice(_FAULTS)(self, append)

    def _arrive(self, append: _Append, count: int | None = None) -> _Append:
        """Take in the first ``count`` entries, by default all, and return what is left to come."""
        taken, left = append.entries[:count], append.entries[count:] if count is not None else ()
        begins = append.first
        if taken:
            first = self.put(taken)
            begins = first if begins is None else begins
        if not left and begins is not None:
            last = len(self.records) - 1
            self._say(append, Accepted(begins, last, last - begins + 1 == append.asked))
        return _Append(left, append.answer, begins, append.asked)

    def _say(self, append: _Append, result: AppendResult) -> None:
        if append.answer is not None:
            self._answers.append((append.answer, result))

    # -- what goes wrong -----------------------------------------------------------------------

    def _lose(self, append: _Append) -> None:
        self._say(append, Unknown("lost"))

    def _refuse(self, append: _Append) -> None:
        if append.first is None:
            self._say(append, Refused("refused"))
        else:
            self._lose(append)

    def _lose_answer(self, append: _Append) -> None:
        self.put(append.entries)
        self._say(append, Unknown("the answer was lost"))

    def _delay(self, append: _Append) -> None:
        """Give up waiting; the append is still on its way and may come at any time."""
        self._say(append, Unknown("too late"))
        self._appends.append(_Append(append.entries, None, asked=append.asked))

    def _repeat(self, append: _Append) -> None:
        """Arrive now, and once more later."""
        self._arrive(append)
        self._appends.append(_Append(append.entries, None, asked=append.asked))

    def _split(self, append: _Append) -> None:
        """Take a part now; the rest comes later, or never."""
        left = self._arrive(append, self._random.randint(0, len(append.entries)))
        if left.entries and self._random.random() < 0.5:
            self._appends.append(left)
        elif left.entries:
            self._say(append, Unknown("cut off"))


_FAULTS = (
    FaultyLog._lose,
    FaultyLog._refuse,
    FaultyLog._lose_answer,
    FaultyLog._delay,
    FaultyLog._repeat,
    FaultyLog._split,
)
