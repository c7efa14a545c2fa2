"""Requests: events that ask. Anyone may append one; the keeper of the partition answers with facts.

Field types here are part of the history: a released version never changes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from meshline.events.corrections import Correction
from meshline.events.moments import Moment
from meshline.events.principals import is_principal
from meshline.events.text import cleaned

__all__ = [
    "BUSINESS_CODE",
    "BUSINESS_DATA_BYTES_MAX",
    "ERROR_TEXT_MAX",
    "ActivityReported",
    "ApprovalSubmitted",
    "BusinessCase",
    "CancelRequested",
    "CauseActionRequested",
    "ExceptionActionRequested",
    "MessageReceived",
    "NoteRequested",
    "OwnerChangeRequested",
    "ParkedActionRequested",
    "PauseRequested",
    "RefusalReported",
    "Request",
    "ResumeRequested",
    "RetryRequested",
    "StepError",
    "StepReported",
    "TriggerReceived",
    "Unreadable",
]


ERROR_TEXT_MAX = 16_000
"""Characters kept of a step's error: of its type, message and stack each."""

BUSINESS_CODE = r"[A-Za-z][A-Za-z0-9_.-]{0,99}"
"""What the code of a business exception looks like."""

BUSINESS_DATA_BYTES_MAX = 16 * 1024
"""As JSON; it stands in the history with each fact about the exception."""


class Request(BaseModel):
    """Base of all requests. ``TYPE`` and ``VERSION`` name it in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1


class BusinessCase(BaseModel):
    """What a step says on purpose: a person is needed, and no further try.

    ``code`` names the case, and groups it; ``route`` is where it is seen, the workflow's where it
    is None, and ``owner`` who answers for it there; ``data`` is what that person needs to know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    code: Annotated[str, Field(pattern=rf"^{BUSINESS_CODE}$")]
    severity: Literal["low", "medium", "high", "critical"] = "medium"
    route: str | None = None
    owner: str | None = None
    data: Any = None

    @field_validator("route", "owner")
    @classmethod
    def _is_principal(cls, value: str | None) -> str | None:
        if value is not None and not is_principal(value):
            raise ValueError("expected a principal such as 'queue:credit' or 'user:ada'")
        return value

    @field_validator("data")
    @classmethod
    def _fits(cls, value: Any) -> Any:
        size_bytes = len(orjson.dumps(value))
        if size_bytes > BUSINESS_DATA_BYTES_MAX:
            raise ValueError(f"expected at most {BUSINESS_DATA_BYTES_MAX} bytes as JSON")
        return value


class StepError(BaseModel):
    """Why a try failed: the type's name, a message, and where it comes from.

    ``business`` is there where nothing broke: the step wants a person to see something.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: str
    message: str
    stack: str | None = None
    retry_after_s: float | None = None
    retryable: bool = True
    business: BusinessCase | None = None

    @field_validator("type", "message", "stack", mode="before")
    @classmethod
    def _keep(cls, value: Any) -> Any:
        # Texts of other people's errors: endless, with half characters out of file names.
        return cleaned(value, ERROR_TEXT_MAX) if isinstance(value, str) else value


class Unreadable(BaseModel):
    """A payload that did not pass the gate, kept so that a person can see and mend it.

    ``raw_base64`` holds the first bytes as they came (see ``gate.KEPT_BYTES``); ``size_bytes`` and
    ``sha256`` are of the whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reason: str
    detail: str
    size_bytes: int
    sha256: str
    raw_base64: str


class TriggerReceived(Request):
    """A source says that something happened that a workflow may start from.

    ``trigger_type`` may be empty where the source starts only one workflow. Exactly one of
    ``payload`` and ``unreadable`` says what came.
    """

    TYPE = "meshline.trigger.received"

    source: str
    trigger_id: str
    trigger_type: str = ""
    payload: Any = None
    unreadable: Unreadable | None = None


