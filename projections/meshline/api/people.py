"""Exceptions, approvals and owners over HTTP: the work of people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from meshline.api.access import requires
from meshline.api.answers import item_of, list_of
from meshline.api.context import After, Ask, AtLeast, Body, IfNoneMatch, Limit, Past, Reader, Wait
from meshline.api.desk import Answered, Desk
from meshline.api.principals import Permission
from meshline.api.problems import documented
from meshline.api.runs import tagged
from meshline.api.work import PartitionAnswers, told
from meshline.events.clock import SystemClock
from meshline.events.corrections import Correction
from meshline.events.requests import (
    ApprovalSubmitted,
    CauseActionRequested,
    ExceptionActionRequested,
)
from meshline.projections.cause_queries import CauseHit, ExceptionGroup, Opened
from meshline.projections.errors import NotFound
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.pages import page_of_all
from meshline.projections.summaries import OwnerLoad
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["people"])

ExceptionState = Literal["open", "acknowledged", "in_progress", "resolved", "dismissed"]
ApprovalState = Literal["requested", "escalated", "approved", "denied", "expired", "withdrawn"]


_clock = SystemClock()

GROUPS_MAX = 10_000
"""Causes of exceptions that a list goes through."""


class Action(Body):
    """What to do about an exception.

    ``retry`` tries the failed step again, after what the run knows was set right by the
    ``corrections``; ``skip`` goes on with ``value`` as its result; ``assign`` gives it to
    ``owner``; ``start`` says that you work on it; ``resolve`` closes one that holds nothing up,
    ``dismiss`` one that was no problem, with a reason; ``reopen`` opens again what a person closed.
    """

    action: Literal[
        "acknowledge", "start", "assign", "resolve", "retry", "skip", "dismiss", "reopen"
    ]
    owner: str | None = None
    value: Any = None
    corrections: tuple[Correction, ...] = Field((), max_length=100)
    reason: str = Field("", max_length=2_000)


class GroupAction(Body):
    """What is said of a group of exceptions.

    ``resolve``: its cause is mended from version ``in_version`` of the workflow on; comes it again
    in such a run, the group is reopened. ``reopen``: it is not mended after all.
    """

    action: Literal["resolve", "reopen"]
    in_version: int | None = Field(None, ge=1, le=1_000_000)
    reason: str = Field(min_length=1, max_length=2_000)


class CauseShown(BaseModel):
    """A group of exceptions, what it strikes, and how many were opened in the last 48 hours, or
    in the last 30 days if it is older; ``unit`` says which."""

    group: item_of(ExceptionGroup)  # type: ignore[valid-type]
    hits: list[item_of(CauseHit)]  # type: ignore[valid-type]
    unit: Literal["hour", "day"]
    opened: list[item_of(Opened)]  # type: ignore[valid-type]


class Decision(Body):
    """An answer to an approval; a denial needs a reason."""

    decision: Literal["approved", "denied"]
    form: Any = None
    reason: str = Field("", max_length=2_000)


@router.get("/exceptions", response_model=list_of(ExceptionRow), responses=documented(404, 422))
async def list_exceptions(
    desk: Reader,
    past: Past,
    state: Annotated[list[ExceptionState] | None, Query()] = None,
    route: str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    code: str | None = None,
    severity: str | None = None,
    cause: str | None = None,
    workflow: str | None = None,
    run_id: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List exceptions, the newest first; those that are not resolved unless `state` says so."""
    async with past.seen(desk, "exceptions") as views:
        page = await views.exceptions(
            states=state or OPEN_EXCEPTIONS, route=route, owner=owner, kind=kind, code=code,
            severity=severity, cause=cause, workflow=workflow, run_id=run_id, limit=limit,
            after=after,
        )  # fmt: skip
    return await desk.page(page, "exceptions")


