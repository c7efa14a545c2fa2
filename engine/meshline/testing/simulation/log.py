"""The log of a simulation: one truth, and for each process a connection that may fail it.

What the log has taken stands for ever and in order. An append may be lost, refused, come late,
twice or in two parts; its answer may be lost; a process may be cut off, or stand still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from meshline.events.errors import LogUnavailable, PositionLost
from meshline.events.ids import partition_of
from meshline.events.log.opening import log_created
from meshline.events.log.protocol import (
    Accepted,
    AppendResult,
    Entry,
    LogIdentity,
    LogRecord,
    Refused,
    Unknown,
)
from meshline.events.log.refusing import refusal_of
from meshline.events.log.settings import LogSettings
from meshline.events.log.waiting import wait_at_most
from meshline.testing.simulation.membership import Group, SimulatedMembership
from meshline.testing.simulation.world import Process, World

__all__ = ["LogServer", "SimulatedLog"]

APPEND_DEADLINE_S = 4.0
_LATE_S_MAX = 15.0

_FATES = (
    "append_lost",
    "append_refused",
    "append_answer_lost",
    "append_late",
    "append_twice",
    "append_split",
)


class LogServer:
    """What the log holds. ``listeners`` are called with each record as it is taken."""

    def __init__(self, world: World) -> None:
        self.world = world
        partitions = world.plan.partitions
        self.identity = LogIdentity(f"log-of-seed-{world.plan.seed}", partitions, world.now())
        self.records: list[list[LogRecord]] = [[] for _ in range(partitions)]
        self.listeners: list[Callable[[LogRecord], None]] = []
        self.readers: dict[SimulatedReader, None] = {}
        self.under_way = 0
        self.groups: dict[str, Group] = {}

    def begin(self) -> None:
        for partition in range(self.identity.partitions):
            self.put(partition, [log_created(self.identity, partition, f"created-{partition}")])

    def put(self, partition: int, entries: Sequence[Entry]) -> int:
        """Take the entries at once, and return the offset of the first."""
        records = self.records[partition]
        first = len(records)
        now_ms = int(self.world.now().timestamp() * 1000)
        if records:
            now_ms = max(now_ms, records[-1].appended_ms)
        for offset, entry in enumerate(entries, first):
            record = LogRecord(partition, offset, entry.key, entry.value, now_ms)
            records.append(record)
            try:
                for listener in self.listeners:
                    listener(record)
            except Exception as error:
                self.world.fail(error)
        for reader in self.readers:
            reader.grown.set()
        return first

    def put_by_key(self, entry: Entry) -> None:
        """Take an entry into the partition that its key belongs to."""
        self.put(partition_of(entry.key, self.identity.partitions), [entry])

    def ends(self) -> dict[int, int]:
        return {partition: len(records) for partition, records in enumerate(self.records)}

    def group(self, name: str) -> Group:
        if name not in self.groups:
            self.groups[name] = Group(self.world, self.identity.partitions)
        return self.groups[name]


class _Append:
    """One append on its way; ``answered`` is what the process hears of it, and when."""

    def __init__(
        self, log: SimulatedLog, partition: int, entries: Sequence[Entry], kind: str
    ) -> None:
        self.partition = partition
        self.entries = entries
        self.kind = kind
        self.answered: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        self.line = log.process.line
        self._log = log
        self._begins: int | None = None

    def land(self, entries: Sequence[Entry], *, answers: bool, is_last: bool = True) -> None:
        """Be taken by the log, and let the answer go back."""
        server, process = self._log.server, self._log.process
        server.under_way -= 1
        first = server.put(self.partition, entries)
        self._begins = first if self._begins is None else self._begins
        last = first + len(entries) - 1
        if process.line is self.line and process.comes_to(f"{self.kind}:landed"):
            return
        if answers and is_last:
            whole = last - self._begins + 1 == len(self.entries)
            self.say(Accepted(self._begins, last, contiguous=whole))

    def say(self, result: AppendResult) -> None:
        process = self._log.process
        if not process.is_cut:
            process.world.later(process.latency_s(self._log.dice), self._hear, result)

    def _hear(self, result: AppendResult) -> None:
        if not self.answered.done():
            self.answered.set_result(result)


class SimulatedLog:
    """See ``EventLog``: one process's connection."""

    def __init__(self, server: LogServer, process: Process) -> None:
        self.server = server
        self.process = process
        self.dice = server.world.random(f"{process.name}/{process.starts}/log")
        self._settings = LogSettings()

    @property
    def address(self) -> str:
        return "simulated://"

    @property
    def identity(self) -> LogIdentity:
        return self.server.identity

    async def open(self, *, create_partitions: int | None = None) -> None:
        """It is there from the beginning."""

    async def aclose(self) -> None:
        """Nothing to give back."""

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        refusal = refusal_of(entries, self._settings)
        if refusal is not None:
            return refusal
        is_claim = entries[0].key == ""
        append = _Append(self, partition, list(entries), "claim" if is_claim else "append")
        await self.process.passes(f"{append.kind}:sent")
        self._send(append)
        result: AppendResult = Unknown("no answer before the deadline")
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s or APPEND_DEADLINE_S):
                result = await append.answered
        await self.process.passes(f"{append.kind}:answered")
        return result

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        return {
            partition: await self.append(partition, some, deadline_s=deadline_s)
            for partition, some in entries.items()
        }

    def _send(self, append: _Append) -> None:
        process, dice = self.process, self.dice
        if process.is_cut:
            if dice.random() < 0.5:
                self._struck("append_lost")
            else:
                self._struck("append_late")
                self._land(append, process.cut_left_s + dice.random(), answers=False)
            return
        fate = self._fate()
        if fate is None:
            self._land(append, process.latency_s(dice), answers=True)
        else:
            self._struck(fate)
            _FAULTS[fate](self, append)

    def _fate(self) -> str | None:
        chance = self.dice.random()
        if self.server.world.is_healed:
            return None
        for fate in _FATES:
            chance -= self.server.world.plan.rate(fate)
            if chance < 0:
                return fate
        return None

    def _struck(self, fate: str) -> None:
        self.server.world.strike(fate, self.process.name)

    def _land(
        self,
        append: _Append,
        after_s: float,
        entries: Sequence[Entry] | None = None,
        **how: bool,
    ) -> None:
        self.server.under_way += 1
        land = _later(append, append.entries if entries is None else entries, how)
        self.server.world.later(after_s, land)

    # -- what goes wrong -----------------------------------------------------------------------

    def _lose(self, append: _Append) -> None:
        if self.dice.random() < 0.5:
            append.say(Unknown("the connection broke"))

    def _refuse(self, append: _Append) -> None:
        append.say(Refused("simulated"))

    def _lose_answer(self, append: _Append) -> None:
        self._land(append, self.process.latency_s(self.dice), answers=False)
        if self.dice.random() < 0.5:
            self.server.world.later(0.2, append.say, Unknown("the answer was lost"))

    def _delay(self, append: _Append) -> None:
        self._land(append, self.dice.random() * _LATE_S_MAX, answers=False)
        if self.dice.random() < 0.7:
            append.say(Unknown("it takes too long"))

    def _repeat(self, append: _Append) -> None:
        after_s = self.process.latency_s(self.dice)
        self._land(append, after_s, answers=True)
        self._land(append, after_s + self.dice.random() ** 3 * _LATE_S_MAX, answers=False)

    def _split(self, append: _Append) -> None:
        """A part is taken; the rest comes later, or never."""
        after_s = self.process.latency_s(self.dice)
        count = self.dice.randint(0, len(append.entries) - 1)
        head, rest = append.entries[:count], append.entries[count:]
        if head:
            self._land(append, after_s, head, answers=False)
        if self.dice.random() < 0.6:
            self._land(append, after_s + self.dice.random() * 3.0, rest, answers=True)
        else:
            self.server.world.later(after_s + 0.2, append.say, Unknown("cut off"))

    # -- reading -------------------------------------------------------------------------------

    def reader(self, start: Mapping[int, int]) -> SimulatedReader:
        return SimulatedReader(self, start)

    async def ends(self) -> dict[int, int]:
        process = self.process
        await asyncio.sleep(process.latency_s(self.dice))
        chance = self.dice.random()
        world = self.server.world
        if process.is_cut or (not world.is_healed and chance < world.plan.rate("log_unavailable")):
            await asyncio.sleep(0.5)
            self._struck("log_unavailable")
            raise LogUnavailable("The log does not answer: this process is cut off.")
        return self.server.ends()

    async def position_at(self, moment: datetime) -> dict[int, int]:
        moment_ms = moment.timestamp() * 1000
        return {
            partition: next((r.offset for r in records if r.appended_ms >= moment_ms), len(records))
            for partition, records in enumerate(self.server.records)
        }

    def membership(self, group: str, member: str) -> SimulatedMembership:
        return SimulatedMembership(self.server.group(group), self.process)


