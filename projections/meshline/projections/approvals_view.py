"""The view ``approvals``: what people were asked, who may answer, and what they said."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    ApprovalApproved,
    ApprovalDenied,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalVoted,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    StepSkipped,
    TaskAssigned,
    TaskClaimed,
    TaskDelegated,
    TaskReleased,
    TaskReminded,
    TaskTransferred,
)
from meshline.projections.columns import Json
from meshline.projections.projection import Key, Projection, RowAccess, by_run

__all__ = ["OPEN_APPROVALS", "ApprovalRow", "approvals", "projection"]

OPEN_APPROVALS = ["requested", "escalated", "expired"]


class ApprovalRow(NamedTuple):
    """One question to people. ``withdrawn``: the run ended, or went on, before anybody decided.

    ``candidates`` may decide: who was asked, and all to whom it went since. ``requester`` asks for
    it, and so may not. Where ``of`` different people must approve, ``votes`` are those who did, and
    ``voted`` are they and those in whose place they did. ``on_behalf_of`` is in whose place
    ``decided_by`` decided. Whoever is the ``assignee`` decides it, or their ``delegate``; at
    ``follow_up_at`` it is time to look after it.
    """

    run_id: str
    approval: str
    workflow: str
    state: Literal["requested", "escalated", "approved", "denied", "expired", "withdrawn"]
    by: str
    owner: str
    due_at: datetime | None
    escalate_to: str | None
    form_schema: Json | None
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    form: Json | None
    requester: str | None
    of: int
    votes: Json
    reminded_at: datetime | None
    on_behalf_of: str | None
    assignee: str | None
    delegate: str | None
    priority: Literal["low", "normal", "high", "urgent"]
    follow_up_at: datetime | None
    candidates: Json
    voted: Json


class AskingRunRow(NamedTuple):
    """An open run that asks people: the approvals that nobody has decided."""

    run_id: str
    undecided: Json


def _by_approval(event: Recorded[Any]) -> Iterable[Key]:
    data = event.event.data
    if isinstance(data, StepSkipped):
        # Of all that are skipped, only these may have been asked before.
        return ((event.event.subject, data.step),) if data.why == "expired" else ()
    approval = getattr(data, "approval", None) or getattr(data, "task", None)
    return () if approval is None else ((event.event.subject, approval),)


projection = Projection("approvals", version=5)
approvals = projection.table(
    "approvals",
    ApprovalRow,
    key=["run_id", "approval"],
    keys=_by_approval,
    indexes=[["state", "owner"]],
)
asking = projection.table("approvals_asking", AskingRunRow, key=["run_id"], keys=by_run)


@projection.on(RunSucceeded, RunFailed, RunCancelled)
def _run_ended(rows: RowAccess, event: Recorded[Any]) -> None:
    run_id = event.event.subject
    run = rows.get(asking, run_id)
    if run is None:
        return
    for approval in run.undecided:
        row = rows.get(approvals, run_id, approval)
        if row is not None and row.state in OPEN_APPROVALS:
            rows.put(approvals, row._replace(state="withdrawn", decided_at=event.event.time))
    rows.delete(asking, run_id)


@projection.on(ApprovalRequested)
def _requested(rows: RowAccess, event: Recorded[ApprovalRequested]) -> None:
    run_id, data = event.event.subject, event.event.data
    run = rows.get(asking, run_id)
    undecided = [] if run is None else run.undecided
    if data.approval not in undecided:
        rows.put(asking, AskingRunRow(run_id, [*undecided, data.approval]))
    rows.get(approvals, run_id, data.approval)
    row = ApprovalRow(
        run_id=run_id,
        approval=data.approval,
        workflow=data.workflow,
        state="requested",
        by=data.by,
        owner=data.owner,
        due_at=data.due_at,
        escalate_to=data.escalate_to,
        form_schema=data.form_schema,
        requested_at=event.event.time,
        decided_by=None,
        decided_at=None,
        reason="",
        form=None,
        requester=data.requester,
        of=data.of,
        votes=[],
        reminded_at=None,
        on_behalf_of=None,
        assignee=None,
        delegate=None,
        priority=data.priority,
        follow_up_at=data.follow_up_at,
        candidates=[data.by],
        voted=[],
    )
    rows.put(approvals, row)


@approvals.on(ApprovalEscalated)
def _escalated(row: ApprovalRow | None, event: Recorded[ApprovalEscalated]) -> ApprovalRow | None:
    if row is None:
        return None
    data = event.event.data
    return row._replace(
        state="escalated", owner=data.owner, due_at=data.due_at, assignee=None, delegate=None,
        candidates=_with(row.candidates, data.owner),
    )  # fmt: skip


@approvals.on(ApprovalExpired)
def _expired(row: ApprovalRow | None, event: Recorded[ApprovalExpired]) -> ApprovalRow | None:
    return None if row is None else row._replace(state="expired")


@approvals.on(ApprovalVoted)
def _voted(row: ApprovalRow | None, event: Recorded[ApprovalVoted]) -> ApprovalRow | None:
    data = event.event.data
    return row and row._replace(
        votes=[*row.votes, data.by], voted=_with(row.voted, data.by, data.on_behalf_of)
    )


def _with(names: Iterable[str], *more: str | None) -> list[str]:
    return list(dict.fromkeys((*names, *(name for name in more if name is not None))))


@approvals.on(TaskReminded)
def _reminded(row: ApprovalRow | None, event: Recorded[TaskReminded]) -> ApprovalRow | None:
    return None if row is None else row._replace(reminded_at=event.event.time)


@approvals.on(TaskClaimed)
def _claimed(row: ApprovalRow | None, event: Recorded[TaskClaimed]) -> ApprovalRow | None:
    data = event.event.data
    return _given(row, data.on_behalf_of or data.by)


@approvals.on(TaskAssigned)
def _assigned(row: ApprovalRow | None, event: Recorded[TaskAssigned]) -> ApprovalRow | None:
    return _given(row, event.event.data.assignee)


@approvals.on(TaskReleased)
def _released(row: ApprovalRow | None, event: Recorded[TaskReleased]) -> ApprovalRow | None:
    return _given(row, None)


def _given(row: ApprovalRow | None, assignee: str | None) -> ApprovalRow | None:
    return None if row is None else row._replace(assignee=assignee, delegate=None)


@approvals.on(TaskDelegated)
def _delegated(row: ApprovalRow | None, event: Recorded[TaskDelegated]) -> ApprovalRow | None:
    return None if row is None else row._replace(delegate=event.event.data.delegate)


@approvals.on(TaskTransferred)
def _handed_over(row: ApprovalRow | None, event: Recorded[TaskTransferred]) -> ApprovalRow | None:
    if row is None:
        return None
    data = event.event.data
    if row.assignee == data.previous:
        assignee = data.owner if data.owner.startswith("user:") else None
        row = row._replace(assignee=assignee, delegate=None)
    owner = data.owner if row.owner == data.previous else row.owner
    return row._replace(owner=owner, candidates=_with(row.candidates, data.owner))


def _decided(rows: RowAccess, event: Recorded[Any], **changes: Any) -> None:
    run_id, data = event.event.subject, event.event.data
    _settled(rows, run_id, data.approval)
    row = rows.get(approvals, run_id, data.approval)
    if row is not None:
        rows.put(
            approvals,
            row._replace(
                decided_by=data.by,
                decided_at=event.event.time,
                reason=data.reason,
                on_behalf_of=data.on_behalf_of,
                **changes,
            ),
        )


def _settled(rows: RowAccess, run_id: str, approval: str) -> None:
    run = rows.get(asking, run_id)
    if run is not None and approval in run.undecided:
        left = [each for each in run.undecided if each != approval]
        rows.put(asking, run._replace(undecided=left))


@projection.on(StepSkipped)
def _gone_on(rows: RowAccess, event: Recorded[StepSkipped]) -> None:
    run_id, data = event.event.subject, event.event.data
    if data.why != "expired":
        return
    _settled(rows, run_id, data.step)
    row = rows.get(approvals, run_id, data.step)
    if row is not None and row.state in OPEN_APPROVALS:
        rows.put(approvals, row._replace(state="withdrawn", decided_at=event.event.time))


@projection.on(ApprovalApproved)
def _approved(rows: RowAccess, event: Recorded[ApprovalApproved]) -> None:
    _decided(rows, event, state="approved", form=event.event.data.form)


@projection.on(ApprovalDenied)
def _denied(rows: RowAccess, event: Recorded[ApprovalDenied]) -> None:
    _decided(rows, event, state="denied")
