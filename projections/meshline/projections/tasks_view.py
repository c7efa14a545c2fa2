"""The view ``tasks``: what people were asked for, tasks too, who may do it, and what they did."""

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
    TaskCompleted,
    TaskCreated,
    TaskDelegated,
    TaskEscalated,
    TaskExpired,
    TaskReleased,
    TaskReminded,
    TaskTransferred,
)
from meshline.projections.columns import Json
from meshline.projections.projection import Key, Projection, RowAccess, by_run

__all__ = ["OPEN_TASKS", "TaskRow", "tasks", "projection"]

OPEN_TASKS = ["requested", "escalated", "expired"]


class TaskRow(NamedTuple):
    """What people are asked for: an approval, or a task that is completed.

    ``withdrawn``: the run ended, or went on, before anybody ended it. ``candidates`` may do it: who
    was asked, and all to whom it went since. ``requester`` asks for it, and so may not. Where
    ``of`` different people must approve, ``votes`` are those who did, and ``voted`` are they and
    those in whose place they did. ``decided_by`` is who ended it, and ``on_behalf_of`` in whose
    place. Whoever is the ``assignee`` does it, or their ``delegate``; at ``follow_up_at`` it is
    time to look after it. A run that goes back may ask again, after ``first_requested_at``;
    ``changed_at`` is the greatest time of what changed it, however late that came.
    """

    run_id: str
    task: str
    kind: Literal["approval", "task"]
    workflow: str
    state: Literal[
        "requested", "escalated", "approved", "denied", "completed", "expired", "withdrawn"
    ]
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
    first_requested_at: datetime
    changed_at: datetime


class AskingRunRow(NamedTuple):
    """An open run that asks people: the tasks that nobody has ended."""

    run_id: str
    open_tasks: Json


def _by_task(event: Recorded[Any]) -> Iterable[Key]:
    data = event.event.data
    if isinstance(data, StepSkipped):
        # Of all that are skipped, only these may have been asked before.
        return ((event.event.subject, data.step),) if data.why == "expired" else ()
    task = getattr(data, "task", None)
    return () if task is None else ((event.event.subject, task),)


projection = Projection("tasks", version=2)
tasks = projection.table(
    "tasks",
    TaskRow,
    key=["run_id", "task"],
    keys=_by_task,
    indexes=[["state", "owner"]],
)
asking = projection.table("tasks_asking", AskingRunRow, key=["run_id"], keys=by_run)


@projection.on(RunSucceeded, RunFailed, RunCancelled)
def _run_ended(rows: RowAccess, event: Recorded[Any]) -> None:
    run_id = event.event.subject
    run = rows.get(asking, run_id)
    if run is None:
        return
    for task in run.open_tasks:
        row = rows.get(tasks, run_id, task)
        if row is not None and row.state in OPEN_TASKS:
            rows.put(tasks, _withdrawn(row, event))
    rows.delete(asking, run_id)


@projection.on(ApprovalRequested, TaskCreated)
def _requested(rows: RowAccess, event: Recorded[ApprovalRequested | TaskCreated]) -> None:
    run_id, data = event.event.subject, event.event.data
    run = rows.get(asking, run_id)
    open_tasks = [] if run is None else run.open_tasks
    if data.task not in open_tasks:
        rows.put(asking, AskingRunRow(run_id, [*open_tasks, data.task]))
    before, time = rows.get(tasks, run_id, data.task), event.event.time
    approval = data if isinstance(data, ApprovalRequested) else None
    row = TaskRow(
        run_id=run_id,
        task=data.task,
        kind="task" if approval is None else "approval",
        workflow=data.workflow,
        state="requested",
        by=data.by,
        owner=data.owner,
        due_at=data.due_at,
        escalate_to=data.escalate_to,
        form_schema=data.form_schema,
        requested_at=time,
        decided_by=None,
        decided_at=None,
        reason="",
        form=None,
        requester=None if approval is None else approval.requester,
        of=1 if approval is None else approval.of,
        votes=[],
        reminded_at=None,
        on_behalf_of=None,
        assignee=None,
        delegate=None,
        priority=data.priority,
        follow_up_at=data.follow_up_at,
        candidates=[data.by],
        voted=[],
        first_requested_at=time if before is None else min(before.first_requested_at, time),
        changed_at=time if before is None else max(before.changed_at, time),
    )
    rows.put(tasks, row)


def _changed(row: TaskRow, event: Recorded[Any], **changes: Any) -> TaskRow:
    return row._replace(changed_at=max(row.changed_at, event.event.time), **changes)


def _withdrawn(row: TaskRow, event: Recorded[Any]) -> TaskRow:
    return _changed(row, event, state="withdrawn", decided_at=event.event.time)


