"""Work for people over HTTP: whose it is, how much everybody has, and who stands in for whom."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from meshline.api.access import requires
from meshline.api.answers import item_of, list_of
from meshline.api.context import (
    After,
    Ask,
    AtLeast,
    Body,
    IfNoneMatch,
    Limit,
    Past,
    Reader,
    Wait,
    invalid,
)
from meshline.api.desk import Answered, Desk
from meshline.api.principals import Permission
from meshline.api.problems import documented
from meshline.api.runs import tagged
from meshline.events.clock import SystemClock
from meshline.events.people_requests import (
    ABSENCES,
    AbsenceChangeRequested,
    TaskActionRequested,
    TaskCompletionRequested,
)
from meshline.events.principals import is_principal
from meshline.events.publish import RequestAnswer
from meshline.projections.directory_view import AbsenceRow
from meshline.projections.pages import page_of_all
from meshline.projections.people_queries import roster_of
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow
from meshline.projections.work import WorkRow
from meshline.projections.work_queries import PersonLoad, QueueLoad

__all__ = ["PartitionAnswers", "router", "told"]

router = APIRouter(prefix="/v1", tags=["people"])

_clock = SystemClock()


TaskState = Literal[
    "requested", "escalated", "approved", "denied", "completed", "expired", "withdrawn"
]


class Completion(Body):
    """What the person who did the task fills in."""

    form: Any = None
    reason: str = Field("", max_length=2_000)


class TaskAction(Body):
    """What to do about a task or an approval short of ending it.

    ``claim`` takes it for yourself, ``release`` gives it back to all who may; ``assign`` gives it
    to the user ``to``, which only admins may; ``delegate`` lets ``to`` do it in your place;
    ``comment`` says ``reason``.
    """

    action: Literal["claim", "release", "assign", "delegate", "comment"]
    to: str | None = None
    reason: str = Field("", max_length=2_000)


class Absence(Body):
    """Who is away, from ``since`` (else now) to ``until``, and who may do all that they may.

    ``user``: None: whose key it is; only admins say it of another.
    """

    user: str | None = None
    substitute: str
    since: AwareDatetime | None = None
    until: AwareDatetime
    reason: str = Field("", max_length=2_000)


class AbsenceEnd(Body):
    """Who is back before their time; ``user`` as of an ``Absence``."""

    user: str | None = None
    reason: str = Field("", max_length=2_000)


class PartitionAnswer(BaseModel):
    """What one partition says: each decides by its own answer."""

    partition: int
    status: Literal["appended", "accepted", "rejected"]
    position: str
    code: str | None
    reason: str | None


class PartitionAnswers(BaseModel):
    """What every partition says."""

    items: list[PartitionAnswer]


_ACTS = documented(404, 409, 411, 412, 413, 415, 422)


@router.get("/work", response_model=list_of(WorkRow), responses=documented(404, 422))
async def list_work(
    desk: Reader,
    least: AtLeast,
    user: Annotated[
        str | None, Query(description="Whose; else whose key it is. Any principal has work.")
    ] = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List what somebody may do, and why: what is due first, then priority, then age."""
    if user is not None and not is_principal(user):
        raise invalid(("query", "user"), f"{user[:60]!r} is nobody: expected as in 'user:ada'")
    await least.reached(desk, "tasks")
    page = await desk.views.work(
        user or desk.principal.actor.id, _clock.now(), limit=limit, after=after
    )
    return await desk.page(page, "work")


@router.get("/person-loads", response_model=list_of(PersonLoad), responses=documented(404, 422))
async def list_person_loads(
    desk: Reader, past: Past, limit: Limit = 50, after: After = None
) -> Any:
    """Tell how much work each person has, those with the most first, and who is away."""
    async with past.seen(desk, "tasks") as views:
        loads = await views.person_loads(past.time or _clock.now())
    page = page_of_all(
        loads,
        lambda o: [-(o.claimed + o.delegated), -o.asked, o.person], kinds=[int, int, str],
        limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "work")


@router.get("/queue-loads", response_model=list_of(QueueLoad), responses=documented(404, 422))
async def list_queue_loads(desk: Reader, past: Past, limit: Limit = 50, after: After = None) -> Any:
    """Tell what each owner is asked and nobody has decided, the one with the oldest first."""
    async with past.seen(desk, "tasks") as views:
        loads = await views.queue_loads(past.time or _clock.now())
    page = page_of_all(
        loads,
        lambda o: [o.oldest_at.isoformat(), o.owner], kinds=[str, str], limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "work")


