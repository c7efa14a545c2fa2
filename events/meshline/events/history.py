"""A history that proves it is whole: a running hash over every record, and seals on it.

The hash of a partition goes over the keys and bytes of all its records but the first, which names
the log: so a copy of a log has the same hashes, and what was sealed of the one can be proved of
the other. A seal is taken away and kept elsewhere: who changes an old record can't change it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from meshline.events.errors import SealInvalid
from meshline.events.log.protocol import LogRecord
from meshline.events.violations import Violation, violation

__all__ = ["History", "PartitionSeal", "Seal", "SealCheck", "read_seal"]

MARK_EVERY = 1_000
"""Records between two marks of a seal, which say where what was changed stands."""

_FORMAT = "meshline-seal-1"
_DIGEST_BYTES = 32
_START = bytes(_DIGEST_BYTES)


class History:
    """The running hash of one partition; feed it every record in the order of the log."""

    __slots__ = ("digest", "marks", "next_offset")

    def __init__(self) -> None:
        self.next_offset = 0
        self.digest = _START
        self.marks: list[str] = []

    def add(self, record: LogRecord) -> None:
        if record.offset:
            key = record.key.encode("utf-8", "surrogatepass")
            # Lengths, so that no two records have the same bytes in another division.
            head = b"%d:%d:" % (len(key), len(record.value))
            hashed = hashlib.blake2b(self.digest, digest_size=_DIGEST_BYTES)
            hashed.update(head + key + record.value)
            self.digest = hashed.digest()
        self.next_offset = record.offset + 1
        if self.next_offset % MARK_EVERY == 0:
            self.marks.append(self.digest[:8].hex())


@dataclass(frozen=True, slots=True)
class PartitionSeal:
    """The hash over the first ``records``; ``marks`` is what it was at each thousand before."""

    records: int
    digest: str
    marks: list[str]


@dataclass(frozen=True, slots=True)
class Seal:
    """What a log held when it was sealed."""

    log_id: str
    sealed_at: str
    partitions: dict[int, PartitionSeal]
    format: str = _FORMAT

    @staticmethod
    def of(log_id: str, sealed_at: str, histories: Mapping[int, History]) -> Seal:
        partitions = {
            p: PartitionSeal(history.next_offset, history.digest.hex(), list(history.marks))
            for p, history in sorted(histories.items())
        }
        return Seal(log_id, sealed_at, partitions)


def read_seal(value: bytes, name: str) -> Seal:
    """Return the seal that the bytes hold; ``name`` says whose they are, for the message.

    Raises:
        SealInvalid: they hold none.
    """
    try:
        content: dict[str, Any] = orjson.loads(value)
        if content["format"] != _FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        partitions = {
            int(p): PartitionSeal(int(s["records"]), str(s["digest"]), list(map(str, s["marks"])))
            for p, s in content["partitions"].items()
        }
        return Seal(str(content["log_id"]), str(content["sealed_at"]), partitions)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SealInvalid(
            f"Cannot read the seal {name!r}: {type(error).__name__}: {error}. Expected what "
            f"`meshline log seal` wrote ({_FORMAT}). Name such a file."
        ) from error


@dataclass
class SealCheck:
    """One partition of a seal, held against the history while that is read.

    Call ``passed`` after each record, and ``missing`` when there are no more.
    """

    name: str
    partition: int
    seal: PartitionSeal
    _agreed: int = 0
    _is_settled: bool = field(default=False, init=False)

    def passed(self, history: History) -> Iterator[Violation]:
        """Yield what differs, once, as soon as it is known."""
        offset = history.next_offset
        if self._is_settled or offset > self.seal.records:
            return
        if offset == self.seal.records:
            self._is_settled = True
            if history.digest.hex() != self.seal.digest:
                yield self._changed(offset)
        elif offset % MARK_EVERY == 0:
            number = offset // MARK_EVERY - 1
            if number < len(self.seal.marks) and history.marks[-1] != self.seal.marks[number]:
                self._is_settled = True
                yield self._changed(offset)
            else:
                self._agreed = offset

    def _changed(self, until: int) -> Violation:
        return violation(
            "history_changed",
            f"the records {self._agreed} to {until - 1} as {self.name} has sealed them",
            "at least one of them has other bytes or another key",
            partition=self.partition,
            offset=self._agreed,
            about=self.name,
        )

    def missing(self, history: History) -> Iterator[Violation]:
        """Yield that the partition ends before what was sealed, if it does."""
        if not self._is_settled and history.next_offset < self.seal.records:
            yield violation(
                "log_cut_off",
                f"at least {self.seal.records} records, as {self.name} has sealed them",
                f"{history.next_offset}",
                partition=self.partition,
                offset=history.next_offset,
                about=self.name,
            )
