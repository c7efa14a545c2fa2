"""One view for who keeps it: builds, a rebuild and how far it is, what differs, what is live."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.context import position_of
from meshline.api.principals import Permission
from meshline.api.view_keeping import (
    WhichBuild,
    builds_of,
    compared,
    freed,
    last_swap,
    parked_of,
    rebuilds_of,
    swapped,
    wished,
)
from meshline.console.commands import view_typed
from meshline.console.reading import reached
from meshline.console.rendering import rendered
from meshline.console.visit import WAIT_S, Act, FormRefused, Visit, acts, sees
from meshline.events.requests import ParkedActionRequested
from meshline.projections.errors import NotFound

__all__ = ["router"]

router = APIRouter()
Keeper = Annotated[Visit, Depends(sees(Permission.KEEP_VIEWS))]
Text = Annotated[str, Query(max_length=30)]
Action = Literal["rebuild", "pause", "resume", "cancel", "swap", "rollback"]
SAMPLES = 12

_TITLES: dict[str, tuple[str, str]] = {
    "rebuild": ("Rebuild", "Make it again from the first event on, beside the live one, which goes "
                "on as before. The projector does it; one that is ended goes on where it was."),
    "pause": ("Pause", "Let the rebuild rest until somebody lets it go on."),
    "resume": ("Go on", "Let the rebuild go on."),
    "cancel": ("Cancel the rebuild", "End it, and drop what it has built. What is live stays."),
    "swap": ("Put live", "Let everybody be shown the newest loaded build, in one transaction. The "
             "one that is live now stays warm, to go back to."),
    "rollback": ("Roll back", "Let everybody be shown the build again that was live before."),
}  # fmt: skip


@router.get("/views/{view}")
async def show_view(request: Request, visit: Keeper, view: str) -> Response:
    """Show the builds of a view, its rebuild, and what can be done."""
    # Before the builds: of a rebuild that has ended the page shows what came of it.
    async with rebuilds_of(visit.desk) as asked:
        rebuild = await asked.one(view)
    builds = [build for build in await builds_of(visit.desk) if build.name == view]
    if not builds:
        raise NotFound(f"There is no view {view[:60]!r}: expected one of those on the page Views.")
    shows_all = await reached(request, visit, view)
    states = {build.state for build in builds}
    names: list[str] = []
    if (rebuild is not None and rebuild.is_open) or states & {"loading", "paused"}:
        is_paused = "paused" in states or (rebuild is not None and rebuild.state == "paused")
        names += ["resume" if is_paused else "pause", "cancel"]
    else:
        names += ["rebuild"]
    if "warm" in states:
        names += ["swap", "rollback"]
    origin = str(request.base_url).rstrip("/")
    return rendered(
        request,
        "view.html",
        view=view,
        builds=builds,
        rebuild=rebuild,
        parked=await parked_of(visit.desk, view),
        shows_all=shows_all,
        can_compare="warm" in states,
        swap=await last_swap(visit.desk, view),
        actions=[
            {
                "name": name,
                "title": _TITLES[name][0],
                "about": _TITLES[name][1],
                "typed": view_typed(origin, view, name),
            }
            for name in names
        ],
    )


@router.get("/views/{view}/diff")
async def diff_of_view(
    request: Request, visit: Keeper, view: str, old: Text = "", new: Text = ""
) -> Response:
    """Show what two builds of a view differ in: rows, columns, and samples with their events."""
    found: dict[str, Any] = await compared(
        visit.desk, view, old or None, new or None, samples=SAMPLES
    )
    return rendered(request, "view_diff.html", view=view, found=found)


@router.post("/views/{view}/parked/{action}")
async def free_parked(
    view: str,
    action: Literal["retry", "skip"],
    act: Annotated[Act, Depends(acts(Permission.KEEP_VIEWS, {"": ParkedActionRequested}))],
) -> Response:
    """Let a parked event be applied after all, or leave it out."""
    if action == "skip" and not act.reason:
        raise FormRefused("There is no reason: expected why the event is left out.")
    position = position_of(act.text("position"), "position")
    answered = await freed(act.visit.desk, view, action, position, act.reason, WAIT_S)
    return act.shown(f"/views/{view}", f"parked-{action}", answered)


@router.post("/views/{view}/{action}")
async def act_on_view(
    view: str, action: Action, act: Annotated[Act, Depends(acts(Permission.KEEP_VIEWS, {}))]
) -> Response:
    """Rebuild a view, put a build live, or go back."""
    desk = act.visit.desk
    match action:
        case "rebuild":
            async with rebuilds_of(desk) as asked:
                await asked.ask(view, actor=desk.principal.actor.id)
        case "pause" | "resume" | "cancel":
            await wished(desk, view, action)
        case "swap":
            await swapped(desk, view, WhichBuild())
        case "rollback":
            await swapped(desk, view, None)
    return RedirectResponse(f"/views/{view}?done=view-{action}", 303)
