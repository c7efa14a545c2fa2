"""A log that fails as told, and a keeper that answers triggers in the simplest way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.facts import (
    Fact,
    PartitionClaimed,
    RequestRejected,
    RunCancelled,
    TriggerAccepted,
    TriggerDeduplicated,
    TriggerRejected,
)
from meshline.events.ids import causation_of, new_event_id
from meshline.events.log import Accepted, AppendResult, Entry, EventLog, LogRecord, Refused, Unknown
from meshline.events.log.memory import MemoryLog
from meshline.events.requests import CancelRequested, TriggerReceived

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def memory_log(partitions: int = 4) -> MemoryLog:
    log = MemoryLog()
    await log.open(create_partitions=partitions)
    return log


async def everything(log: EventLog) -> list[LogRecord]:
    """All records but the first of each partition, which every log has."""
    expected = sum((await log.ends()).values()) - log.identity.partitions
    reader = log.reader(dict.fromkeys(range(log.identity.partitions), 1))
    found: list[LogRecord] = []
    while len(found) < expected:
        for records in (await reader.fetch(1000, 1)).values():
            found += records
    await reader.aclose()
    return found


class FailingLog(MemoryLog):
    """A memory log whose appends go as scripted, one word each, and well when the script is over.

    ``lost``: unknown, and not in the log. ``unanswered``: unknown, and in the log. ``late``:
    unknown, and in the log after the next append. ``refused`` · ``raises`` · ``scattered``:
    accepted, with another's record after each entry.
    """

    def __init__(self, *script: str) -> None:
        super().__init__()
        self.script = deque(script)
        self.appends: list[int] = []
        self.record_bytes_max = 1_000_000
        self._late: list[tuple[int, Sequence[Entry]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        await self.gate.wait()
        self.appends.append(len(entries))
        word = self.script.popleft() if self.script else "well"
        if word == "refused" or any(len(e.value) > self.record_bytes_max for e in entries):
            return Refused("A record is too large.")
        if word == "lost":
            return Unknown("No answer.")
        if word == "unanswered":
            await super().append(partition, entries)
            return Unknown("No answer.")
        if word == "late":
            self._late.append((partition, entries))
            return Unknown("No answer.")
        if word == "raises":
            raise RuntimeError("a mistake in the log")
        if word == "scattered":
            ends = []
            for entry in entries:
                ends.append(await super().append(partition, [entry]))
                await super().append(partition, [foreign()])
            first, last = ends[0], ends[-1]
            assert isinstance(first, Accepted) and isinstance(last, Accepted)
            return Accepted(first.first, last.last, contiguous=False)
        result = await super().append(partition, entries)
        for late_partition, late_entries in self._late:
            await super().append(late_partition, late_entries)
        self._late.clear()
        return result

    async def append_well(self, partition: int, entries: Sequence[Entry]) -> AppendResult:
        return await super().append(partition, entries)

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        raise NotImplementedError


def foreign() -> Entry:
    """A request of somebody else."""
    return Entry("x", encode(event(CancelRequested(), subject="x")))


def event(data: Any, *, subject: str, cause: str | None = None) -> Event[Any]:
    return Event(new_event_id(), "meshline/test", subject, NOW, data, NOW, causation_id=cause)


class Keeper:
    """Holds all partitions of a log; accepts, deduplicates and rejects by simple rules.

    A payload with ``invalid`` in it is rejected; a cancel request without a reason too.
    """

    def __init__(self, log: EventLog) -> None:
        self.log = log
        # The scripts of a failing log are about others.
        self._append = log.append_well if isinstance(log, FailingLog) else log.append
        self.epochs: dict[int, int] = {}
        self.sequences: dict[int, int] = {}
        self.known: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        for partition in range(self.log.identity.partitions):
            await self.claim(partition)
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def claim(self, partition: int) -> int:
        claim = PartitionClaimed(keeper="test", reducer_version=1)
        result = await self._append(partition, [Entry("", encode(event(claim, subject="")))])
        assert isinstance(result, Accepted)
        self.epochs[partition], self.sequences[partition] = result.first, 0
        return result.first

    async def state(self, partition: int, *facts: Event[Fact]) -> None:
        """Append facts as the newest keeper of the partition."""
        for fact in facts:
            self.sequences[partition] += 1
            await self.put(
                partition, fact, epoch=self.epochs[partition], sequence=self.sequences[partition]
            )

    async def put(self, partition: int, fact: Event[Fact], *, epoch: int, sequence: int) -> None:
        """Append a fact with numbers that may be wrong."""
        numbered = fact._replace(epoch=epoch, sequence=sequence)
        await self._append(partition, [Entry(fact.subject, encode(numbered))])

    async def _keep(self) -> None:
        reader = self.log.reader(dict.fromkeys(range(self.log.identity.partitions), 0))
        while True:
            for partition, records in (await reader.fetch(1000, 10)).items():
                for record in records:
                    request = decode(record.value)
                    if not isinstance(request.data, Fact):
                        await self.state(partition, *self.answers(request, record))

    def answers(self, request: Event[Any], record: LogRecord) -> list[Event[Fact]]:
        cause = causation_of(record.partition, record.offset)
        data = request.data
        facts: list[Fact] = []
        if isinstance(data, TriggerReceived):
            facts = [self.decide(request.subject, data)]
        elif isinstance(data, CancelRequested):
            facts = [
                RunCancelled(reason=data.reason)
                if data.reason
                else RequestRejected(request=request.id, code="no_reason", reason="Say why.")
            ]
        return [event(fact, subject=request.subject, cause=cause) for fact in facts]

    def decide(self, run_id: str, data: TriggerReceived) -> Fact:
        known: dict[str, Any] = {
            "source": data.source,
            "trigger_id": data.trigger_id,
            "trigger_type": data.trigger_type,
        }
        if data.unreadable is not None:
            return TriggerRejected(**known, code="unreadable", reason=data.unreadable.detail)
        if "invalid" in data.payload:
            return TriggerRejected(**known, code="invalid", reason="No.")
        if run_id in self.known:
            return TriggerDeduplicated(**known)
        self.known.add(run_id)
        return TriggerAccepted(**known, payload_hash="0", workflow="test", version=1)
