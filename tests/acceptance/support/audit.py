"""Reading a whole log as nobody else does, and holding it against what really ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from meshline.engine.core.auditor import Auditor
from meshline.engine.core.keeper import Keeper
from meshline.engine.core.state import PartitionState
from meshline.engine.verify import LogCheck
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.errors import EventUnreadable
from meshline.events.fence import Fence
from meshline.events.log import EventLog, LogRecord
from meshline.events.violations import Violation
from meshline.workflow.registry import Registry
from tests.acceptance.support.places import every_record

__all__ = [
    "Audit",
    "Auditing",
    "Execution",
    "audit",
    "executions_in",
    "nobody",
    "states_in_batches",
]

UnderWay = Callable[[str, str, int], bool]


def nobody(run_id: str, step: str, attempt: int) -> bool:
    """All workers have ended: no try is under way."""
    return False


def believed(run_id: str, step: str, attempt: int) -> bool:
    """Some worker may be at the try, as the log says."""
    return True


class Execution(NamedTuple):
    """One try of one step: the same for what the log says and for what ran."""

    run_id: str
    step: str
    attempt: int


@dataclass
class Audit:
    """What a log says. Only facts that count are counted, but for ``void``.

    ``started`` and ``outcomes`` are by try, ``succeeded`` by run and step; ``violations`` is what
    does not hold of it.
    """

    records: dict[int, list[LogRecord]] = field(default_factory=dict)
    states: dict[int, PartitionState] = field(default_factory=dict)
    started: Counter[Execution] = field(default_factory=Counter)
    outcomes: Counter[Execution] = field(default_factory=Counter)
    succeeded: Counter[tuple[str, str]] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    claims: Counter[int] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
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
        """Read up to the present end."""
        found = self.found
        start = {partition: len(records) for partition, records in found.records.items()}
        async for record in every_record(log, start):
            found.records.setdefault(record.partition, []).append(record)
            self._read(record, log.identity.partitions)
        found.states = {partition: auditor.state for partition, auditor in self._auditors.items()}
        found.statuses = {}
        for state in found.states.values():
            found.statuses |= {run_id: run.status for run_id, run in state.runs.items()}
            found.statuses |= {run_id: ended.status for run_id, ended in state.ended.items()}
        return found

    def at_rest(self, patience_s: float, under_way: UnderWay = believed) -> list[Violation]:
        """Return what is stuck, or has no owner: nothing that is older should be."""
        now = datetime.now(UTC)
        return [
            each
            for auditor in self._auditors.values()
            for each in auditor.at_rest(now, patience_s, under_way)
            if each.severity == "error"
        ]

    def _read(self, record: LogRecord, partitions: int) -> None:
        found, partition = self.found, record.partition
        auditor = self._auditors.setdefault(
            partition, Auditor(self._registry, partition, partitions=partitions)
        )
        found.violations += [e for e in auditor.read(record) if e.severity == "error"]
        try:
            event = decode(record.value)
        except EventUnreadable:
            # Somebody else's bytes concern no run.
            found.unreadable.append(record)
            return
        counts = self._fences.setdefault(partition, Fence()).admits(event, record.offset)
        if not counts:
            found.void.append((record, event))
        elif isinstance(event.data, facts.PartitionClaimed):
            found.claims[partition] += 1
        else:
            _count(found, event.subject, event.data)


async def audit(log: EventLog, registry: Registry) -> Audit:
    """Read all of the log, as `meshline verify` does once all workers have ended."""
    found = await Auditing(registry).read_on(log)
    check = LogCheck(log, registry, datetime.now(UTC), patience_s=0.0, under_way=nobody)
    found.violations = [each async for each in check.run() if each.severity == "error"]
    return found


def _count(found: Audit, run_id: str, data: Any) -> None:
    if isinstance(data, facts.StepStarted):
        found.started[Execution(run_id, data.step, data.attempt)] += 1
        found.why[data.why] += 1
    elif isinstance(data, facts.StepSucceeded | facts.StepFailed):
        found.outcomes[Execution(run_id, data.step, data.attempt)] += 1
        found.succeeded[run_id, data.step] += isinstance(data, facts.StepSucceeded)


def executions_in(file: Path) -> tuple[Counter[Execution], Counter[Execution]]:
    """Return how often each try really began, and how often it came to its end."""
    begun: Counter[Execution] = Counter()
    ended: Counter[Execution] = Counter()
    for line in file.read_text("utf-8").splitlines():
        what, run_id, step, attempt, _ = line.split(" ")
        (begun if what == "begin" else ended)[Execution(run_id, step, int(attempt))] += 1
    return begun, ended


def states_in_batches(found: Audit, registry: Registry, seed: int) -> list[PartitionState]:
    """The states to which a keeper comes that reads in batches."""
    random = Random(seed)
    states: list[PartitionState] = []
    for partition, records in sorted(found.records.items()):
        keeper = Keeper(PartitionState(partition), registry, name="reader", source="test")
        position = 0
        while position < len(records):
            size = random.randint(1, 700)
            keeper.read(records[position : position + size])
            position += size
        states.append(keeper.state)
    return states