class SimulatedReader:
    """See ``LogReader``."""

    def __init__(self, log: SimulatedLog, start: Mapping[int, int]) -> None:
        self.grown = asyncio.Event()
        self._log = log
        self._next = dict(start)
        self._woken = False
        log.server.readers[self] = None

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        process, dice = self._log.process, self._log.dice
        clock = asyncio.get_running_loop().time
        give_up = clock() + wait_s
        while True:
            await process.passes("fetch")
            await asyncio.sleep(process.latency_s(dice))
            # It may have been cut off, or have stood still, on the way.
            if process.is_cut:
                left_s = max(0.0, give_up - clock())
                await asyncio.sleep(min(process.cut_left_s, left_s) + 0.001)
            self.grown.clear()
            few = records_max if dice.random() < 0.7 else dice.randint(1, records_max)
            found = {} if process.is_cut else self._take(few)
            if found or self._woken or clock() >= give_up:
                self._woken = False
                return found
            await wait_at_most(give_up - clock(), self.grown)

    def _take(self, records_max: int) -> dict[int, list[LogRecord]]:
        found: dict[int, list[LogRecord]] = {}
        for partition, offset in list(self._next.items()):
            records = self._log.server.records[partition]
            if offset > len(records):
                raise PositionLost(f"Partition {partition} is read from {offset} on.")
            taken = records[offset : offset + records_max]
            if taken:
                found[partition] = taken
                records_max -= len(taken)
                del self._next[partition]
                self._next[partition] = offset + len(taken)
            if records_max <= 0:
                break
        return found

    def add(self, partition: int, offset: int) -> None:
        self._next[partition] = offset
        self.grown.set()

    def remove(self, partition: int) -> None:
        self._next.pop(partition, None)

    def advance(self, partition: int, offset: int) -> None:
        if partition in self._next:
            self._next[partition] = max(offset, self._next[partition])

    def wake(self) -> None:
        self._woken = True
        self.grown.set()

    async def aclose(self) -> None:
        self._log.server.readers.pop(self, None)


def _later(
    append: _Append, entries: Sequence[Entry], how: Mapping[str, bool]
) -> Callable[[], None]:
    return lambda: append.land(entries, **how)


_FAULTS: dict[str, Callable[[SimulatedLog, _Append], Any]] = {
    "append_lost": SimulatedLog._lose,
    "append_refused": SimulatedLog._refuse,
    "append_answer_lost": SimulatedLog._lose_answer,
    "append_late": SimulatedLog._delay,
    "append_twice": SimulatedLog._repeat,
    "append_split": SimulatedLog._split,
}
