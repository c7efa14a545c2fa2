"""What each fact does to a run: one small function for each that changes more than the status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from meshline.engine.core.corrections import correct_run
from meshline.engine.core.items import item_names
from meshline.engine.core.state import (
    UNDO,
    NodeState,
    OpenException,
    RunState,
    Undo,
    WaitTuple,
    stored,
)
from meshline.engine.core.task_appliers import TASK_APPLIERS
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.requests import TriggerReceived

__all__ = ["APPLIERS", "accepted"]

CLOSED_MAX = 50
"""Exceptions of a run that a person closed and that can be opened again: the latest."""

Applier = Callable[[RunState, Event[Any], Any], None]


def accepted(
    event: Event[Any], data: facts.TriggerAccepted, request: Event[Any] | None
) -> RunState:
    run = RunState(event.subject)
    run.workflow = data.workflow
    run.version = data.version
    run.source = data.source
    run.trigger_id = data.trigger_id
    run.payload_hash = data.payload_hash
    run.route = run.owner = data.exception_route
    run.started_at = event.time
    if request is not None and type(request.data) is TriggerReceived:
        run.payload = stored(request.data.payload)
        if request.actor is not None and request.actor.kind == "user":
            run.requester = request.actor.id
    return run


# -- runs --------------------------------------------------------------------------------------


def _run_started(run: RunState, event: Event[Any], data: facts.RunStarted) -> None:
    run.owner = data.owner
    run.route = data.exception_route
    run.started_at = event.time
    run.due_at = data.due_at
    if data.observed:
        run.seen = frozenset()
        run.reported_at = event.recorded_at
        run.payload = b"null"


def _waits(run: RunState, event: Event[Any], data: facts.RunWaiting | facts.RunHeld) -> None:
    run.waits = tuple(WaitTuple(w.kind, w.about, w.since, w.until, w.owner) for w in data.waits)


def _run_paused(run: RunState, event: Event[Any], data: facts.RunPaused) -> None:
    kind, about = ("task", "resume") if data.until is None else ("timer", "pause")
    run.waits = (WaitTuple(kind, about, event.time, data.until, run.owner),)


def _run_resumed(run: RunState, event: Event[Any], data: facts.RunResumed) -> None:
    run.waits = ()


def _run_ended(run: RunState, event: Event[Any], data: Any) -> None:
    run.nodes = {}
    run.closed = None
    run.waits = ()
    run.undo = None
    run.payload = b"null"


def _compensation_started(
    run: RunState, event: Event[Any], data: facts.CompensationStarted
) -> None:
    run.undo = Undo(data.then, data.reason, data.steps)
    for name, node in list(run.nodes.items()):
        if node.items and not node.has_ended:
            # What there is of it is undone with the results that there are.
            value = _list_of(found for found in _taken_items(run, name, node) if found is not None)
            run.nodes[name] = node.to("abandoned", event.time, value=value)
    for name, node in run.nodes.items():
        if not node.has_ended:
            run.nodes[name] = node.to("abandoned", event.time)


def _owner_assigned(run: RunState, event: Event[Any], data: facts.OwnerAssigned) -> None:
    run.owner = data.owner
    run.assignee = data.assignee
    if data.rule is not None and run.seen is None:
        run.nodes[data.rule] = NodeState("succeeded", event.time, value=stored(data.owner))


def _activity_recorded(run: RunState, event: Event[Any], data: facts.ActivityRecorded) -> None:
    run.memo = data.memo
    if not run.has_ended:
        run.waits = tuple(WaitTuple(w.kind, w.about, w.since, w.until, w.owner) for w in data.waits)


# -- nodes -------------------------------------------------------------------------------------


def _step_started(run: RunState, event: Event[Any], data: facts.StepStarted) -> None:
    before = run.nodes.get(data.step)
    epoch = -1 if event.epoch is None else event.epoch
    if before is None:
        run.nodes[data.step] = NodeState(
            "started", event.time, attempt=data.attempt, epoch=epoch, at=data.until,
            first_at=event.time,
        )  # fmt: skip
    else:
        run.nodes[data.step] = before.to(
            "started", event.time, attempt=data.attempt, epoch=epoch, at=data.until,
            first_at=before.first_at or event.time,
            losses=before.losses + 1 if data.why == "taken_over" else 0,
        )  # fmt: skip


def _step_succeeded(run: RunState, event: Event[Any], data: facts.StepSucceeded) -> None:
    # Taken out and put in again: steps are undone in the reverse of the order that results.
    before = run.nodes.pop(data.step, None) or NodeState("ready", event.time)
    run.nodes[data.step] = before.to("succeeded", event.time, value=stored(data.result))
    _undone(run, data.step)


def _step_failed(run: RunState, event: Event[Any], data: facts.StepFailed) -> None:
    before = run.nodes.get(data.step) or NodeState("ready", event.time)
    run.nodes[data.step] = before.to(
        "failed", event.time, failures=before.failures + 1, error=data.error
    )


def _step_retry_scheduled(run: RunState, event: Event[Any], data: facts.StepRetryScheduled) -> None:
    before = run.nodes.get(data.step) or NodeState("ready", event.time)
    run.nodes[data.step] = before.to("retrying", event.time, at=data.at)


def _step_skipped(run: RunState, event: Event[Any], data: facts.StepSkipped) -> None:
    before = run.nodes.get(data.step) or NodeState("ready", event.time)
    _taken_items(run, data.step, before)
    # A value that a person gave stands in for the result; without one the node has none.
    value = None if data.value is None else stored(data.value)
    run.nodes[data.step] = before.to("skipped", event.time, value=value)
    _undone(run, data.step)


def _step_fanned_out(run: RunState, event: Event[Any], data: facts.StepFannedOut) -> None:
    before = run.nodes.get(data.step) or NodeState("ready", event.time)
    run.nodes[data.step] = before.to("fanned_out", event.time, items=data.count)


def _step_joined(run: RunState, event: Event[Any], data: facts.StepJoined) -> None:
    # Taken out and put in again, for the order of undoing, as with other steps.
    before = run.nodes.pop(data.step, None) or NodeState("ready", event.time)
    value = _list_of(found or b"null" for found in _taken_items(run, data.step, before))
    run.nodes[data.step] = before.to("succeeded", event.time, value=value)


def _taken_items(run: RunState, step: str, node: NodeState) -> list[bytes | None]:
    """Take out the states of the step's items, and return their values."""
    taken = (run.nodes.pop(name, None) for name in item_names(step, node.items))
    return [None if state is None else state.value for state in taken]