@router.get(
    "/exception-groups", response_model=list_of(ExceptionGroup), responses=documented(404, 422)
)
async def exception_groups(
    desk: Reader,
    past: Past,
    everything: Annotated[bool, Query(alias="all", description="Also without open ones.")] = False,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List exceptions by cause: what has one reason can be dealt with at once."""
    async with past.seen(desk, "exceptions") as views:
        found = await views.exception_groups(open_only=not everything, limit=GROUPS_MAX)
    page = page_of_all(
        found, lambda g: [-g.open, -g.total, g.cause], kinds=[int, int, str],
        limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "exceptions")


@router.get("/exception-groups/{cause}", response_model=CauseShown, responses=documented(404, 422))
async def show_group(desk: Reader, past: Past, cause: str) -> Any:
    """Show the exceptions of one cause together: what it strikes, and whether it goes on."""
    async with past.seen(desk, "exceptions") as views:
        group, hits, unit, opened = await views.cause(cause, past.time or _clock.now())
    return {
        "group": group._asdict(),
        "hits": [hit._asdict() for hit in hits],
        "unit": unit,
        "opened": [each._asdict() for each in opened],
    }


@router.post(
    "/exception-groups/{cause}/actions",
    status_code=202,
    response_model=PartitionAnswers,
    responses=documented(404, 409, 411, 413, 415, 422),
)
async def act_on_group(
    desk: Annotated[Desk, Depends(requires(Permission.OPERATE, CauseActionRequested))],
    cause: str,
    body: GroupAction,
    wait_s: Wait = 10.0,
) -> Any:
    """Say that a cause is mended, or not after all; every partition answers for itself."""
    if not (await desk.views.exceptions(states=None, cause=cause, limit=1)).rows:
        raise NotFound(f"No exception has the cause {cause[:60]!r}: see /v1/exception-groups.")
    asked = CauseActionRequested(cause=cause, **dict(body))
    return told(await desk.ask_everywhere("causes", asked, wait_s))


@router.get(
    "/exceptions/{exception}",
    response_model=item_of(ExceptionRow),
    responses=documented(304, 404, 422),
)
async def show_exception(
    desk: Reader,
    least: AtLeast,
    response: Response,
    exception: str,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show an exception by its id, or by enough of its beginning."""
    await least.reached(desk, "exceptions")
    row = await desk.exception(exception)
    return await tagged(desk, row, f"exception {row.exception_id}", response, if_none_match)


_ACTS = documented(404, 409, 411, 412, 413, 415, 422)


@router.post("/exceptions/{exception}/actions", status_code=202, responses=_ACTS)
async def act_on_exception(
    desk: Annotated[Desk, Depends(requires(Permission.OPERATE, ExceptionActionRequested))],
    exception: str,
    body: Action,
    asking: Ask,
) -> Answered:
    """Do something about an exception."""

    def action(exception_id: str) -> ExceptionActionRequested:
        return ExceptionActionRequested(exception_id=exception_id, **dict(body))

    return await desk.act_on(exception, action, asking)


@router.get("/approvals", response_model=list_of(TaskRow), responses=documented(404, 422))
async def list_approvals(
    desk: Reader,
    past: Past,
    state: Annotated[list[ApprovalState] | None, Query()] = None,
    owner: str | None = None,
    run_id: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List what people are asked, the newest first; the undecided unless `state` says so."""
    async with past.seen(desk, "tasks") as views:
        page = await views.approvals(
            states=state or OPEN_TASKS, owner=owner, run_id=run_id, limit=limit, after=after
        )
    return await desk.page(page, "approvals")


@router.get(
    "/runs/{run}/approvals/{approval}",
    response_model=item_of(TaskRow),
    responses=documented(304, 404, 422),
)
async def show_approval(
    desk: Reader,
    least: AtLeast,
    response: Response,
    run: str,
    approval: str,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show what a run asks people, or asked."""
    await least.reached(desk, "tasks")
    row = await desk.approval(run, approval)
    return await tagged(desk, row, f"approval {approval} of {row.run_id}", response, if_none_match)


@router.post("/runs/{run}/approvals/{approval}", status_code=202, responses=_ACTS)
async def decide_approval(
    desk: Annotated[Desk, Depends(requires(Permission.APPROVE, ApprovalSubmitted))],
    run: str,
    approval: str,
    body: Decision,
    asking: Ask,
) -> Answered:
    """Approve or deny what a run asks for, in the name of the key's owner."""
    submitted = ApprovalSubmitted(approval=approval, **dict(body))
    return await desk.decide(run, submitted, asking)


@router.get("/owners", response_model=list_of(OwnerLoad), responses=documented(404, 422))
async def list_owners(desk: Reader, past: Past, limit: Limit = 50, after: After = None) -> Any:
    """Tell who has something open, those with the most first."""
    async with past.seen(desk, "ownership") as views:
        owners = await views.owners()
    page = page_of_all(
        owners, lambda o: [-o.total, o.owner], kinds=[int, str],
        limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "owners")