@router.get("/absences", response_model=list_of(AbsenceRow), responses=documented(404, 422))
async def list_absences(
    desk: Reader, least: AtLeast, limit: Limit = 50, after: After = None
) -> Any:
    """List who is away, or will be, and who stands in; a team's key sees those of its queues."""
    await least.reached(desk, "directories")
    page = page_of_all(
        await _absences_seen(desk), lambda a: [a.since.isoformat(), a.absent], kinds=[str, str],
        limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "absences")


async def _absences_seen(desk: Desk) -> list[AbsenceRow]:
    found = await desk.views.absences(_clock.now())
    scope = desk.principal.scope
    if scope is None:
        return found
    roster = roster_of(await desk.views.directory())
    seen = {desk.principal.actor.id}
    if roster is not None:
        seen.update(*map(roster.users_of, scope.queues or ()))
    return [row for row in found if row.absent in seen or row.substitute in seen]


@router.get("/tasks", response_model=list_of(TaskRow), responses=documented(404, 422))
async def list_tasks(
    desk: Reader,
    past: Past,
    kind: Annotated[
        Literal["task", "approval"] | None, Query(description="An approval is a task, too.")
    ] = None,
    state: Annotated[list[TaskState] | None, Query()] = None,
    owner: str | None = None,
    run_id: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List what people are asked for, the newest first; what is open unless `state` says so."""
    async with past.seen(desk, "tasks") as views:
        page = await views.tasks(
            states=state or OPEN_TASKS, kind=kind, owner=owner, run_id=run_id, limit=limit,
            after=after,
        )  # fmt: skip
    return await desk.page(page, "tasks")


@router.get(
    "/runs/{run}/tasks/{task}",
    response_model=item_of(TaskRow),
    responses=documented(304, 404, 422),
)
async def show_task(
    desk: Reader,
    least: AtLeast,
    response: Response,
    run: str,
    task: str,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show a task or an approval of a run."""
    await least.reached(desk, "tasks")
    row = await desk.task(run, task)
    return await tagged(desk, row, f"task {task} of {row.run_id}", response, if_none_match)


@router.post("/runs/{run}/tasks/{task}", status_code=202, responses=_ACTS)
async def complete_task(
    desk: Annotated[Desk, Depends(requires(Permission.APPROVE, TaskCompletionRequested))],
    run: str,
    task: str,
    body: Completion,
    asking: Ask,
) -> Answered:
    """Complete a task with what its form asks for, in the name of the key's owner."""
    return await desk.complete(run, TaskCompletionRequested(task=task, **dict(body)), asking)


@router.post(
    "/runs/{run}/tasks/{task}/actions",
    status_code=202,
    response_model=Answered,
    responses=_ACTS,
)
async def act_on_task(
    desk: Annotated[Desk, Depends(requires(Permission.APPROVE, TaskActionRequested))],
    run: str,
    task: str,
    body: TaskAction,
    asking: Ask,
) -> Any:
    """Claim, release, assign, delegate or comment on a task, or an approval, which is one."""
    return await desk.act_on_task(run, TaskActionRequested(task=task, **dict(body)), asking)


_Everywhere = Annotated[Desk, Depends(requires(Permission.APPROVE, AbsenceChangeRequested))]
_ALL_ACT = documented(409, 411, 413, 415, 422)


@router.post("/absences", status_code=202, response_model=PartitionAnswers, responses=_ALL_ACT)
async def set_absence(desk: _Everywhere, body: Absence, wait_s: Wait = 10.0) -> Any:
    """Let somebody do all that a user may, while that user is away."""
    asked = AbsenceChangeRequested(
        user=body.user or desk.principal.actor.id,
        substitute=body.substitute,
        since=body.since or _clock.now(),
        until=body.until,
        reason=body.reason,
    )
    return told(await desk.ask_everywhere(ABSENCES, asked, wait_s))


@router.post("/absences/end", status_code=202, response_model=PartitionAnswers, responses=_ALL_ACT)
async def end_absence(desk: _Everywhere, body: AbsenceEnd, wait_s: Wait = 10.0) -> Any:
    """Say that a user is back before their time: nobody stands in for them any more."""
    now = _clock.now()
    asked = AbsenceChangeRequested(
        user=body.user or desk.principal.actor.id, since=now, until=now, reason=body.reason
    )
    return told(await desk.ask_everywhere(ABSENCES, asked, wait_s))


def told(answers: list[RequestAnswer]) -> PartitionAnswers:
    """Return what every partition says, as it is answered."""
    return PartitionAnswers(
        items=[
            PartitionAnswer(
                partition=answer.position.partition,
                status=answer.status,
                position=str(answer.decided_at or answer.position),
                code=answer.code,
                reason=answer.reason,
            )
            for answer in answers
        ]
    )
