"""Runs over HTTP: what each waits for and whose it is, what happened, and acting on it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from meshline.api.answers import item_of, items, list_of, page_of, shown
from meshline.api.context import (
    After,
    Answered,
    AsOf,
    Least,
    Limit,
    Operator,
    Reader,
    Services,
    Using,
    Wait,
    ask,
)
from meshline.api.problems import documented
from meshline.events.requests import (
    CancelRequested,
    MessageReceived,
    OwnerChangeRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
)
from meshline.projections.history_view import HistoryRow
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.runs_view import RunRow

__all__ = ["router", "whole_id"]

router = APIRouter(prefix="/v1/runs", tags=["runs"])

State = Literal["running", "waiting", "held", "paused", "succeeded", "failed", "cancelled"]


class Reason(BaseModel):
    """Why; it stands in the history."""

    reason: str = Field("", max_length=2_000)


class Pause(Reason):
    """``until``: go on by itself then."""

    until: datetime | None = None


class HandOver(Reason):
    """To whom the run is to belong: ``user:ada``, ``team:emea``."""

    owner: str


class Message(BaseModel):
    """What a run waits for, or will."""

    name: str
    payload: Any = None


@router.get("", response_model=list_of(RunRow), responses=documented(404, 422))
async def list_runs(
    services: Using,
    principal: Reader,
    past: Annotated[AsOf, Depends()],
    state: Annotated[list[State] | None, Query()] = None,
    workflow: str | None = None,
    owner: Annotated[str | None, Query(description="Owner or assignee.")] = None,
    source: str | None = None,
    waiting_on: Annotated[str | None, Query(description="timer, approval, exception …")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List runs, those that started last first, with what each one waits for."""
    async with past.seen(services, "runs") as views:
        page = await views.runs(
            states=state, workflow=workflow, owner=owner, source=source, wait_kind=waiting_on,
            limit=limit, after=after,
        )  # fmt: skip
    return page_of(page, principal, "runs")


@router.get("/{run}", response_model=item_of(RunRow), responses=documented(404, 422))
async def show_run(
    services: Using, principal: Reader, past: Annotated[AsOf, Depends()], run: str
) -> Any:
    """Show a run by its id, or by enough of its beginning: its state and its five answers."""
    async with past.seen_of(services, run) as views:
        row = await views.run(run)
    return shown(row, principal, f"run {row.run_id}")


@router.get("/{run}/history", response_model=list_of(HistoryRow), responses=documented(404, 422))
async def run_history(
    services: Using,
    principal: Reader,
    least: Annotated[Least, Depends()],
    run: str,
    limit: Limit = 1_000,
    after: Annotated[int, Query(ge=-1, description="The offset of the last event seen.")] = -1,
) -> Any:
    """Tell what happened in a run, event by event, with who and why: refusals too."""
    await least.reached(services, "history")
    run_id = await whole_id(services, run)
    rows = await services.views.history(run_id, limit=limit, after_offset=after)
    following = str(rows[-1].log_offset) if len(rows) == limit else None
    return {"items": items(rows, principal, f"run {run_id}"), "next": following}


@router.get("/{run}/owners", response_model=list_of(PeriodRow), responses=documented(404))
async def owner_periods(
    services: Using, principal: Reader, least: Annotated[Least, Depends()], run: str
) -> Any:
    """Tell who owned a run, period by period: from, to, by whom and why."""
    await least.reached(services, "ownership")
    run_id = await whole_id(services, run)
    return page_of(await services.views.periods(run_id), principal, f"run {run_id}")


async def whole_id(services: Services, begins: str) -> str:
    """Return the id of the run that is meant.

    Raises:
        NotFound: there is none, or more than one.
    """
    return (await services.views.run(begins)).run_id


# -- acting ------------------------------------------------------------------------------------

_ACTS = documented(404, 409, 422)


@router.post("/{run}/cancel", status_code=202, responses=_ACTS)
async def cancel_run(
    services: Using, principal: Operator, run: str, body: Reason, wait_s: Wait = 10.0
) -> Answered:
    """End a run; what it has done is undone where its workflow says how."""
    run_id = await whole_id(services, run)
    return await ask(services, principal, run_id, CancelRequested(reason=body.reason), wait_s)


@router.post("/{run}/pause", status_code=202, responses=_ACTS)
async def pause_run(
    services: Using, principal: Operator, run: str, body: Pause, wait_s: Wait = 10.0
) -> Answered:
    """Start no further step of a run until it is resumed; steps under way may finish."""
    run_id = await whole_id(services, run)
    asked = PauseRequested(reason=body.reason, until=body.until)
    return await ask(services, principal, run_id, asked, wait_s)


@router.post("/{run}/resume", status_code=202, responses=_ACTS)
async def resume_run(
    services: Using, principal: Operator, run: str, body: Reason, wait_s: Wait = 10.0
) -> Answered:
    """Go on with a paused run."""
    run_id = await whole_id(services, run)
    return await ask(services, principal, run_id, ResumeRequested(reason=body.reason), wait_s)


@router.post("/{run}/retry", status_code=202, responses=_ACTS)
async def retry_run(
    services: Using, principal: Operator, run: str, body: Reason, wait_s: Wait = 10.0
) -> Answered:
    """Try again now what failed in a run: held steps, and steps that wait for a retry."""
    run_id = await whole_id(services, run)
    return await ask(services, principal, run_id, RetryRequested(reason=body.reason), wait_s)


@router.post("/{run}/owner", status_code=202, responses=_ACTS)
async def hand_over(
    services: Using, principal: Operator, run: str, body: HandOver, wait_s: Wait = 10.0
) -> Answered:
    """Give a run to another owner."""
    run_id = await whole_id(services, run)
    asked = OwnerChangeRequested(owner=body.owner, reason=body.reason)
    return await ask(services, principal, run_id, asked, wait_s)


@router.post("/{run}/messages", status_code=202, responses=_ACTS)
async def send_message(
    services: Using, principal: Operator, run: str, body: Message, wait_s: Wait = 10.0
) -> Answered:
    """Send a run what it waits for; it is kept if it comes early."""
    run_id = await whole_id(services, run)
    asked = MessageReceived(name=body.name, payload=body.payload)
    return await ask(services, principal, run_id, asked, wait_s)
