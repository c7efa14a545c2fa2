"""The view ``handovers``: what went from whom to whom, by whom or by which rule, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    ApprovalEscalated,
    ExceptionAssigned,
    OwnerAssigned,
    TaskEscalated,
    TaskTransferred,
)
from meshline.projections.projection import Projection, RowAccess

__all__ = ["HandoverRow", "handovers", "projection"]

Kind = Literal["run", "exception", "approval", "task"]


class HandoverRow(NamedTuple):
    """A run, an exception or work for people went from ``previous`` to ``owner``.

    ``about`` is the exception's id or the task's name; empty for the run itself. ``actor`` is
    the person who gave it; where it was none, ``rule`` is what did.
    """

    run_id: str
    partition: int
    log_offset: int
    time: datetime
    kind: Kind
    about: str
    previous: str | None
    owner: str
    actor: str | None
    rule: str | None
    reason: str


projection = Projection("handovers", version=3)
handovers = projection.table(
    "handovers",
    HandoverRow,
    key=["run_id", "partition", "log_offset"],
    append_only=True,
    indexes=[[each, "time", "partition", "log_offset"] for each in ("owner", "previous")],
)


@projection.on(OwnerAssigned)
def _run(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
    data = event.event.data
    if data.owner != data.previous:
        _went(rows, event, "run", "", data.previous, data.owner, data.rule, data.reason)


@projection.on(ExceptionAssigned)
def _exception(rows: RowAccess, event: Recorded[ExceptionAssigned]) -> None:
    data = event.event.data
    _went(rows, event, "exception", data.exception_id, data.previous, data.owner, None, data.reason)


@projection.on(ApprovalEscalated, TaskEscalated)
def _escalated(rows: RowAccess, event: Recorded[ApprovalEscalated | TaskEscalated]) -> None:
    data = event.event.data
    kind: Kind = "approval" if isinstance(data, ApprovalEscalated) else "task"
    _went(rows, event, kind, data.task, data.previous, data.owner, "escalation", "")


@projection.on(TaskTransferred)
def _task(rows: RowAccess, event: Recorded[TaskTransferred]) -> None:
    data = event.event.data
    _went(rows, event, data.kind, data.task, data.previous, data.owner, None, data.reason)


def _went(
    rows: RowAccess,
    event: Recorded[Any],
    kind: Kind,
    about: str,
    previous: str | None,
    owner: str,
    rule: str | None,
    reason: str,
) -> None:
    said, (partition, offset) = event
    actor = None if said.actor is None or said.actor.kind == "rule" else said.actor.id
    rows.append(
        handovers,
        HandoverRow(
            said.subject, partition, offset, said.time, kind, about, previous, owner, actor, rule,
            reason,
        ),
    )  # fmt: skip
