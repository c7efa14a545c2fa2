"""Events in words: one line each, for people who want to know what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel

from meshline.events import facts, people_requests, requests
from meshline.events.envelope import Actor, Event
from meshline.events.facts import Fact, Wait
from meshline.events.requests import Request, StepError

__all__ = ["VALUE_LENGTH_MAX", "StoryLine", "sentence", "story"]

VALUE_LENGTH_MAX = 120
"""Characters shown of a payload, a result or a message."""


class StoryLine(NamedTuple):
    """One event as it is told."""

    time: datetime
    text: str

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%d %H:%M:%S}  {self.text}"


def story(
    events: Iterable[Event[Any]], zone: tzinfo = UTC, *, values: bool = True
) -> Iterator[StoryLine]:
    """Yield a line for each event, in the order given.

    Args:
        zone: of the times that are shown.
        values: show payloads, results and forms; reading them may be a permission of its own.
    """
    for event in events:
        yield StoryLine(event.time.astimezone(zone), sentence(event, values=values))


def sentence(event: Event[Any], *, values: bool = True, by: bool = True) -> str:
    """Return what the event says, without its time.

    Args:
        by: say whose doing it is, too.
    """
    text = _TELLERS[type(event.data)](event.data, values)
    return " ".join(f"{text}{_by(event.actor) if by else ''}".split())


def _by(actor: Actor | None) -> str:
    if actor is None or actor.kind == "rule":
        return ""
    return f" (by {actor.id})"


def _value(value: Any, values: bool) -> str:
    return "" if value is None or not values else f": {_json(value)}"


def _json(value: Any) -> str:
    return _short(orjson.dumps(value).decode())


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= VALUE_LENGTH_MAX else line[: VALUE_LENGTH_MAX - 1] + "…"


def _because(reason: str) -> str:
    return f", because: {_short(reason)}" if reason else ""


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f" until {moment:%Y-%m-%d %H:%M:%S} UTC"


def _error(error: StepError | None) -> str:
    return "" if error is None else f": {error.type}: {_short(error.message)}"


def _span(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if not 60 <= seconds < 1e9:
        return f"{seconds:.3g} s"
    return str(timedelta(seconds=round(seconds)))


def _waits(waits: tuple[Wait, ...]) -> str:
    return "; ".join(
        f"{wait.kind} {wait.about} ({wait.owner}){_until(wait.until)}" for wait in waits
    )


# -- requests ----------------------------------------------------------------------------------


def _trigger_received(data: requests.TriggerReceived, values: bool) -> str:
    if data.unreadable is not None:
        why = data.unreadable.reason
        return f"{data.source} sent the trigger {data.trigger_id}, which is unreadable: {why}"
    return f"{data.source} sent the trigger {data.trigger_id}{_value(data.payload, values)}"


def _asked(request: str) -> str:
    """Return what a request is called, from its type."""
    words = request.removeprefix("meshline.").replace(".", " ")
    return f"the request ({words.removesuffix(' requested').removesuffix(' submitted')})"


def _step_reported(data: requests.StepReported, values: bool) -> str:
    what = _error(data.error) if data.outcome == "failed" else _value(data.result, values)
    return f"an outside worker reported {data.step}, try {data.attempt}, as {data.outcome}{what}"


def _approval_submitted(data: requests.ApprovalSubmitted, values: bool) -> str:
    form = _value(data.form, values)
    return f"asked to have {data.approval} {data.decision}{form}{_because(data.reason)}"


def _exception_action(data: requests.ExceptionActionRequested, values: bool) -> str:
    to = f" to {data.owner}" if data.owner else ""
    value = _value(data.value, values)
    places = ", ".join(f"{each.of}{each.path}" for each in data.corrections)
    corrected = f" with {places} corrected" if places else ""
    asked = f"asked to {data.action} {data.exception_id}{corrected}{to}{value}"
    return f"{asked}{_because(data.reason)}"


def _pause_requested(data: requests.PauseRequested, values: bool) -> str:
    return f"asked to pause the run{_until(data.until)}{_because(data.reason)}"


# -- steps and waits ---------------------------------------------------------------------------

_WHY_STARTED = {
    "ready": "",
    "retry": ", again",
    "taken_over": ", again, because its worker was lost",
    "operator": ", again, because a person asked for it",
    "compensation": ", to undo what was done",
}

_WHY_SKIPPED = {
    "condition": "its condition does not hold",
    "upstream": "what it needs was skipped",
    "operator": "a person decided so",
    "denied": "it was denied",
    "expired": "nobody decided in time",
}


def _step_started(data: facts.StepStarted, values: bool) -> str:
    return f"{data.step} began, try {data.attempt}{_WHY_STARTED[data.why]}{_until(data.until)}"


def _step_skipped(data: facts.StepSkipped, values: bool) -> str:
    why = f"{data.step} was skipped: {_WHY_SKIPPED[data.why]}"
    return f"{why}{_value(data.value, values)}{_because(data.reason)}"


def _fanned_out(data: facts.StepFannedOut, values: bool) -> str:
    items = {0: "no item", 1: "one item"}.get(data.count, f"each of {data.count} items")
    return f"{data.step} is to be done for {items}"


def _retry_scheduled(data: facts.StepRetryScheduled, values: bool) -> str:
    return f"{data.step} will be tried again in {_span(data.delay_s)}, as try {data.attempt}"


def _message_awaited(data: facts.MessageAwaited, values: bool) -> str:
    return f"the run waits for the message {data.message}{_until(data.due_at)}"


def _activity_recorded(data: facts.ActivityRecorded, values: bool) -> str:
    waits = f"; it waits for {_waits(data.waits)}" if data.waits else ""
    return f"outside, {data.activity}{f' by {data.actor}' if data.actor else ''}{waits}"


# -- people ------------------------------------------------------------------------------------


def _directory_changed(data: facts.DirectoryChanged, values: bool) -> str:
    groups = sum(1 for _ in data.directory.groups())
    return (
        f"the directory is number {data.number}, with {len(data.directory.users)} users and "
        f"{groups} teams, roles and queues{_because(data.reason)}"
    )


def _absence_requested(data: people_requests.AbsenceChangeRequested, values: bool) -> str:
    if data.substitute is None:
        return f"asked to note that {data.user} is back{_because(data.reason)}"
    who = f"{data.substitute} stand in for {data.user} from {_minute(data.since)}"
    return f"asked to let {who} until {_minute(data.until)}{_because(data.reason)}"


def _absence_changed(data: facts.AbsenceChanged, values: bool) -> str:
    if data.substitute is None:
        return f"{data.user} is back{_because(data.reason)}"
    times = f"from {_minute(data.since)} until {_minute(data.until)}"
    return f"{data.substitute} stands in for {data.user} {times}{_because(data.reason)}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _owner_assigned(data: facts.OwnerAssigned, values: bool) -> str:
    rule = f" by the rule {data.rule}" if data.rule else ""
    hands = f", in the hands of {data.assignee}" if data.assignee else ""
    return f"the owner is {data.owner}{rule}{hands}{_because(data.reason)}"


def _approval_requested(data: facts.ApprovalRequested, values: bool) -> str:
    many = f"{data.of} of " if data.of > 1 else ""
    asker = f" for {data.requester}" if data.requester else ""
    return f"{data.approval} is asked of {many}{data.by}{asker}{_until(data.due_at)}"


def _task_created(data: facts.TaskCreated, values: bool) -> str:
    return f"{data.task} is to be done by {data.by}{_until(data.due_at)}"


def _task_completed(data: facts.TaskCompleted, values: bool) -> str:
    what = f"{data.task} is done{_for(data.on_behalf_of)}"
    return f"{what}{_value(data.form, values)}{_because(data.reason)}"


def _completion_requested(data: people_requests.TaskCompletionRequested, values: bool) -> str:
    return f"asked to have {data.task} completed{_value(data.form, values)}{_because(data.reason)}"


def _approval_approved(data: facts.ApprovalApproved, values: bool) -> str:
    all_of = f" by {', '.join(data.voters)}" if data.voters else ""
    what = f"{data.approval} was approved{all_of}{_for(data.on_behalf_of)}"
    return f"{what}{_value(data.form, values)}{_because(data.reason)}"


def _task_action(data: people_requests.TaskActionRequested, values: bool) -> str:
    to = f" to {data.to}" if data.to else ""
    return f"asked to {data.action} {data.task}{to}{_because(data.reason)}"


def _handover(data: people_requests.HandoverRequested, values: bool) -> str:
    what = data.about or "the run"
    return f"asked to hand {what} from {data.previous} to {data.owner}{_because(data.reason)}"


def _approval_denied(data: facts.ApprovalDenied, values: bool) -> str:
    return f"{data.approval} was denied{_for(data.on_behalf_of)}{_because(data.reason)}"


def _approval_voted(data: facts.ApprovalVoted, values: bool) -> str:
    what = f"{data.approval} has {data.votes} of {data.of} votes{_for(data.on_behalf_of)}"
    return f"{what}{_value(data.form, values)}{_because(data.reason)}"


def _for(absent: str | None) -> str:
    return f" on behalf of {absent}" if absent else ""


def _exception_opened(data: facts.ExceptionOpened, values: bool) -> str:
    holds = f"holds {data.about or 'the run'}" if data.blocking else "is to be seen"
    return (
        f"exception {data.exception_id} ({data.kind}, {data.severity}) {holds}, for {data.owner}: "
        f"{_short(data.message)}"
    )


def _exception_resolved(data: facts.ExceptionResolved, values: bool) -> str:
    what = f"{data.exception_id} is closed: {data.how}{_because(data.reason)}"
    said = [
        f"{each.of}{change.path} was {change.what}"
        + (f" from {_json(change.before)} to {_json(change.after)}" if values else "")
        for each in data.corrected
        for change in each.changes
    ]
    return "; ".join([what, *said])


def _run_started(data: facts.RunStarted, values: bool) -> str:
    due = f", due {data.due_at:%Y-%m-%d %H:%M} UTC" if data.due_at else ""
    return (
        f"{data.workflow} version {data.version} began; {data.owner} owns it, "
        f"{data.exception_route} sees its exceptions, {data.expected_outcome} is expected{due}"
    )


def _compensation_started(data: facts.CompensationStarted, values: bool) -> str:
    return f"{', '.join(data.steps)} will be undone{_because(data.reason)}"


Teller = Callable[[Any, bool], str]


def _says(words: str, reason: bool = False) -> Teller:
    """Return a teller of fixed words with fields in braces."""

    def tell(data: BaseModel, values: bool) -> str:
        text = words.format_map(data.__dict__)
        return text + (_because(getattr(data, "reason", "")) if reason else "")

    return tell


_TELLERS: dict[type[Fact] | type[Request], Teller] = {
    requests.TriggerReceived: _trigger_received,
    requests.MessageReceived: lambda d, v: f"the message {d.name} came{_value(d.payload, v)}",
    requests.StepReported: _step_reported,
    requests.ActivityReported: lambda d, v: f"reported {d.activity}{_value(d.payload, v)}",
    requests.ApprovalSubmitted: _approval_submitted,
    requests.OwnerChangeRequested: _says("asked to hand the run to {owner}", reason=True),
    requests.ExceptionActionRequested: _exception_action,
    requests.CauseActionRequested: _says("asked to {action} the cause {cause}", reason=True),
    facts.CauseResolved: _says("the cause {cause} is mended in version {in_version}", reason=True),
    facts.CauseReopened: _says("the cause {cause} is not mended after all", reason=True),
    requests.CancelRequested: _says("asked to cancel the run", reason=True),
    requests.PauseRequested: _pause_requested,
    requests.ResumeRequested: _says("asked to resume the run", reason=True),
    requests.NoteRequested: _says("asked to keep a note"),
    requests.ParkedActionRequested: _says(
        "asked to {action} what the view {view} has parked at {partition}:{offset}", reason=True
    ),
    requests.RetryRequested: _says("asked to try again what failed", reason=True),
    people_requests.DirectoryChangeRequested: _says(
        "asked to make number {number} the directory", reason=True
    ),
    facts.DirectoryChanged: _directory_changed,
    people_requests.AbsenceChangeRequested: _absence_requested,
    facts.AbsenceChanged: _absence_changed,
    people_requests.AccessChangeRequested: _says("asked to {action}: {about}", reason=True),
    facts.AccessChanged: _says("{action}: {about}", reason=True),
    requests.RefusalReported: lambda d, v: f"a server turned away {_asked(d.request)}: {d.code}",
    facts.LogCreated: _says("partition {partition} of {partitions} of the log was created"),
    facts.PartitionClaimed: _says("{keeper} took the partition"),
    facts.WorkflowRegistered: _says("{workflow} version {version} was registered"),
    facts.RequestRejected: lambda d, v: f"{_asked(d.request)} was refused: {d.code}: {d.reason}",
    facts.ParkedEventRetried: _says(
        "the view {view} applies again what it has parked from {partition}:{offset} on", reason=True
    ),
    facts.ParkedEventSkipped: _says(
        "the view {view} leaves out the event at {partition}:{offset}", reason=True
    ),
    facts.TriggerAccepted: _says("the trigger {trigger_id} of {source} was accepted"),
    facts.TriggerRejected: _says("the trigger {trigger_id} was rejected: {code}: {reason}"),
    facts.TriggerDeduplicated: _says("the trigger {trigger_id} came again; it is this run"),
    facts.RunStarted: _run_started,
    facts.RunWaiting: lambda d, v: f"the run waits for {_waits(d.waits)}",
    facts.RunHeld: lambda d, v: f"the run is held by {_waits(d.waits)}",
    facts.RunPaused: lambda d, v: f"the run is paused{_until(d.until)}{_because(d.reason)}",
    facts.RunResumed: _says("the run goes on", reason=True),
    facts.RunNoted: lambda d, v: f"a note: {_short(d.text)}",
    facts.RunReopened: _says("the run is open again", reason=True),
    facts.CompensationStarted: _compensation_started,
    facts.RunSucceeded: lambda d, v: f"the run succeeded{_value(d.outcome, v)}",
    facts.RunFailed: _says("the run failed: {reason}"),
    facts.RunCancelled: _says("the run was cancelled: {reason}"),
    facts.StepStarted: _step_started,
    facts.StepSucceeded: lambda d, v: f"{d.step} succeeded{_value(d.result, v)}",
    facts.StepFailed: lambda d, v: f"{d.step} failed{_error(d.error)}",
    facts.StepFannedOut: _fanned_out,
    facts.StepJoined: _says("{step} is done for all items"),
    facts.StepRetryScheduled: _retry_scheduled,
    facts.StepSkipped: _step_skipped,
    facts.TimerSet: lambda d, v: f"{d.timer} sleeps{_until(d.at)}",
    facts.TimerFired: _says("{timer} woke up"),
    facts.MessageAwaited: _message_awaited,
    facts.MessageMatched: lambda d, v: f"the message {d.message} is taken{_value(d.payload, v)}",
    facts.ActivityRecorded: _activity_recorded,
    facts.OwnerAssigned: _owner_assigned,
    facts.ApprovalRequested: _approval_requested,
    facts.ApprovalApproved: _approval_approved,
    facts.ApprovalDenied: _approval_denied,
    facts.ApprovalVoted: _approval_voted,
    people_requests.TaskActionRequested: _task_action,
    people_requests.TaskCompletionRequested: _completion_requested,
    facts.TaskCreated: _task_created,
    facts.TaskCompleted: _task_completed,
    facts.TaskClaimed: lambda d, v: f"{d.by} takes {d.task}{_for(d.on_behalf_of)}",
    facts.TaskReleased: _says("{previous} no longer has {task}", reason=True),
    facts.TaskAssigned: _says("{task} is given to {assignee}", reason=True),
    facts.TaskDelegated: _says("{delegate} may do {task} for {assignee}", reason=True),
    people_requests.HandoverRequested: _handover,
    facts.TaskTransferred: _says("{task} went from {previous} to {owner}", reason=True),
    facts.TaskCommented: lambda d, v: f"{d.by} says of {d.task}: {_short(d.text)}",
    facts.TaskReminded: lambda d, v: f"{d.owner} is reminded of {d.task}, due{_until(d.due_at)}",
    facts.TaskEscalated: _says("{task} went from {previous} to {owner}"),
    facts.TaskExpired: _says("{task} was not done in time"),
    facts.ApprovalEscalated: _says("{approval} went from {previous} to {owner}"),
    facts.ApprovalExpired: _says("{approval} was not decided in time"),
    facts.ExceptionOpened: _exception_opened,
    facts.ExceptionAcknowledged: _says("{exception_id} was acknowledged", reason=True),
    facts.ExceptionWorkStarted: _says("work on {exception_id} was started", reason=True),
    facts.ExceptionDismissed: _says("{exception_id} is dismissed", reason=True),
    facts.ExceptionReopened: _says("{exception_id} is open again, for {owner}", reason=True),
    facts.ExceptionAssigned: _says("{exception_id} went to {owner}", reason=True),
    facts.ExceptionResolved: _exception_resolved,
}
