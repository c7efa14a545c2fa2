"""Reading a whole log as nobody else does, and holding it against what really ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from meshline.engine.core.keeper import Keeper
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import SnapshotStore
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.errors import EventUnreadable
from meshline.events.fence import Fence
from meshline.events.log import EventLog, LogRecord
from meshline.testing.auditor import Auditor
from meshline.workflow.registry import Registry
from tests.acceptance.support.places import every_record

__all__ = [
    "Audit",
    "Auditing",
    "Execution",
    "audit",
    "executions_in",
    "states_of_other_readers",
]


class Execution(NamedTuple):
    """One try of one step: the same for what the log says and for what ran."""

    run_id: str
    step: str
    attempt: int


@dataclass
class Audit:
    """What a log says. Only facts that count are counted, but for ``void``.

    ``started`` and ``outcomes`` are by try, ``succeeded`` by run and step.
    """

    records: dict[int, list[LogRecord]] = field(default_factory=dict)
    states: dict[int, PartitionState] = field(default_factory=dict)
    started: Counter[Execution] = field(default_factory=Counter)
    outcomes: Counter[Execution] = field(default_factory=Counter)
    succeeded: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    takeovers: Counter[tuple[str, str]] = field(default_factory=Counter)
    claims: Counter[int] = field(default_factory=Counter)
    void: list[tuple[LogRecord, Any]] = field(default_factory=list)
    unreadable: list[LogRecord] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)


class Auditing:
    """Reads a log further each time, and what is found so far is always there."""

    def __init__(self, registry: Registry) -> None:
        self.found = Audit()
        self._registry = registry
        self._auditors: dict[int, Auditor] = {}
        self._fences: dict[int, Fence] = {}

    async def read_on(self, log: EventLog) -> Audit:
        """Read up to the present end.

        Raises:
            HistoryWrong: a fact that counts says what must never be said.
        """
        found = self.found
        start = {partition: len(records) for partition, records in found.records.items()}
        async for record in every_record(log, start):
            found.records.setdefault(record.partition, []).append(record)
            self._read(record)
        found.states = {partition: auditor.state for partition, auditor in self._auditors.items()}
        found.statuses = {}
        for state in found.states.values():
            found.statuses |= {run_id: run.status for run_id, run in state.runs.items()}
            found.statuses |= {run_id: ended.status for run_id, ended in state.ended.items()}
        return found

    def _read(self, record: LogRecord) -> None:
        found, partition = self.found, record.partition
        auditor = self._auditors.setdefault(partition, Auditor(self._registry, partition))
        try:
            event = decode(record.value)
        except EventUnreadable:
            # Somebody else's bytes concern no run.
            found.unreadable.append(record)
            auditor.state.next_offset = record.offset + 1
            return
        counts = self._fences.setdefault(partition, Fence()).admits(event, record.offset)
        auditor.read(record)
        if not counts:
            found.void.append((record, event))
        elif isinstance(event.data, facts.PartitionClaimed):
            found.claims[partition] += 1
        else:
            _count(found, event.subject, event.data)


async def audit(log: EventLog, registry: Registry) -> Audit:
    """Read all of the log.

    Raises:
        HistoryWrong: a fact that counts says what must never be said.
    """
    return await Auditing(registry).read_on(log)


def _count(found: Audit, run_id: str, data: Any) -> None:
    if isinstance(data, facts.StepStarted):
        found.started[Execution(run_id, data.step, data.attempt)] += 1
        found.why[data.why] += 1
        found.takeovers[run_id, data.step] += data.why == "taken_over"
    elif isinstance(data, facts.StepSucceeded | facts.StepFailed):
        found.outcomes[Execution(run_id, data.step, data.attempt)] += 1
        by_step = found.succeeded if isinstance(data, facts.StepSucceeded) else found.failed
        by_step[run_id, data.step] += 1


def executions_in(file: Path) -> tuple[Counter[Execution], Counter[Execution]]:
    """Return how often each try really began, and how often it came to its end."""
    begun: Counter[Execution] = Counter()
    ended: Counter[Execution] = Counter()
    for line in file.read_text("utf-8").splitlines():
        what, run_id, step, attempt, _ = line.split(" ")
        (begun if what == "begin" else ended)[Execution(run_id, step, int(attempt))] += 1
    return begun, ended


async def states_of_other_readers(
    found: Audit, registry: Registry, snapshots: SnapshotStore | None, seed: int
) -> Iterator[tuple[str, PartitionState]]:
    """The states to which others come: a keeper that reads batches, and who begins at a snapshot.

    They must all be those of the audit, which folds record by record.
    """
    random = Random(seed)
    states: list[tuple[str, PartitionState]] = []
    for partition, records in sorted(found.records.items()):
        keeper = Keeper(PartitionState(partition), registry, name="reader", source="test")
        position = 0
        while position < len(records):
            size = random.randint(1, 700)
            keeper.read(records[position : position + size])
            position += size
        states.append((f"keeper of {partition}", keeper.state))
        snapshot = None if snapshots is None else await snapshots.load(partition)
        if snapshot is not None:
            start = snapshot.next_offset
            for record in records[start:]:
                _fold_record(snapshot, record)
            states.append((f"snapshot of {partition} at {start}", snapshot))
    return iter(states)


def _fold_record(state: PartitionState, record: LogRecord) -> None:
    try:
        fold(state, decode(record.value), record.offset)
    except EventUnreadable:
        state.next_offset = record.offset + 1
