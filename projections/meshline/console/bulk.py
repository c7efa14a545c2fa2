"""Many at once: from a list with filters to a preview, a second person's word, and results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.bulk import bulks_of, name_of_repeat, shown_list
from meshline.api.principals import Permission
from meshline.console.commands import bulk_typed, list_typed
from meshline.console.reading import PAGE_ROWS, Reader
from meshline.console.rendering import rendered
from meshline.console.visit import Act, FormRefused, MovedOn, Visit, acts
from meshline.events.corrections import Correction, correction_typed
from meshline.events.requests import (
    CancelRequested,
    ExceptionActionRequested,
    OwnerChangeRequested,
)
from meshline.projections.bulk import CONFIRMED_ABOVE
from meshline.projections.bulk_list import BulkAction, BulkList, Chosen, acts_on_runs

__all__ = ["many_of", "router"]

router = APIRouter()
Text = Annotated[str, Query(max_length=300)]
RESULTS = ["left", "done", "skipped", "refused", "unanswered", "left_out"]

_TITLES: Mapping[str, tuple[str, str]] = {
    "retry": ("Retry", "Try the failed step of each again, in the same run."),
    "edit": (
        "Edit and retry",
        "Set the same right in each, then try its failed step again. You see what changes before.",
    ),
    "skip": ("Skip", "Let each go on without its step, with one value in place of the results."),
    "acknowledge": ("Acknowledge", "Say that you look at them."),
    "start": ("Start work", "Say that you work on them."),
    "assign": ("Assign", "Give them to another owner, or send them to another queue."),
    "resolve": ("Resolve", "Close those that hold nothing up."),
    "dismiss": ("Dismiss", "Close those that were no problem. Say why."),
    "hand_over": ("Hand over", "Give the runs to another owner, who answers from then on."),
    "cancel": ("Cancel", "End the runs. What they did is undone where their workflow says how."),
}
_OF_RUNS = ("hand_over", "cancel")
_ASKS = {
    "": ExceptionActionRequested,
    "cancel": CancelRequested,
    "hand_over": OwnerChangeRequested,
}


def many_of(visit: Visit, origin: str, of: str, chosen: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what can be done to all that a filter shows, by who looks; None: nothing."""
    chosen = {name: value for name, value in chosen.items() if value}
    if not chosen or not visit.may(Permission.OPERATE) or visit.services.bulks is None:
        return None
    return {
        "chosen": chosen,
        "actions": [
            {
                "name": name,
                "title": title,
                "about": about,
                "typed": bulk_typed(origin, name, chosen),
            }
            for name, (title, about) in _TITLES.items()
            if (name in _OF_RUNS) == (of == "runs")
            and (name != "edit" or visit.may(Permission.READ_PAYLOADS))
        ],
    }


@router.get("/bulk")
async def list_bulks(request: Request, visit: Reader, after: Text = "") -> Response:
    """List the lists that there were, the newest first."""
    bulks, _ = bulks_of(visit.desk)
    page = await bulks.all(PAGE_ROWS, after=after or None, scope=visit.principal.scope)
    return rendered(
        request,
        "bulk_lists.html",
        lists=[(made, await bulks.counts(made.name)) for made in page.rows],
        next=page.next,
        after=after,
        titles=_TITLES,
    )


@router.get("/bulk/{bulk}")
async def show_bulk(
    request: Request,
    visit: Reader,
    bulk: str,
    result: Text = "",
    after: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    """Show a list: what it will do, how far it is, and what came of each item."""
    bulks, _ = bulks_of(visit.desk)
    made = await bulks.one(bulk, visit.principal.scope)
    wanted = result if result in RESULTS else ""
    found = await bulks.items(
        made.name, results=[wanted] if wanted else None, limit=PAGE_ROWS + 1, after=after
    )
    items = (await visit.desk.page(found, f"items of bulk list {made.name}"))["items"]
    shown = await shown_list(visit.desk, made)
    return rendered(
        request,
        "bulk.html",
        made=shown,
        tabs=shown["counts"] | {"left_out": sum(made.left_out.values())},
        title=_TITLES[made.action][0],
        of="runs" if acts_on_runs(made.action) else "exceptions",
        items=items[:PAGE_ROWS],
        next=items[PAGE_ROWS - 1]["number"] if len(items) > PAGE_ROWS else None,
        after=after,
        wanted=wanted,
        results=RESULTS,
        may_confirm=_may_confirm(visit, made),
        typed={
            verb: list_typed(_origin(request), made.name, verb) for verb in ("apply", "confirm")
        },
    )


def _may_confirm(visit: Visit, made: BulkList) -> bool:
    return visit.may(Permission.OPERATE) and made.made_by != visit.principal.actor.id


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


@router.post("/bulk/preview/{action}")
async def preview_bulk(
    action: BulkAction, act: Annotated[Act, Depends(acts(Permission.OPERATE, _ASKS))]
) -> Response:
    """Freeze a list of what fits, and lead to it. Nothing is done yet."""
    desk = act.visit.desk
    bulks, _ = bulks_of(desk)
    names = [name for name in Chosen.__slots__ if name != "opened_before"]
    chosen: dict[str, Any] = {name: act.text(name) for name in names if act.text(name)}
    # The chosen owner is whose they are now; the new one has a name of its own.
    more: dict[str, Any] = {"owner": act.text("to")} if act.text("to") else {}
    if action == "skip":
        more["value"] = act.json("value")
    if act.text("set"):
        act.visit.principal.check(Permission.READ_PAYLOADS)
        more["corrections"] = [each.model_dump(mode="json") for each in _corrections(act)]
    actor = desk.principal.actor
    once = act.text("once")[:100]
    made = await bulks.freeze(
        desk.views, action, Chosen(**chosen), actor=actor.id, reason=act.reason, more=more,
        name=name_of_repeat(actor, once) if once else None,
        confirmed_above=0 if act.text("second") else CONFIRMED_ABOVE,
    )  # fmt: skip
    return RedirectResponse(f"/bulk/{made.name}", 303)


def _corrections(act: Act) -> list[Correction]:
    """Return the corrections that were typed, one a line."""
    try:
        return [correction_typed(line) for line in act.text("set").splitlines() if line.strip()]
    except ValueError as error:
        raise FormRefused(f"{error}. Go back and correct it; nothing was done.") from None


@router.post("/bulk/{bulk}/{action}")
async def act_on_bulk(
    bulk: str,
    action: Literal["apply", "confirm"],
    act: Annotated[Act, Depends(acts(Permission.OPERATE, _ASKS))],
) -> Response:
    """Do what a list says, or agree to it as a second person."""
    desk = act.visit.desk
    bulks, work = bulks_of(desk)
    made = await bulks.one(bulk, desk.principal.scope)
    if action == "confirm":
        if made.confirmed_by not in (None, desk.principal.actor.id):
            raise MovedOn(
                f"{made.confirmed_by} was quicker, and has agreed already: it can be done. Nothing "
                "was done in your name."
            )
        await bulks.confirm(made.name, actor=desk.principal.actor.id, scope=desk.principal.scope)
        return RedirectResponse(f"/bulk/{made.name}?done=confirm", 303)
    await work.begin(made, desk.views, desk.principal.actor)
    return RedirectResponse(f"/bulk/{made.name}", 303)
