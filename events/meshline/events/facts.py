"""Facts: events that say what is so. Only the keeper of a partition appends them.

Names are past participles, subject first. Field types are part of the history: a released version
never changes; a new meaning is a new version with an upcast (see ``upcast.py``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from meshline.events.requests import StepError

__all__ = [
    "ActivityRecorded",
    "ApprovalApproved",
    "ApprovalDenied",
    "ApprovalEscalated",
    "ApprovalExpired",
    "ApprovalRequested",
    "CompensationStarted",
    "ExceptionAcknowledged",
    "ExceptionAssigned",
    "ExceptionOpened",
    "ExceptionResolved",
    "Fact",
    "FieldProblem",
    "LogCreated",
    "MessageMatched",
    "OwnerAssigned",
    "PartitionClaimed",
    "RequestRejected",
    "RunCancelled",
    "RunFailed",
    "RunHeld",
    "RunPaused",
    "RunReopened",
    "RunResumed",
    "RunStarted",
    "RunSucceeded",
    "RunWaiting",
    "StepFailed",
    "StepRetryScheduled",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "TimerFired",
    "TimerSet",
    "TriggerAccepted",
    "TriggerDeduplicated",
    "TriggerRejected",
    "Wait",
    "WorkflowRegistered",
]


class Fact(BaseModel):
    """Base of all facts. ``TYPE`` and ``VERSION`` name it in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1