@tasks.on(ApprovalEscalated, TaskEscalated)
def _escalated(
    row: TaskRow | None, event: Recorded[ApprovalEscalated | TaskEscalated]
) -> TaskRow | None:
    if row is None:
        return None
    data = event.event.data
    return _changed(
        row, event, state="escalated", owner=data.owner, due_at=data.due_at, assignee=None,
        delegate=None, candidates=_with(row.candidates, data.owner),
    )  # fmt: skip


@tasks.on(ApprovalExpired, TaskExpired)
def _expired(row: TaskRow | None, event: Recorded[ApprovalExpired | TaskExpired]) -> TaskRow | None:
    return None if row is None else _changed(row, event, state="expired")


@tasks.on(ApprovalVoted)
def _voted(row: TaskRow | None, event: Recorded[ApprovalVoted]) -> TaskRow | None:
    data = event.event.data
    return row and _changed(
        row, event, votes=[*row.votes, data.by], voted=_with(row.voted, data.by, data.on_behalf_of)
    )


def _with(names: Iterable[str], *more: str | None) -> list[str]:
    return list(dict.fromkeys((*names, *(name for name in more if name is not None))))


@tasks.on(TaskReminded)
def _reminded(row: TaskRow | None, event: Recorded[TaskReminded]) -> TaskRow | None:
    return None if row is None else _changed(row, event, reminded_at=event.event.time)


@tasks.on(TaskClaimed)
def _claimed(row: TaskRow | None, event: Recorded[TaskClaimed]) -> TaskRow | None:
    data = event.event.data
    return _given(row, event, data.on_behalf_of or data.by)


@tasks.on(TaskAssigned)
def _assigned(row: TaskRow | None, event: Recorded[TaskAssigned]) -> TaskRow | None:
    return _given(row, event, event.event.data.assignee)


@tasks.on(TaskReleased)
def _released(row: TaskRow | None, event: Recorded[TaskReleased]) -> TaskRow | None:
    return _given(row, event, None)


def _given(row: TaskRow | None, event: Recorded[Any], assignee: str | None) -> TaskRow | None:
    return None if row is None else _changed(row, event, assignee=assignee, delegate=None)


@tasks.on(TaskDelegated)
def _delegated(row: TaskRow | None, event: Recorded[TaskDelegated]) -> TaskRow | None:
    return None if row is None else _changed(row, event, delegate=event.event.data.delegate)


@tasks.on(TaskTransferred)
def _handed_over(row: TaskRow | None, event: Recorded[TaskTransferred]) -> TaskRow | None:
    if row is None:
        return None
    data = event.event.data
    if row.assignee == data.previous:
        assignee = data.owner if data.owner.startswith("user:") else None
        row = row._replace(assignee=assignee, delegate=None)
    owner = data.owner if row.owner == data.previous else row.owner
    return _changed(row, event, owner=owner, candidates=_with(row.candidates, data.owner))


def _decided(rows: RowAccess, event: Recorded[Any], **changes: Any) -> None:
    run_id, data = event.event.subject, event.event.data
    _settled(rows, run_id, data.task)
    row = rows.get(tasks, run_id, data.task)
    if row is not None:
        rows.put(
            tasks,
            _changed(
                row,
                event,
                decided_by=data.by,
                decided_at=event.event.time,
                reason=data.reason,
                on_behalf_of=data.on_behalf_of,
                **changes,
            ),
        )


def _settled(rows: RowAccess, run_id: str, task: str) -> None:
    run = rows.get(asking, run_id)
    if run is not None and task in run.open_tasks:
        left = [each for each in run.open_tasks if each != task]
        rows.put(asking, run._replace(open_tasks=left))


@projection.on(StepSkipped)
def _gone_on(rows: RowAccess, event: Recorded[StepSkipped]) -> None:
    run_id, data = event.event.subject, event.event.data
    if data.why != "expired":
        return
    _settled(rows, run_id, data.step)
    row = rows.get(tasks, run_id, data.step)
    if row is not None and row.state in OPEN_TASKS:
        rows.put(tasks, _withdrawn(row, event))


@projection.on(ApprovalApproved)
def _approved(rows: RowAccess, event: Recorded[ApprovalApproved]) -> None:
    _decided(rows, event, state="approved", form=event.event.data.form)


@projection.on(ApprovalDenied)
def _denied(rows: RowAccess, event: Recorded[ApprovalDenied]) -> None:
    _decided(rows, event, state="denied")


@projection.on(TaskCompleted)
def _completed(rows: RowAccess, event: Recorded[TaskCompleted]) -> None:
    _decided(rows, event, state="completed", form=event.event.data.form)
