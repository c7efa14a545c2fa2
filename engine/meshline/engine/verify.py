"""Holding a whole log against everything that must be true of one, partition by partition.

At any time there is one partition's state in memory, as a worker has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from meshline.engine.core.auditor import Auditor
from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import NoSnapshots, SnapshotStore
from meshline.events.codec import decode
from meshline.events.errors import EventUnreadable, EventVersionUnknown, PositionLost
from meshline.events.facts import LogCreated
from meshline.events.history import History, Seal, SealCheck
from meshline.events.log import EventLog, LogRecord
from meshline.events.log.reading import records_until
from meshline.events.violations import Violation, violation
from meshline.workflow.registry import Registry

__all__ = ["Checked", "LogCheck", "Probe"]


class Probe(NamedTuple):
    """What somebody else says of a partition at a position: asked when the reader is there.

    ``look`` is handed the state up to there and the record before it.
    """

    partition: int
    offset: int
    about: str
    look: Callable[[PartitionState, LogRecord | None], Iterator[Violation]]


@dataclass
class Checked:
    """What was read."""

    records: int = 0
    void_facts: int = 0
    runs_open: int = 0
    runs_ended: int = 0
    digests: dict[int, tuple[int, str]] = field(default_factory=dict)


class LogCheck:
    """Iterate over ``run`` to the end; then ``checked`` says what was read.

    Args:
        log: opened.
        registry: the definitions that its workers have; None: what can be said without them.
        now: the time that waiting and due runs are held against.
        patience_s: what is as old may still be on its way; longer than a sweep of the workers.
        seals: by the name that people know each by.
        snapshots: of the workers, to be held against the log.
        probes: what others say of the log.
        under_way: whether some worker is at a try; who can't know believes what the log says.
        progress: is told how many records more are done.
        observe: is handed each partition's auditor when it is done.
    """

    def __init__(
        self,
        log: EventLog,
        registry: Registry | None,
        now: datetime,
        *,
        patience_s: float = 60.0,
        seals: Sequence[tuple[str, Seal]] = (),
        snapshots: SnapshotStore | None = None,
        probes: Sequence[Probe] = (),
        under_way: Callable[[str, str, int], bool] = lambda run_id, step, attempt: True,
        progress: Callable[[int], None] = lambda count: None,
        observe: Callable[[Auditor], None] = lambda auditor: None,
    ) -> None:
        self.checked = Checked()
        self._log = log
        self._registry = registry
        self._now = now
        self._patience_s = patience_s
        self._seals = seals
        self._snapshots = snapshots or NoSnapshots()
        self._probes = probes
        self._under_way = under_way
        self._progress = progress
        self._observe = observe

    async def run(self) -> AsyncIterator[Violation]:
        """Read all that the log holds now, and yield what does not hold of it."""
        for name, seal in self._seals:
            if seal.log_id != self._log.identity.log_id:
                yield violation(
                    "seal_of_another_log", self._log.identity.log_id, seal.log_id, about=name
                )
        for partition in range(self._log.identity.partitions):
            async for found in self._partition(partition):
                yield found

    async def _partition(self, partition: int) -> AsyncIterator[Violation]:
        auditor = Auditor(self._registry, partition, partitions=self._log.identity.partitions)
        history = History()
        seals = [
            SealCheck(name, partition, seal.partitions[partition])
            for name, seal in self._seals
            if partition in seal.partitions
        ]
        probes = [probe for probe in self._probes if probe.partition == partition]
        # Before the log's end is asked for: what was said of it by then can't be ahead of it.
        snapshot = await self._snapshots.load(partition)
        if snapshot is not None:
            probes.append(_probe_of(snapshot))
        probes.sort(key=lambda probe: probe.offset)
        end = (await self._log.ends())[partition]
        whole = True
        try:
            async for records in records_until(self._log, partition, end):
                for record in records:
                    for found in self._record(record, auditor, history, seals, probes):
                        yield found
                self._progress(len(records))
        except PositionLost as error:
            whole = False
            yield self._missing(partition, history.next_offset, error.message)
        except _Stopped as stopped:
            whole = False
            yield stopped.violation
        if whole:
            for found in self._ended(auditor, history, seals, probes):
                yield found
        self._count(auditor, history)

    def _record(
        self,
        record: LogRecord,
        auditor: Auditor,
        history: History,
        seals: list[SealCheck],
        probes: list[Probe],
    ) -> Iterator[Violation]:
        if record.offset != history.next_offset:
            missing = f"the next record is {record.offset}"
            raise _Stopped(self._missing(record.partition, history.next_offset, missing))
        if record.offset == 0:
            yield from self._first(record)
        history.add(record)
        for check in seals:
            yield from check.passed(history)
        try:
            yield from auditor.read(record)
        except EventVersionUnknown as error:
            unknown = violation(
                "version_unknown",
                "a version that this program knows",
                error.message,
                partition=record.partition,
                offset=record.offset,
                about=record.key,
            )
            raise _Stopped(unknown) from error
        while probes and probes[0].offset <= history.next_offset:
            probe = probes.pop(0)
            if probe.offset == history.next_offset:
                yield from probe.look(auditor.state, record)

    def _first(self, record: LogRecord) -> Iterator[Violation]:
        identity = self._log.identity
        expected = LogCreated(
            log_id=identity.log_id, partition=record.partition, partitions=identity.partitions
        )
        try:
            found = decode(record.value).data
        except (EventUnreadable, EventVersionUnknown):
            found = None
        if found != expected:
            yield violation(
                "log_wrong", repr(expected), repr(found), partition=record.partition, offset=0
            )

    def _missing(self, partition: int, offset: int, found: str) -> Violation:
        return violation(
            "records_missing", f"the record {offset}", found, partition=partition, offset=offset
        )

    def _ended(
        self, auditor: Auditor, history: History, seals: list[SealCheck], probes: list[Probe]
    ) -> Iterator[Violation]:
        for check in seals:
            yield from check.missing(history)
        for probe in probes:
            yield violation(
                "log_cut_off",
                f"records up to {probe.offset}, which {probe.about} has read",
                f"{history.next_offset} records",
                partition=probe.partition,
                offset=history.next_offset,
                about=probe.about,
            )
        yield from auditor.at_rest(self._now, self._patience_s, self._under_way)

    def _count(self, auditor: Auditor, history: History) -> None:
        checked, state = self.checked, auditor.state
        checked.records += history.next_offset
        checked.void_facts += state.void_facts
        checked.runs_open += sum(not run.has_ended for run in state.runs.values())
        checked.runs_ended += len(state.ended)
        checked.digests[state.partition] = (history.next_offset, history.digest.hex())
        self._observe(auditor)


class _Stopped(Exception):
    """What stands behind this can't be checked."""

    def __init__(self, found: Violation) -> None:
        super().__init__(found.code)
        self.violation = found


def _probe_of(snapshot: PartitionState) -> Probe:
    about = f"the snapshot of partition {snapshot.partition}"

    def look(state: PartitionState, last: LogRecord | None) -> Iterator[Violation]:
        if state != snapshot:
            differing = _differing(state, snapshot)
            yield violation(
                "snapshot_wrong",
                "the state that the log gives",
                f"another: {differing}",
                partition=state.partition,
                offset=state.next_offset,
                about=about,
            )

    return Probe(snapshot.partition, snapshot.next_offset, about, look)


def _differing(state: PartitionState, snapshot: PartitionState) -> str:
    for name in ("runs", "ended", "pending"):
        here, there = getattr(state, name), getattr(snapshot, name)
        for key in sorted({*here, *there}):
            if here.get(key) != there.get(key):
                return f"{name} {key} is {there.get(key)!r}"
    return "its fence, its definitions or its count of void facts"
