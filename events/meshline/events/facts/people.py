"""What people own, are asked and must see: owners, approvals, exceptions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from meshline.events.corrections import Corrected
from meshline.events.facts.fact import Fact
from meshline.events.requests import StepError

__all__ = [
    "ApprovalApproved",
    "ApprovalDenied",
    "ApprovalEscalated",
    "ApprovalExpired",
    "ApprovalRequested",
    "CauseReopened",
    "CauseResolved",
    "ExceptionAcknowledged",
    "ExceptionAssigned",
    "ExceptionDismissed",
    "ExceptionOpened",
    "ExceptionReopened",
    "ExceptionResolved",
    "ExceptionWorkStarted",
    "OwnerAssigned",
]


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


class AboutApproval(Fact):
    """A fact about an approval, which is a task."""

    approval: str

    @property
    def task(self) -> str:
        return self.approval


class ApprovalRequested(AboutApproval):
    """People are asked. ``by`` may decide; ``owner`` answers for it being decided.

    ``of`` different people must approve, and ``requester``, who asks for it, is none of them.
    ``follow_up_at`` is when it is time to look after it, long before it is due.
    """

    TYPE = "meshline.approval.requested"

    workflow: str
    by: str
    owner: str
    due_at: AwareDatetime | None = None
    escalate_to: str | None = None
    form_schema: dict[str, Any] | None = None
    of: int = 1
    requester: str | None = None
    remind_at: AwareDatetime | None = None
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    follow_up_at: AwareDatetime | None = None


class ApprovalApproved(AboutApproval):
    """It is approved: by whom, with what they filled in; ``voters`` are all, if several had to.

    ``on_behalf_of`` is whose substitute ``by`` was in it.
    """

    TYPE = "meshline.approval.approved"

    by: str
    form: Any = None
    reason: str = ""
    on_behalf_of: str | None = None
    voters: tuple[str, ...] = ()


class ApprovalDenied(AboutApproval):
    """It is denied; ``by`` is ``rule:expiry`` where the definition denies what is not decided."""

    TYPE = "meshline.approval.denied"

    by: str
    reason: str
    on_behalf_of: str | None = None


class ApprovalEscalated(AboutApproval):
    """The due time passed: the approval is somebody else's now."""

    TYPE = "meshline.approval.escalated"

    previous: str
    owner: str
    due_at: AwareDatetime | None = None
    remind_at: AwareDatetime | None = None


class ApprovalExpired(AboutApproval):
    """The due time passed, and nobody is left to escalate to; an exception is open for it."""

    TYPE = "meshline.approval.expired"


class ExceptionOpened(Fact):
    """A person must see this. ``cause`` groups exceptions that have the same reason.

    ``blocking`` exceptions hold the step ``about`` which they are; others only want to be seen.
    ``version`` is the workflow's in which the run is; 0: not known.
    """

    TYPE = "meshline.exception.opened"

    exception_id: str
    workflow: str
    version: int = 0
    kind: str
    about: str
    route: str
    owner: str
    severity: Literal["low", "medium", "high", "critical"]
    cause: str
    message: str
    blocking: bool
    due_at: AwareDatetime | None = None
    error: StepError | None = None


class ExceptionAcknowledged(Fact):
    TYPE = "meshline.exception.acknowledged"

    exception_id: str
    reason: str = ""


class ExceptionWorkStarted(Fact):
    """The envelope's actor works on the exception; whoever says it last, does."""

    TYPE = "meshline.exception.work.started"

    exception_id: str
    reason: str = ""


class ExceptionAssigned(Fact):
    TYPE = "meshline.exception.assigned"

    exception_id: str
    owner: str
    previous: str
    reason: str = ""


class ExceptionResolved(Fact):
    """The exception is closed, and how.

    ``corrected`` is what a person set right before the step is tried again. Whatever begins from
    here on reads it as it is now; what has ended stays as it was.
    """

    TYPE = "meshline.exception.resolved"

    exception_id: str
    how: Literal["retried", "skipped", "resolved", "outcome", "run_ended"]
    reason: str = ""
    corrected: tuple[Corrected, ...] = ()


class ExceptionDismissed(Fact):
    """Somebody has looked at it, and nothing is to be done: it was no problem, or is not ours."""

    TYPE = "meshline.exception.dismissed"

    exception_id: str
    reason: str


class ExceptionReopened(Fact):
    """What was dismissed, or resolved by a person, is open again, and whose it was."""

    TYPE = "meshline.exception.reopened"

    exception_id: str
    owner: str
    reason: str = ""


class CauseResolved(Fact):
    """What causes these exceptions is mended from that version of the workflow on."""

    TYPE = "meshline.cause.resolved"

    cause: str
    in_version: int
    reason: str


class CauseReopened(Fact):
    """It is not mended after all."""

    TYPE = "meshline.cause.reopened"

    cause: str
    reason: str
