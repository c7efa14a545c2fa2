"""A run's history as a story: one line for each thing that happened, with when and who."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from meshline.cli.words import age
from meshline.events import facts, requests
from meshline.events.catalogue import CATALOGUE, type_name

if TYPE_CHECKING:
    from meshline.projections.history_view import HistoryRow

__all__ = ["story_lines", "tell", "told"]

VALUE_LENGTH_MAX = 72
_TRIGGER = type_name(requests.TriggerReceived)


def story_lines(rows: Iterable[HistoryRow], *, full: bool = False) -> Iterator[str]:
    """Yield the lines of a history.

    Args:
        full: every event with its position; otherwise requests that a fact answers are left out,
            because the fact says who asked. A trigger stays: only it says what came.
    """
    rows = list(rows)
    answered = {row.causation_id for row in rows if row.sequence is not None}
    for row in rows:
        is_answered = row.sequence is None and f"{row.partition}:{row.log_offset}" in answered
        is_answered = is_answered and row.type != _TRIGGER
        if full:
            yield f"{row.partition}:{row.log_offset:<7} {told(row)}"
        elif not is_answered:
            yield told(row)


def told(row: HistoryRow) -> str:
    """Return one event as a line."""
    data_type = CATALOGUE.get(row.type)
    text = row.type if data_type is None else tell(data_type.model_validate(row.data))
    return _line(row.time, row.actor, text)


def _line(time: datetime, actor: str | None, text: str) -> str:
    by = f"  (by {actor})" if actor else ""
    return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03}Z  {text}{by}"


def tell(data: Any) -> str:
    """Return what an event says, in words."""
    say = _WORDS.get(type(data))
    return type(data).__name__ if say is None else say(data)


def _value(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else text[: VALUE_LENGTH_MAX - 1] + "…"


def _why(data: Any) -> str:
    return f": {data.reason}" if data.reason else ""


def _due(moment: datetime | None) -> str:
    return f", due {moment:%Y-%m-%d %H:%M:%SZ}" if moment else ""


def _waits(data: Any) -> str:
    return "; ".join(
        f"{wait.kind} {wait.about}".strip()
        + (f" until {wait.until:%Y-%m-%d %H:%M:%SZ}" if wait.until else "")
        + f" ({wait.owner})"
        for wait in data.waits
    )


def _error(error: Any) -> str:
    return f"{error.type}: {error.message}" if error else "unknown"


def _started(data: Any) -> str:
    why = {"retry": ", a retry", "taken_over": ", taken over", "operator": ", as asked for"}
    again = why.get(data.why, "")
    if data.step.startswith("undo:"):
        return f"Step {data.step.removeprefix('undo:')} is being undone"
    return f"Step {data.step} started (try {data.attempt}{again})"


def _owner(data: Any) -> str:
    words = f"Owner is {data.owner}"
    words += f", worked on by {data.assignee}" if data.assignee else ""
    words += f", before {data.previous}" if data.previous and data.previous != data.owner else ""
    words += f", by rule {data.rule}" if data.rule else ""
    return words + _why(data)


def _refused(data: Any) -> str:
    name = data.request.removeprefix("meshline.").removesuffix(".requested").replace(".", " ")
    return f"{name.capitalize()} refused ({data.code}): {data.reason.removeprefix('Refused: ')}"


def _skipped(data: Any) -> str:
    why = {
        "condition": "its condition does not hold",
        "upstream": "what it needs was skipped",
        "operator": "a person said so",
        "denied": "it was denied",
    }[data.why]
    return f"Step {data.step} skipped: {data.reason or why}"


_WORDS: dict[type, Callable[[Any], str]] = {
    requests.TriggerReceived: lambda d: (
        f"Trigger {d.trigger_id} came from {d.source}: "
        + (_value(d.payload) if d.unreadable is None else f"unreadable, {d.unreadable.detail}")
    ),
    requests.MessageReceived: lambda d: f"Message {d.name} came: {_value(d.payload)}",
    requests.StepReported: lambda d: f"An outside worker reported {d.step}: {d.outcome}",
    requests.ActivityReported: lambda d: f"{d.activity} was reported: {_value(d.payload)}",
    requests.ApprovalSubmitted: lambda d: f"Asked: {d.approval} {d.decision}{_why(d)}",
    requests.OwnerChangeRequested: lambda d: f"Asked: owner {d.owner}{_why(d)}",
    requests.ExceptionActionRequested: lambda d: f"Asked: {d.action} {d.exception_id}{_why(d)}",
    requests.CancelRequested: lambda d: f"Asked: cancel{_why(d)}",
    requests.PauseRequested: lambda d: f"Asked: pause{_why(d)}",
    requests.ResumeRequested: lambda d: f"Asked: resume{_why(d)}",
    requests.RetryRequested: lambda d: f"Asked: retry{_why(d)}",
    facts.RequestRejected: _refused,
    facts.TriggerAccepted: lambda d: (
        f"Trigger {d.trigger_id} from {d.source} accepted by {d.workflow} v{d.version}"
    ),
    facts.TriggerRejected: lambda d: f"Trigger {d.trigger_id} rejected ({d.code}): {d.reason}",
    facts.TriggerDeduplicated: lambda d: f"Trigger {d.trigger_id} came again: nothing new",
    facts.RunStarted: lambda d: (
        f"Run of {d.workflow} v{d.version} started: owner {d.owner}, exceptions to "
        f"{d.exception_route}, expects {d.expected_outcome}{_due(d.due_at)}"
    ),
    facts.RunWaiting: lambda d: f"Waiting: {_waits(d)}",
    facts.RunHeld: lambda d: f"Held: {_waits(d)}",
    facts.RunPaused: lambda d: f"Paused{_why(d)}",
    facts.RunResumed: lambda d: f"Resumed{_why(d)}",
    facts.RunReopened: lambda d: f"Opened again{_why(d)}",
    facts.CompensationStarted: lambda d: f"Undoing {', '.join(d.steps) or 'nothing'}{_why(d)}",
    facts.RunSucceeded: lambda d: f"Succeeded: {_value(d.outcome)}",
    facts.RunFailed: lambda d: f"Failed{_why(d)}",
    facts.RunCancelled: lambda d: f"Cancelled{_why(d)}",
    facts.StepStarted: _started,
    facts.StepSucceeded: lambda d: f"Step {d.step} succeeded: {_value(d.result)}",
    facts.StepFailed: lambda d: f"Step {d.step} failed (try {d.attempt}): {_error(d.error)}",
    facts.StepRetryScheduled: lambda d: (
        f"Step {d.step} is tried again in {age(timedelta(seconds=d.delay_s))}"
    ),
    facts.StepSkipped: _skipped,
    facts.TimerSet: lambda d: f"Sleeping in {d.timer}{_due(d.at)}",
    facts.TimerFired: lambda d: f"Woke up in {d.timer}",
    facts.MessageAwaited: lambda d: f"Waiting for message {d.message}{_due(d.due_at)}",
    facts.MessageMatched: lambda d: f"Message {d.message} matched: {_value(d.payload)}",
    facts.ActivityRecorded: lambda d: f"{d.activity}",
    facts.OwnerAssigned: _owner,
    facts.ApprovalRequested: lambda d: (
        f"Approval {d.approval} asked of {d.by}, owned by {d.owner}{_due(d.due_at)}"
    ),
    facts.ApprovalApproved: lambda d: (
        f"Approval {d.approval} approved by {d.by}"
        + (f" with {_value(d.form)}" if d.form is not None else "")
        + _why(d)
    ),
    facts.ApprovalDenied: lambda d: f"Approval {d.approval} denied by {d.by}{_why(d)}",
    facts.ApprovalEscalated: lambda d: (
        f"Approval {d.approval} escalated from {d.previous} to {d.owner}{_due(d.due_at)}"
    ),
    facts.ApprovalExpired: lambda d: f"Approval {d.approval}: nobody decided in time",
    facts.ExceptionOpened: lambda d: (
        f"Exception {d.exception_id} ({d.kind}, {d.severity}) opened for {d.owner}: {d.message}"
    ),
    facts.ExceptionAcknowledged: lambda d: f"Exception {d.exception_id} acknowledged{_why(d)}",
    facts.ExceptionAssigned: lambda d: f"Exception {d.exception_id} given to {d.owner}{_why(d)}",
    facts.ExceptionResolved: lambda d: f"Exception {d.exception_id} closed ({d.how}){_why(d)}",
    facts.PartitionClaimed: lambda d: f"Partition claimed by {d.keeper}",
    facts.WorkflowRegistered: lambda d: f"Workflow {d.workflow} v{d.version} registered",
    facts.LogCreated: lambda d: (
        f"Log {d.log_id} created, partition {d.partition} of {d.partitions}"
    ),
}
