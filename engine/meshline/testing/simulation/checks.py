"""What must hold after all: the invariants of a log, of its readers, its views and its clients.

Each function returns what does not hold, one sentence each. Nothing here knows the simulation:
all of them ask records, states and stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from meshline.engine.core.keeper import Keeper
from meshline.engine.core.state import PartitionState
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.envelope import Event, Position
from meshline.events.ids import causation_of
from meshline.events.log.protocol import LogIdentity, LogRecord
from meshline.events.publish import Answer, RequestAnswer
from meshline.events.publish.answer import TRIGGER_ANSWERS
from meshline.projections.from_scratch import compare_views
from meshline.projections.intake import Intake, Item
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection
from meshline.projections.recall import recall_among
from meshline.projections.store import Checkpoint, ViewStore
from meshline.projections.view import Batch, View
from meshline.testing.keeper_simulation import difference
from meshline.testing.simulation.clients import Operation
from meshline.workflow.registry import Registry

__all__ = [
    "client_problems",
    "fold_from_scratch",
    "reader_problems",
    "run_problems",
    "view_problems",
]

Answers = Mapping[str, Sequence[Event[Any]]]


def run_problems(states: Sequence[PartitionState], accepted: set[str]) -> Iterator[str]:
    """Each accepted trigger is one run; all have ended; no request is left without an answer."""
    runs: Counter[str] = Counter()
    for state in states:
        # An observed run that has ended is kept open too: it may go on.
        runs.update(dict.fromkeys([*state.runs, *state.ended]).keys())
        for run in state.runs.values():
            if not run.has_ended:
                yield f"run {run.run_id} of {run.workflow} is still {run.status}: {run.waits}"
        for cause, request in state.pending.items():
            yield f"request {cause} ({type(request.data).__name__}) has no answer"
    for run_id in sorted(accepted - {*runs}):
        yield f"the trigger of run {run_id} was accepted, and there is no such run"
    for run_id, count in runs.items():
        if count > 1 or run_id not in accepted:
            yield f"run {run_id} is there {count} times, accepted: {run_id in accepted}"


def reader_problems(
    records: Sequence[LogRecord],
    truth: PartitionState,
    registry: Registry,
    snapshot: PartitionState | None,
    dice: Random,
) -> Iterator[str]:
    """Whoever reads the partition comes to the same state: in batches, or from a snapshot on."""
    states = [("batches", PartitionState(truth.partition))]
    if snapshot is not None:
        states.append(("a snapshot", snapshot))
    for what, state in states:
        keeper = Keeper(state, registry, name="reader", source="reader")
        position = state.next_offset
        while position < len(records):
            size = dice.choice([1, 3, 50])
            keeper.read(records[position : position + size])
            position += size
        if keeper.state != truth:
            yield f"a reader of {what} believes: {difference(keeper.state, truth)}"


async def fold_from_scratch(
    records: Sequence[Sequence[LogRecord]],
    identity: LogIdentity,
    projections: Iterable[Projection],
    dice: Random,
) -> MemoryStore:
    """Return the views as they must be, folded in batches of any size."""
    store = MemoryStore(hashed=False)
    for projection in projections:
        read: dict[Position, Item] = {}
        installed = await store.install(projection, identity)
        view = View(projection, store, installed, recall_among(read))
        start = {partition: Checkpoint() for partition in range(len(records))}
        intake = Intake(start, projection.handles)
        for partition, some in enumerate(records):
            position = 0
            while position < len(some):
                batch = list(some[position : position + dice.choice([1, 7, 200])])
                items = intake.take(batch)
                read |= {item.position: item for item in items}
                end = {partition: intake.checkpoint(batch[-1])}
                change = await view.prepare(Batch(items, {partition: position}, end))
                assert change is not None
                await store.commit([change])
                view.committed(change)
                position += len(batch)
    return store


async def view_problems(
    store: ViewStore, scratch: MemoryStore, projections: Sequence[Projection]
) -> list[str]:
    """Each view stands where the log ends, and holds what a fold from scratch holds."""
    problems = [
        f"{found.table}{found.key}: {found.here} instead of {found.there}"
        for found in await compare_views(store, scratch, projections)
    ]
    here = {(status.name, status.version): status for status in await store.status()}
    for status in await scratch.status():
        kept = here.get((status.name, status.version))
        if kept is None or kept.checkpoints != status.checkpoints:
            problems.append(
                f"{status.name} v{status.version} stands at {kept and kept.checkpoints} instead "
                f"of {status.checkpoints}"
            )
    for projection in projections:
        parked, expected = await store.parked(projection), await scratch.parked(projection)
        if [p[:5] for p in parked] != [p[:5] for p in expected]:
            problems.append(f"{projection} has parked {parked} instead of {expected}")
    return problems


def client_problems(
    operations: Iterable[Operation],
    asked: Mapping[str, Sequence[Any]],
    answers: Answers,
    value_at: Callable[[int, int], bytes],
) -> Iterator[str]:
    """What clients were told is so: ok is in the log and answered so, fail is not in it."""
    for operation in operations:
        stands = asked.get(operation.name, ())
        if operation.result == "fail" and stands:
            yield f"{operation} was told that it failed, and stands at {stands}: {operation.error}"
        if operation.result != "ok":
            continue
        answer = operation.answer
        assert answer is not None
        if answer.position not in stands:
            said = decode(value_at(*answer.position))
            yield f"{operation} was told {answer.position}, where {said} stands; it is at {stands}"
            continue
        if answer.status == "appended":
            continue
        said_of = [
            _said(fact, operation.request.__class__.__name__ == "TriggerReceived")
            for place in stands
            for fact in answers.get(causation_of(*place), ())
        ]
        if _status(answer) not in said_of:
            yield f"{operation} was told {answer}, and the log says {said_of}"


def _status(answer: Answer | RequestAnswer) -> str:
    return f"{answer.status} {answer.code or ''}"


def _said(fact: Event[Any], is_trigger: bool) -> str:
    data = fact.data
    if isinstance(data, facts.TriggerAccepted) or not isinstance(data, TRIGGER_ANSWERS):
        return "accepted "
    if isinstance(data, facts.TriggerDeduplicated):
        return "repeated " if is_trigger else "accepted "
    return f"rejected {getattr(data, 'code', '')}"