class Part(BaseModel):
    """Base of the values inside facts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldProblem(Part):
    """What is wrong with one field of a payload; ``pointer`` is a JSON pointer (RFC 6901)."""

    pointer: str
    message: str


class Wait(Part):
    """One thing that a run waits for: on what, since when, until when, and whose it is.

    ``about`` names the step, approval, message or exception; ``until`` is None where nothing but
    the awaited thing itself ends the wait.
    """

    kind: Literal[
        "timer", "message", "task", "approval", "child", "retry", "slot", "worker", "exception",
        "outside",
    ]
    about: str
    since: datetime
    until: datetime | None = None
    owner: str


# -- the log and its partitions ----------------------------------------------------------------


class LogCreated(Fact):
    """The first record of every partition: which log this is, and its layout."""

    TYPE = "meshline.log.created"

    log_id: str
    partition: int
    partitions: int


class PartitionClaimed(Fact):
    """A keeper takes the partition; the offset of this record is its epoch."""

    TYPE = "meshline.partition.claimed"

    keeper: str
    reducer_version: int


class WorkflowRegistered(Fact):
    """A definition as the keepers of this partition know it; ``spec`` is its graph as data."""

    TYPE = "meshline.workflow.registered"

    workflow: str
    version: int
    spec_hash: str
    spec: dict[str, Any]


class RequestRejected(Fact):
    """A request that was refused: which, by whom (the envelope's actor), and why."""

    TYPE = "meshline.request.rejected"

    request: str
    code: str
    reason: str


# -- triggers ----------------------------------------------------------------------------------


class TriggerAccepted(Fact):
    """The trigger is valid and becomes the run. The payload stands in the request before it."""

    TYPE = "meshline.trigger.accepted"

    source: str
    trigger_id: str
    trigger_type: str
    payload_hash: str
    workflow: str
    version: int


class TriggerRejected(Fact):
    """The trigger starts nothing, and why; ``code`` is stable, ``problems`` are field by field."""

    TYPE = "meshline.trigger.rejected"

    source: str
    trigger_id: str
    trigger_type: str
    code: Literal["invalid", "unreadable", "unknown_source", "conflict"]
    reason: str
    problems: tuple[FieldProblem, ...] = ()


class TriggerDeduplicated(Fact):
    """The same trigger came again, with the same payload: it is the run that it already was."""

    TYPE = "meshline.trigger.deduplicated"

    source: str
    trigger_id: str
    trigger_type: str


# -- runs --------------------------------------------------------------------------------------


class RunStarted(Fact):
    """The run begins. The five answers are fixed here, as the definition gave them."""

    TYPE = "meshline.run.started"

    workflow: str
    version: int
    trigger_type: str
    source: str
    owner: str
    exception_route: str
    expected_outcome: str
    due_at: datetime | None = None
    observed: bool = False


class RunWaiting(Fact):
    """Nothing is being done now; ``waits`` says what for, never empty."""

    TYPE = "meshline.run.waiting"

    waits: tuple[Wait, ...]


class RunHeld(Fact):
    """Open exceptions stop the run; nothing else in it can go on."""

    TYPE = "meshline.run.held"

    waits: tuple[Wait, ...]


class RunPaused(Fact):
    TYPE = "meshline.run.paused"

    reason: str = ""
    until: datetime | None = None


class RunResumed(Fact):
    TYPE = "meshline.run.resumed"

    reason: str = ""


class RunReopened(Fact):
    """An observed run that had ended goes on: the outside world did not take it as ended."""

    TYPE = "meshline.run.reopened"

    reason: str


class CompensationStarted(Fact):
    """What the run did is undone, last step first; then it ends as ``then`` says."""

    TYPE = "meshline.run.compensation.started"

    then: Literal["failed", "cancelled"]
    reason: str
    steps: tuple[str, ...]


class RunSucceeded(Fact):
    """The expected outcome is there; ``outcome`` is its value."""

    TYPE = "meshline.run.succeeded"

    outcome: Any = None


class RunFailed(Fact):
    TYPE = "meshline.run.failed"

    reason: str
    error: StepError | None = None


class RunCancelled(Fact):
    TYPE = "meshline.run.cancelled"

    reason: str


# -- steps -------------------------------------------------------------------------------------


class StepStarted(Fact):
    """A try begins. ``attempt`` counts from 1; ``why`` tells a first try from a later one."""

    TYPE = "meshline.step.started"

    step: str
    attempt: int
    why: Literal["ready", "retry", "taken_over", "operator", "compensation"] = "ready"


class StepSucceeded(Fact):
    TYPE = "meshline.step.succeeded"

    step: str
    attempt: int
    result: Any = None


class StepFailed(Fact):
    TYPE = "meshline.step.failed"

    step: str
    attempt: int
    error: StepError


class StepRetryScheduled(Fact):
    """The step is tried again at ``at``; ``delay_s`` is what the policy and the jitter gave."""

    TYPE = "meshline.step.retry.scheduled"

    step: str
    attempt: int
    at: datetime
    delay_s: float


class StepSkipped(Fact):
    """The step is not done; ``value`` stands in for its result where a person gave one."""

    TYPE = "meshline.step.skipped"

    step: str
    why: Literal["condition", "upstream", "operator", "denied"]
    reason: str = ""
    value: Any = None


class TimerSet(Fact):
    """A sleep or a deadline inside the run; ``timer`` is the name of its node."""

    TYPE = "meshline.timer.set"

    timer: str
    at: datetime


class TimerFired(Fact):
    TYPE = "meshline.timer.fired"

    timer: str


class MessageMatched(Fact):
    """A message met the node that waits for it."""

    TYPE = "meshline.message.matched"

    message: str
    payload: Any = None


# -- people ------------------------------------------------------------------------------------


class OwnerAssigned(Fact):
    """The run has another owner: from whom, by which rule or person, and why.

    ``owner`` answers for the run; ``assignee`` is the person who works on it, where one is known.
    ``rule`` names the rule and ``values`` what it saw; both are empty where a person decided (the
    envelope's actor says who).
    """

    TYPE = "meshline.owner.assigned"

    owner: str
    assignee: str | None = None
    previous: str | None = None
    rule: str | None = None
    values: dict[str, Any] | None = None
    reason: str = ""


class ApprovalRequested(Fact):
    """A person is asked. ``by`` may decide; ``owner`` answers for it being decided."""

    TYPE = "meshline.approval.requested"

    approval: str
    by: str
    owner: str
    due_at: datetime | None = None
    escalate_to: str | None = None
    form_schema: dict[str, Any] | None = None


class ApprovalApproved(Fact):
    TYPE = "meshline.approval.approved"

    approval: str
    by: str
    form: Any = None
    reason: str = ""


class ApprovalDenied(Fact):
    TYPE = "meshline.approval.denied"

    approval: str
    by: str
    reason: str


class ApprovalEscalated(Fact):
    """The due time passed: the approval is somebody else's now."""

    TYPE = "meshline.approval.escalated"

    approval: str
    previous: str
    owner: str
    due_at: datetime | None = None


class ApprovalExpired(Fact):
    """The due time passed, and nobody is left to escalate to; an exception is open for it."""

    TYPE = "meshline.approval.expired"

    approval: str


# -- exceptions --------------------------------------------------------------------------------


class ExceptionOpened(Fact):
    """A person must see this. ``cause`` groups exceptions that have the same reason.

    ``blocking`` exceptions hold the step ``about`` which they are; others only want to be seen.
    """

    TYPE = "meshline.exception.opened"

    exception_id: str
    kind: str
    about: str
    route: str
    owner: str
    severity: Literal["low", "medium", "high", "critical"]
    cause: str
    message: str
    blocking: bool
    due_at: datetime | None = None
    error: StepError | None = None


class ExceptionAcknowledged(Fact):
    TYPE = "meshline.exception.acknowledged"

    exception_id: str
    reason: str = ""


class ExceptionAssigned(Fact):
    TYPE = "meshline.exception.assigned"

    exception_id: str
    owner: str
    previous: str
    reason: str = ""


class ExceptionResolved(Fact):
    """The exception is closed, and how."""

    TYPE = "meshline.exception.resolved"

    exception_id: str
    how: Literal["retried", "skipped", "resolved", "outcome", "run_ended"]
    reason: str = ""


# -- observed ----------------------------------------------------------------------------------


class ActivityRecorded(Fact):
    """An outside system's activity, as the workflow's ``observe`` rule read it.

    ``actor`` is the person acting; ``waits`` replace those of the activity before it; ``memo`` is
    what the rule wants to be handed with the next activity.
    """

    TYPE = "meshline.activity.recorded"

    activity: str
    actor: str | None = None
    waits: tuple[Wait, ...] = ()
    memo: Any = None
