"""The view ``audit``: what people and programs asked for, when and why, and what was refused.

What machines say all the time (triggers, outcomes of steps, activities) stands here only where it
was refused: triggers have a view of their own, and the rest is in each run's history.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Position, Recorded
from meshline.events.facts import RequestRejected
from meshline.events.requests import (
    ActivityReported,
    RefusalReported,
    Request,
    StepReported,
    TriggerReceived,
)
from meshline.projections.projection import Key, Projection

__all__ = ["ACTIONS", "AuditRow", "action_of", "audit", "projection"]


class AuditRow(NamedTuple):
    """One thing that somebody asked for, at its position in the log.

    ``action`` is one of ``ACTIONS``, ``what`` says which of its kind; ``about`` names the approval,
    the exception, the new owner and so on. Times that are ``recorded`` are the log's: nobody can
    date them back. ``code`` and ``refusal`` say why it was refused.
    """

    partition: int
    log_offset: int
    run_id: str
    action: str
    what: str
    about: str
    status: Literal["asked", "refused"]
    actor_kind: str | None
    actor: str | None
    reason: str
    code: str | None
    refusal: str | None
    time: datetime
    recorded_at: datetime
    event_id: str


_OF_MACHINES = (TriggerReceived, StepReported, ActivityReported, RefusalReported)
_ASKED = tuple(
    each
    for each in CATALOGUE.values()
    if issubclass(each, Request) and not issubclass(each, _OF_MACHINES)
)
_ENDING = re.compile(r"\.(action|requested|submitted|received|reported)\b")
_ABOUT = (
    "exception_id",
    "approval",
    "task",
    "owner",
    "name",
    "view",
    "user",
    "step",
    "activity",
    "about",
)


def action_of(request_type: str) -> str:
    """Return what a request's type asks for, in short: ``cancel``, ``owner.change``."""
    return _ENDING.sub("", request_type.removeprefix("meshline."))


ACTIONS = sorted({action_of(each.TYPE) for each in CATALOGUE.values() if issubclass(each, Request)}
                 - {action_of(RefusalReported.TYPE)})  # fmt: skip


def _request_of(event: Recorded[Any]) -> Position:
    """Return the request's position: its own, or of the one that the refusal answers."""
    if event.event.data.__class__ is RequestRejected:
        partition, _, offset = (event.event.causation_id or "").partition(":")
        if partition.isdecimal() and offset.isdecimal():
            return Position(int(partition), int(offset))
    return event.position


def _by_request(event: Recorded[Any]) -> Iterable[Key]:
    return (_request_of(event),)


projection = Projection("audit", version=2)
audit = projection.table(
    "audit",
    AuditRow,
    key=["partition", "log_offset"],
    keys=_by_request,
    indexes=[["recorded_at"], ["actor", "recorded_at"], ["action", "recorded_at"], ["run_id"]],
)


@audit.on(*_ASKED)
def _asked(row: AuditRow | None, event: Recorded[Any]) -> AuditRow:
    said, data = event.event, event.event.data
    kind, actor = said.actor or (None, None)
    named = (getattr(data, field, None) for field in _ABOUT)
    return AuditRow(
        partition=event.position.partition,
        log_offset=event.position.offset,
        run_id=said.subject,
        action=action_of(data.TYPE),
        what=getattr(data, "action", None) or getattr(data, "decision", None) or "",
        about=next((name for name in named if name), ""),
        status="asked",
        actor_kind=kind,
        actor=actor,
        reason=getattr(data, "reason", None) or getattr(data, "text", None) or "",
        code=None,
        refusal=None,
        time=said.time,
        recorded_at=said.recorded_at,
        event_id=said.id,
    )


@audit.on(RequestRejected)
def _refused(row: AuditRow | None, event: Recorded[RequestRejected]) -> AuditRow:
    said, data = event.event, event.event.data
    if row is not None:
        return row._replace(status="refused", code=data.code, refusal=data.reason)
    partition, offset = _request_of(event)
    kind, actor = said.actor or (None, None)
    return AuditRow(
        partition=partition,
        log_offset=offset,
        run_id=said.subject,
        action=action_of(data.request),
        what="",
        about="",
        status="refused",
        actor_kind=kind,
        actor=actor,
        reason="",
        code=data.code,
        refusal=data.reason,
        time=said.time,
        recorded_at=said.recorded_at,
        event_id=said.id,
    )
