"""What is whose over HTTP: all that somebody has, giving it to another, and what went where."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from meshline.api.access import requires
from meshline.api.answers import list_of
from meshline.api.context import After, Ask, AtLeast, Body, Limit, Past, Reader
from meshline.api.desk import Answered, Desk
from meshline.api.principals import Permission
from meshline.api.problems import documented
from meshline.events.people_requests import HandoverRequested
from meshline.projections.handovers_view import HandoverRow
from meshline.projections.owner_queries import Possession

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["people"])


class Handover(Body):
    """Give one thing that is ``previous``'s to ``owner``: refused where it is another's by now.

    ``about`` is the exception's id or the approval's name; empty for the run itself. Only admins
    may, and ``previous`` themselves.
    """

    kind: Literal["run", "exception", "approval", "task"]
    about: str = ""
    previous: str
    owner: str
    reason: str = Field("", max_length=2_000)


@router.get(
    "/owners/{owner}/possessions",
    response_model=list_of(Possession),
    responses=documented(404, 422),
)
async def list_possessions(
    desk: Reader,
    past: Past,
    owner: str,
    run_id: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List all that is open and somebody's: runs, exceptions and approvals, run by run."""
    for view in ("runs", "exceptions"):
        await past.reached(desk, view)
    async with past.seen(desk, "tasks") as views:
        page = await views.possessions(owner, run_id=run_id, limit=limit, after=after)
    return await desk.page(page, "possessions")


@router.get("/handovers", response_model=list_of(HandoverRow), responses=documented(404, 422))
async def list_handovers(
    desk: Reader,
    least: AtLeast,
    run_id: str | None = None,
    owner: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List what went from whom to whom, by whom and why, the latest first.

    `owner` finds what came to them and what left them.
    """
    await least.reached(desk, "handovers")
    page = await desk.views.handovers(run_id=run_id, owner=owner, limit=limit, after=after)
    return await desk.page(page, "handovers")


@router.post(
    "/runs/{run}/handover",
    status_code=202,
    response_model=Answered,
    responses=documented(404, 409, 411, 412, 413, 415, 422),
)
async def hand_over_possession(
    desk: Annotated[Desk, Depends(requires(Permission.OPERATE, HandoverRequested))],
    run: str,
    body: Handover,
    asking: Ask,
) -> Any:
    """Give a run, an exception or an approval of somebody to another."""
    return await desk.ask_run(run, HandoverRequested(**dict(body)), asking)
