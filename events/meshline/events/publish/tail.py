"""The end of the log, followed while somebody waits for an answer.

One reader for all who wait. A partition is read from the first request that waits for an answer
until none does. Most records are somebody else's, so each is looked at as bytes first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from meshline.events.codec import Glance, decode, glance
from meshline.events.envelope import Position, Recorded
from meshline.events.errors import EventUnreadable, EventVersionUnknown, MeshlineError
from meshline.events.ids import causation_of
from meshline.events.log import EventLog, LogReader, LogRecord
from meshline.events.publish.outgoing import Outgoing
from meshline.events.publish.settings import PublisherSettings

__all__ = ["Tail"]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Followed:
    """A partition that is read, or about to be.

    ``early`` holds the answers that came while an append was under way: one of them may be to the
    append, whose position is not known yet. ``doubted`` are requests whose append had no answer,
    by the bytes of their id: they may stand anywhere from there on.
    """

    next: int | None = None
    listening: bool = False
    expected: dict[bytes, Outgoing] = field(default_factory=dict)
    doubted: dict[bytes, Outgoing] = field(default_factory=dict)
    early: dict[bytes, list[LogRecord]] = field(default_factory=dict)
    # As in fence.py, but begun in the middle of an epoch: -1 until the first fact or claim, and
    # the number is None until the first fact.
    epoch: int = -1
    sequence: int | None = None
    claims: list[int] = field(default_factory=list)

    @property
    def is_needed(self) -> bool:
        return bool(self.listening or self.expected or self.doubted)

    def begin(self, offset: int) -> None:
        """Read from here on: for the first time, or once more; then the claims before are known."""
        self.next = offset
        self.epoch = max((claim for claim in self.claims if claim < offset), default=-1)
        self.sequence = None

    def claimed(self, offset: int) -> None:
        self.epoch, self.sequence = offset, 0
        if offset not in self.claims:
            self.claims.append(offset)

    def admits(self, seen: Glance) -> bool:
        """Return whether the fact counts, as far as can be told from where reading began."""
        assert seen.epoch is not None
        if seen.epoch < self.epoch:
            return False
        # A gap in a known epoch voids the rest of it; only a newer claim is believed again.
        known = self.sequence if seen.epoch == self.epoch else None
        if known is not None and seen.sequence != known + 1:
            return False
        self.epoch, self.sequence = seen.epoch, seen.sequence
        return True


class Tail:
    """Finds the facts that answer requests."""

    def __init__(self, log: EventLog, settings: PublisherSettings) -> None:
        self._log = log
        self._settings = settings
        self._followed: dict[int, _Followed] = {}
        self._known_ends: dict[int, int] = {}
        self._is_prepared = False
        self._preparing = asyncio.Lock()
        self._reader: LogReader | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def prepare(self) -> None:
        """Learn once where the log ends, so that an append in doubt can be looked for."""
        async with self._preparing:
            if not self._is_prepared:
                for partition, end in (await self._log.ends()).items():
                    self.note_end(partition, end)
                self._is_prepared = True

    def known_end(self, partition: int) -> int:
        """Return an offset that the partition is known to have reached."""
        return self._known_ends.get(partition, 0)

    def note_end(self, partition: int, end: int) -> None:
        self._known_ends[partition] = max(end, self._known_ends.get(partition, 0))

    def listen(self, partition: int) -> None:
        """Keep the answers that come from now on: an append is under way that wants one."""
        self._followed.setdefault(partition, _Followed()).listening = True

    def settle(self, partition: int) -> None:
        """The append under way is over, and what it expects is known."""
        followed = self._followed[partition]
        followed.listening = False
        followed.early.clear()
        self._drop_if_idle(partition)

    def expect(self, outgoing: Outgoing, position: Position) -> None:
        """Wait for the answer to the request that was appended at ``position``."""
        cause = causation_of(*position).encode()
        followed = self._followed[position.partition]
        followed.expected[cause] = outgoing
        outgoing.causes.append(cause)
        for record in followed.early.get(cause, ()):
            self._offer(outgoing, record)
        if outgoing.awaits_decision:
            self._read_from(position.partition, position.offset)

    def doubt(self, partition: int, start: int, batch: Sequence[Outgoing]) -> None:
        """Look for these requests from ``start`` on: an append of them had no answer."""
        waiting = [outgoing for outgoing in batch if outgoing.awaits_decision]
        if not waiting:
            return
        followed = self._followed[partition]
        for outgoing in waiting:
            followed.doubted[outgoing.event_id.encode()] = outgoing
        if followed.next is None or followed.next > start:
            # Read again from before the append: it may have been read already, and not been known.
            followed.next = None
            self._read_from(partition, start)

    def forget(self, outgoing: Outgoing) -> None:
        """Nobody waits for the answer any more."""
        followed = self._followed.get(outgoing.partition)
        if followed is not None:
            for cause in outgoing.causes:
                followed.expected.pop(cause, None)
            followed.doubted.pop(outgoing.event_id.encode(), None)
            self._drop_if_idle(outgoing.partition)

    def _drop_if_idle(self, partition: int) -> None:
        if not self._followed[partition].is_needed:
            del self._followed[partition]
            if self._reader is not None:
                self._reader.remove(partition)

    def _read_from(self, partition: int, offset: int) -> None:
        followed = self._followed[partition]
        if followed.next is not None:
            return  # It is being read, from an earlier request on.
        followed.begin(offset)
        if self._reader is not None:
            self._reader.add(partition, offset)
            self._reader.wake()
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        try:
            while await self._somebody_waits():
                if self._reader is None:
                    self._reader = self._log.reader(self._starts())
                fetched = await self._reader.fetch(
                    self._settings.fetch_records_max, self._settings.fetch_wait_s
                )
                for partition, records in fetched.items():
                    self._read(partition, records)
        except MeshlineError as error:
            # What they wait for is in the log all the same: their answer is `appended`.
            logger.warning("No answers can be read: %s", error)
            self._give_up()
        except Exception:
            logger.exception("No answers can be read")
            self._give_up()
        finally:
            reader, self._reader, self._task = self._reader, None, None
            if reader is not None:
                await reader.aclose()

    def _starts(self) -> dict[int, int]:
        return {p: f.next for p, f in self._followed.items() if f.next is not None}

    async def _somebody_waits(self) -> bool:
        """Return False when nobody has waited for a while."""
        while not self._starts():
            self._news.clear()
            try:
                async with asyncio.timeout(self._settings.idle_s):
                    await self._news.wait()
            except TimeoutError:
                return bool(self._starts())
        return True

    def _read(self, partition: int, records: Sequence[LogRecord]) -> None:
        for record in records:
            followed = self._followed.get(partition)
            if followed is None or followed.next is None:
                return
            if record.offset < followed.next:
                continue
            if record.offset > followed.next:
                # Fetched before reading began again from further up.
                if self._reader is not None:
                    self._reader.add(partition, followed.next)
                return
            followed.next = record.offset + 1
            self._look(followed, record)

    def _look(self, followed: _Followed, record: LogRecord) -> None:
        seen = glance(record.value)
        if seen.epoch is None:
            if seen.is_claim:
                followed.claimed(record.offset)
            elif followed.doubted:
                self._recognise(followed, record)
            return
        if not followed.admits(seen) or seen.causation is None:
            return
        outgoing = followed.expected.get(seen.causation)
        if outgoing is not None:
            self._offer(outgoing, record)
        elif followed.listening:
            followed.early.setdefault(seen.causation, []).append(record)

    def _recognise(self, followed: _Followed, record: LogRecord) -> None:
        for event_id, outgoing in list(followed.doubted.items()):
            cause = causation_of(record.partition, record.offset).encode()
            if b'"id":"%b"' % event_id in record.value and cause not in outgoing.causes:
                followed.expected[cause] = outgoing
                outgoing.causes.append(cause)

    def _offer(self, outgoing: Outgoing, record: LogRecord) -> None:
        try:
            fact = decode(record.value)
        except (EventUnreadable, EventVersionUnknown) as error:
            logger.warning("An answer can't be read: %s", error)
            return
        decided = outgoing.decided
        if decided is None or decided.done() or not outgoing.answers(fact):
            return
        decided.set_result(Recorded(fact, Position(record.partition, record.offset)))
        self.forget(outgoing)

    def _give_up(self) -> None:
        for followed in self._followed.values():
            for outgoing in (*followed.expected.values(), *followed.doubted.values()):
                if outgoing.decided is not None and not outgoing.decided.done():
                    outgoing.decided.set_result(None)
        self._followed = {p: f for p, f in self._followed.items() if f.listening}
        for partition in self._followed:
            self._followed[partition] = _Followed(listening=True)

    async def aclose(self) -> None:
        """Stop reading; who still waits has ``None`` for an answer."""
        self._give_up()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