def _list_of(values: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(values) + b"]"


def _undone(run: RunState, step: str) -> None:
    if run.undo is not None and step.startswith(UNDO):
        left = tuple(name for name in run.undo.steps if UNDO + name != step)
        run.undo = run.undo._replace(steps=left)


def _timer_set(run: RunState, event: Event[Any], data: facts.TimerSet) -> None:
    run.nodes[data.timer] = NodeState("sleeping", event.time, at=data.at)


def _timer_fired(run: RunState, event: Event[Any], data: facts.TimerFired) -> None:
    before = run.nodes.get(data.timer) or NodeState("ready", event.time)
    run.nodes[data.timer] = before.to("succeeded", event.time)


def _message_awaited(run: RunState, event: Event[Any], data: facts.MessageAwaited) -> None:
    run.nodes[data.message] = NodeState("awaiting", event.time, at=data.due_at)


def _message_matched(run: RunState, event: Event[Any], data: facts.MessageMatched) -> None:
    before = run.nodes.get(data.message) or NodeState("ready", event.time)
    run.nodes[data.message] = before.to("succeeded", event.time, value=stored(data.payload))


# -- exceptions --------------------------------------------------------------------------------


def _exception_opened(run: RunState, event: Event[Any], data: facts.ExceptionOpened) -> None:
    run.exceptions = run.exceptions or {}
    run.exceptions[data.exception_id] = OpenException(
        data.kind, data.about, data.owner, data.blocking, event.time
    )
    run.exceptions_opened += 1
    if data.kind == "overdue":
        run.overdue = True
    node = run.nodes.get(data.about)
    if data.blocking and data.about:
        before = node or NodeState("ready", event.time)
        run.nodes[data.about] = before.to("held", event.time, error=data.error)
    elif node is not None and node.status == "awaiting":
        run.nodes[data.about] = node.to("awaiting", node.since)


def _exception_acknowledged(
    run: RunState,
    event: Event[Any],
    data: facts.ExceptionAcknowledged | facts.ExceptionWorkStarted,
) -> None:
    _change_exception(run, data.exception_id, acknowledged=True)


def _exception_assigned(run: RunState, event: Event[Any], data: facts.ExceptionAssigned) -> None:
    _change_exception(run, data.exception_id, owner=data.owner)


def _change_exception(run: RunState, exception_id: str, **changes: Any) -> None:
    found = (run.exceptions or {}).get(exception_id)
    if found is not None and run.exceptions is not None:
        values = {name: getattr(found, name) for name in OpenException.__slots__} | changes
        run.exceptions[exception_id] = OpenException(**values)


def _exception_resolved(run: RunState, event: Event[Any], data: facts.ExceptionResolved) -> None:
    found = _taken_exception(run, data.exception_id)
    if found is None:
        return
    if not found.blocking:
        if data.how == "resolved" and event.actor is not None:
            _keep_closed(run, data.exception_id, found)
        return
    for corrected in data.corrected:
        correct_run(run, corrected)
    node = run.nodes.get(found.about)
    if node is not None and node.status == "held":
        run.nodes[found.about] = node.to("ready", event.time, failures=0, first_at=None)


def _exception_dismissed(run: RunState, event: Event[Any], data: facts.ExceptionDismissed) -> None:
    found = _taken_exception(run, data.exception_id)
    if found is not None:
        _keep_closed(run, data.exception_id, found)


def _taken_exception(run: RunState, exception_id: str) -> OpenException | None:
    found = (run.exceptions or {}).pop(exception_id, None)
    if not run.exceptions:
        run.exceptions = None
    return found


def _keep_closed(run: RunState, exception_id: str, found: OpenException) -> None:
    if not run.has_ended:
        kept = [*(run.closed or {}).items(), (exception_id, found)]
        run.closed = dict(kept[-CLOSED_MAX:])


def _exception_reopened(run: RunState, event: Event[Any], data: facts.ExceptionReopened) -> None:
    found = (run.closed or {}).get(data.exception_id)
    if found is None:
        return
    left = {name: each for name, each in (run.closed or {}).items() if name != data.exception_id}
    run.closed = left or None
    opened = OpenException(found.kind, found.about, data.owner, found.blocking, event.time)
    run.exceptions = {**(run.exceptions or {}), data.exception_id: opened}


APPLIERS: dict[type, Applier] = TASK_APPLIERS | {
    facts.RunStarted: _run_started,
    facts.RunWaiting: _waits,
    facts.RunHeld: _waits,
    facts.RunPaused: _run_paused,
    facts.RunResumed: _run_resumed,
    facts.RunSucceeded: _run_ended,
    facts.RunFailed: _run_ended,
    facts.RunCancelled: _run_ended,
    facts.CompensationStarted: _compensation_started,
    facts.OwnerAssigned: _owner_assigned,
    facts.ActivityRecorded: _activity_recorded,
    facts.StepStarted: _step_started,
    facts.StepSucceeded: _step_succeeded,
    facts.StepFailed: _step_failed,
    facts.StepRetryScheduled: _step_retry_scheduled,
    facts.StepSkipped: _step_skipped,
    facts.StepFannedOut: _step_fanned_out,
    facts.StepJoined: _step_joined,
    facts.TimerSet: _timer_set,
    facts.TimerFired: _timer_fired,
    facts.MessageAwaited: _message_awaited,
    facts.MessageMatched: _message_matched,
    facts.ExceptionOpened: _exception_opened,
    facts.ExceptionAcknowledged: _exception_acknowledged,
    facts.ExceptionWorkStarted: _exception_acknowledged,
    facts.ExceptionAssigned: _exception_assigned,
    facts.ExceptionResolved: _exception_resolved,
    facts.ExceptionDismissed: _exception_dismissed,
    facts.ExceptionReopened: _exception_reopened,
}
