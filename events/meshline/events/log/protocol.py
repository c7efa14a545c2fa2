"""What every log can do. The engine and the projections know nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

__all__ = [
    "Accepted",
    "AppendResult",
    "Entry",
    "EventLog",
    "LogIdentity",
    "LogReader",
    "LogRecord",
    "Membership",
    "Refused",
    "Unknown",
]


class Entry(NamedTuple):
    """What is appended: a key (the run id; empty for the partition's own records) and bytes."""

    key: str
    value: bytes


class LogRecord(NamedTuple):
    """What is read: an entry, where it stands, and when the log took it (milliseconds, Unix)."""

    partition: int
    offset: int
    key: str
    value: bytes
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The entries are in the log, at these offsets, in the order given.

    ``contiguous`` says that no other record stands between them; with ``first`` being the offset
    right after the last record read, an answer is as good as reading it back.
    """

    first: int
    last: int
    contiguous: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """None of the entries is in the log, and the same bytes would be refused again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """No answer before the deadline: the entries may be in the log, or come to be, or not."""

    reason: str


AppendResult = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Which log this is. ``log_id`` was drawn when it was created; a re-created log has another."""

    log_id: str
    partitions: int
    created_at: datetime


class LogReader(Protocol):
    """Reads some partitions, each from a position on, in order, without a gap."""

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        """Return the next records by partition; empty if none came within ``wait_s`` seconds.

        Never returns an empty list for a partition. Safe to cancel: nothing is lost, the next
        fetch returns what this one would have.

        Raises:
            PositionLost: the log no longer (or not yet) holds the reader's position.
            LogIdentityChanged: the log was re-created meanwhile.
        """
        ...

    def add(self, partition: int, offset: int) -> None:
        """Read this partition too, from ``offset`` on (0 is the first record)."""
        ...

    def remove(self, partition: int) -> None:
        """Stop reading this partition; it may be added again."""
        ...

    def advance(self, partition: int, offset: int) -> None:
        """Go on at ``offset``: what stands before it is known already and is not returned."""
        ...

    def wake(self) -> None:
        """Let a waiting ``fetch`` return at once; if none waits, the next one does."""
        ...

    async def aclose(self) -> None: ...


class Membership(Protocol):
    """Who should hold which partition: a hint, never a fence. Epochs fence."""

    async def start(self) -> None: ...

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that this member should hold now."""
        ...

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Wait until ``assigned`` differs from ``known``, and return it. Safe to cancel."""
        ...

    async def aclose(self) -> None:
        """Leave, so that others take over at once."""
        ...


class EventLog(Protocol):
    """An append-only log in partitions. Safe for many tasks of one event loop."""

    @property
    def address(self) -> str:
        """The address without secrets, for people to read."""
        ...

    @property
    def identity(self) -> LogIdentity:
        """Which log this is; known after ``open``."""
        ...

    async def open(self, *, create_partitions: int | None = None) -> None:
        """Connect, and create the log with that many partitions if there is none.

        A new log's partitions each begin with a ``LogCreated`` record at offset 0. Two that create
        it at once may leave a second one behind the first: only the one at offset 0 means anything.

        Raises:
            LogNotFound: there is none, and ``create_partitions`` is None.
            LogUnavailable: nobody answered within the settings' deadline.
            LogLayoutMismatch: the partitions are not those stored at creation.
        """
        ...

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        """Append the entries, at least one, in order; all or nothing if they fit one batch.

        Never raises for the world's faults: the answer is accepted, refused or unknown.
        """
        ...

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        """Append to several partitions at once; each has its own answer."""
        ...

    def reader(self, start: Mapping[int, int]) -> LogReader:
        """Return a reader of these partitions from these offsets on."""
        ...

    async def ends(self) -> dict[int, int]:
        """Return by partition the offset that the next record will have."""
        ...

    async def position_at(self, moment: datetime) -> dict[int, int]:
        """Return by partition the offset of the first record appended at or after ``moment``."""
        ...

    def membership(self, group: str, member: str) -> Membership:
        """Return a membership in ``group``; ``member`` is this process's name, for people."""
        ...

    async def aclose(self) -> None: ...
