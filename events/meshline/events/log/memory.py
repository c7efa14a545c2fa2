"""The log in memory: for tests and simulations, with the same semantics as the real ones."""

from __future__ import annotations

import asyncio
import uuid
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime

from meshline.events.clock import Clock, SystemClock
from meshline.events.errors import LogLayoutMismatch, LogNotFound, PositionLost
from meshline.events.log.opening import log_created
from meshline.events.log.protocol import Accepted, AppendResult, Entry, LogIdentity, LogRecord
from meshline.events.log.refusing import refusal_of
from meshline.events.log.settings import LogSettings
from meshline.events.log.sharing import share
from meshline.events.log.waiting import wait_at_most

__all__ = ["MemoryLog", "memory_log"]

_LOGS: dict[str, _Store] = {}


class _Store:
    """What the log holds, and who waits for more of it; shared by all that open the address."""

    def __init__(self, identity: LogIdentity) -> None:
        self.identity = identity
        self.records: list[list[LogRecord]] = [[] for _ in range(identity.partitions)]
        self.readers: set[asyncio.Event] = set()
        self.groups: dict[str, list[_MemoryMembership]] = {}


def memory_log(address: str, settings: LogSettings) -> MemoryLog:
    """Return the log at ``memory://NAME``; the same name is the same log in this process."""
    return MemoryLog(address, settings)


class MemoryLog:
    """See ``EventLog``. ``clock`` stamps the records, so that a simulation can hand in its own."""

    def __init__(
        self,
        address: str = "memory://",
        settings: LogSettings | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._address = address
        self._settings = settings or LogSettings()
        self._clock = clock or SystemClock()
        self._store: _Store | None = None

    @property
    def address(self) -> str:
        return self._address

    @property
    def identity(self) -> LogIdentity:
        return self._opened.identity

    @property
    def _opened(self) -> _Store:
        assert self._store is not None, "open() the log first"
        return self._store

    async def open(self, *, create_partitions: int | None = None) -> None:
        if self._store is None:
            self._store = _LOGS.get(self._address)
        if self._store is None:
            if create_partitions is None:
                raise LogNotFound(
                    f"There is no log at {self._address!r}: expected one that was created before. "
                    "Create it with `meshline log create`, or correct the address."
                )
            identity = LogIdentity(str(uuid.uuid4()), create_partitions, self._clock.now())
            self._store = _Store(identity)
            for partition in range(create_partitions):
                self._put(partition, [log_created(identity, partition)])
            if self._address != "memory://":
                _LOGS[self._address] = self._store
        elif create_partitions not in (None, self._store.identity.partitions):
            raise LogLayoutMismatch(
                f"The log at {self._address!r} has {self._store.identity.partitions} partitions, "
                f"but {create_partitions} were asked for. The layout of a log is fixed: leave the "
                "number away, or copy the history into a new log with `meshline log copy`."
            )

    def _put(self, partition: int, entries: Sequence[Entry]) -> Accepted:
        store = self._opened
        records = store.records[partition]
        first = len(records)
        appended_ms = int(self._clock.now().timestamp() * 1000)
        if records:
            appended_ms = max(appended_ms, records[-1].appended_ms)
        for offset, entry in enumerate(entries, first):
            records.append(LogRecord(partition, offset, entry.key, entry.value, appended_ms))
        for reader in store.readers:
            reader.set()
        return Accepted(first, len(records) - 1, contiguous=True)

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        assert entries, "an append has at least one entry"
        refusal = refusal_of(entries, self._settings)
        if refusal is not None:
            return refusal
        # An append is a trip elsewhere in every other log: let the others run here too.
        await asyncio.sleep(0)
        return self._put(partition, entries)

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        return {
            partition: await self.append(partition, some, deadline_s=deadline_s)
            for partition, some in entries.items()
        }

    def reader(self, start: Mapping[int, int]) -> MemoryReader:
        return MemoryReader(self._opened, start)

    async def ends(self) -> dict[int, int]:
        return {p: len(records) for p, records in enumerate(self._opened.records)}

    async def position_at(self, moment: datetime) -> dict[int, int]:
        moment_ms = moment.timestamp() * 1000
        return {
            p: bisect_left(records, moment_ms, key=lambda record: record.appended_ms)
            for p, records in enumerate(self._opened.records)
        }

    def membership(self, group: str, member: str) -> _MemoryMembership:
        return _MemoryMembership(self._opened, group, member)

    async def aclose(self) -> None:
        """Nothing to give back: the records live as long as the process."""


class MemoryReader:
    """See ``LogReader``."""

    def __init__(self, store: _Store, start: Mapping[int, int]) -> None:
        self._store = store
        self._next = dict(start)
        self._woken = False
        self._grown = asyncio.Event()
        self._store.readers.add(self._grown)

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        give_up = asyncio.get_running_loop().time() + wait_s
        while True:
            self._grown.clear()
            found = self._take(records_max)
            left_s = give_up - asyncio.get_running_loop().time()
            if found or self._woken or left_s <= 0:
                self._woken = False
                return found
            await wait_at_most(left_s, self._grown)

    def _take(self, records_max: int) -> dict[int, list[LogRecord]]:
        found: dict[int, list[LogRecord]] = {}
        for partition, offset in list(self._next.items()):
            records = self._store.records[partition]
            if offset > len(records):
                raise PositionLost(
                    f"Partition {partition} ends at {len(records)}, but is read from {offset} on: "
                    "the log was cut off, or the position is another log's. Do not go on; restore "
                    "the log."
                )
            taken = records[offset : offset + records_max]
            if taken:
                found[partition] = taken
                records_max -= len(taken)
                # Moved to the back, so that the others have their turn first the next time.
                del self._next[partition]
                self._next[partition] = offset + len(taken)
            if records_max <= 0:
                break
        return found

    def add(self, partition: int, offset: int) -> None:
        self._next[partition] = offset
        self._grown.set()

    def remove(self, partition: int) -> None:
        self._next.pop(partition, None)

    def advance(self, partition: int, offset: int) -> None:
        if partition in self._next:
            self._next[partition] = max(offset, self._next[partition])

    def wake(self) -> None:
        self._woken = True
        self._grown.set()

    async def aclose(self) -> None:
        self._store.readers.discard(self._grown)


class _MemoryMembership:
    """See ``Membership``."""

    def __init__(self, store: _Store, group: str, member: str) -> None:
        self._partitions = store.identity.partitions
        self._group = store.groups.setdefault(group, [])
        self._id = f"{member}-{uuid.uuid4()}"
        self._assigned: frozenset[int] = frozenset()
        self._moved = asyncio.Event()

    async def start(self) -> None:
        self._group.append(self)
        self._share_out()

    def _share_out(self) -> None:
        held = {p: member._id for member in self._group for p in member._assigned}
        shared = share(self._partitions, held, [member._id for member in self._group])
        for member in self._group:
            member._hold(frozenset(p for p, holder in shared.items() if holder == member._id))

    def _hold(self, assigned: frozenset[int]) -> None:
        self._assigned = assigned
        self._moved.set()

    @property
    def assigned(self) -> frozenset[int]:
        return self._assigned

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        while self._assigned == known:
            self._moved.clear()
            await self._moved.wait()
        return self._assigned

    async def aclose(self) -> None:
        if self in self._group:
            self._group.remove(self)
            self._hold(frozenset())
            self._share_out()