class MessageReceived(Request):
    """Something that a run waits for, addressed to the run; kept if it comes early."""

    TYPE = "meshline.message.received"

    name: str
    payload: Any = None


class StepReported(Request):
    """An outside worker tells what a try gave."""

    TYPE = "meshline.step.reported"

    step: str
    attempt: int
    outcome: Literal["succeeded", "failed"]
    result: Any = None
    error: StepError | None = None


class ActivityReported(Request):
    """An outside system tells what it did in an observed run; the envelope's time is when."""

    TYPE = "meshline.activity.reported"

    activity: str
    payload: Any = None


class ApprovalSubmitted(Request):
    """A person's answer to an approval. ``form`` is what the approver filled in."""

    TYPE = "meshline.approval.submitted"

    approval: str
    decision: Literal["approved", "denied"]
    form: Any = None
    reason: str = ""


class OwnerChangeRequested(Request):
    """Hand the run to another owner."""

    TYPE = "meshline.owner.change.requested"

    owner: str
    reason: str = ""


class ExceptionActionRequested(Request):
    """Do something about an exception.

    ``retry`` tries the failed step again, after what the run knows was set right by the
    ``corrections``; ``skip`` goes on with ``value`` as the step's result; ``assign`` gives it to
    ``owner``; ``acknowledge`` says that somebody looks at it; ``start`` that the actor works on
    it; ``resolve`` closes one that holds nothing up, ``dismiss`` one that was no problem;
    ``reopen`` opens again what a person closed.
    """

    TYPE = "meshline.exception.action.requested"

    exception_id: str
    action: Literal[
        "acknowledge", "start", "assign", "resolve", "retry", "skip", "dismiss", "reopen"
    ]
    owner: str | None = None
    value: Any = None
    corrections: tuple[Correction, ...] = ()
    reason: str = ""


class CauseActionRequested(Request):
    """Say of a group of exceptions that its cause is mended, or not after all; in every partition.

    ``resolve``: it is, from version ``in_version`` of the workflow on. What such a run opens of the
    same cause later opens the group again; what an older run opens does not.
    """

    TYPE = "meshline.cause.action.requested"

    cause: str
    action: Literal["resolve", "reopen"]
    in_version: int | None = None
    reason: str = ""


class CancelRequested(Request):
    """End the run; what it has done is compensated where the workflow says how."""

    TYPE = "meshline.cancel.requested"

    reason: str = ""


class PauseRequested(Request):
    """Start no further step until the run is resumed; steps under way may finish."""

    TYPE = "meshline.pause.requested"

    reason: str = ""
    until: Moment | None = None


class NoteRequested(Request):
    """Keep what somebody has to say about the run, even if that has ended; it changes nothing."""

    TYPE = "meshline.note.requested"

    text: str


class ResumeRequested(Request):
    """Go on with a paused run."""

    TYPE = "meshline.resume.requested"

    reason: str = ""


class RetryRequested(Request):
    """Try again every step of the run that is held by an exception or waits for a retry."""

    TYPE = "meshline.retry.requested"

    reason: str = ""


class ParkedActionRequested(Request):
    """Do something about an event that a view could not apply, and parked.

    ``retry`` applies it again, and what waits behind it; ``skip`` leaves it out, and goes on with
    what waits behind it. The event stands in the partition of this request; the subject of this
    request is the event's, whether that is a run or not.
    """

    TYPE = "meshline.parked.action.requested"

    view: str
    partition: int
    offset: int
    action: Literal["retry", "skip"]
    reason: str = ""


class RefusalReported(Request):
    """A server turned away what somebody asked of a run, before it could be appended.

    The keeper says the refusal in the history, as for a request that it refuses itself. The
    envelope's actor is who asked, as far as the server knows. ``request`` is the type of what was
    asked; ``times`` counts what was turned away alike since the last report.
    """

    TYPE = "meshline.refusal.reported"

    request: str
    code: str
    reason: str
    times: int = 1
