"""Exceptions: grouped by cause, one by one, and what people do about them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.bulk import many_of
from meshline.console.commands import exception_typed
from meshline.console.reading import (
    PAGE_ROWS,
    Reader,
    moment_asked,
    reached,
    seen_of,
    values_of,
)
from meshline.console.rendering import rendered
from meshline.console.saved import saved_by
from meshline.console.visit import Act, FormRefused, Visit, acts, tag_of
from meshline.events.corrections import Correction
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.runs_view import RunRow

__all__ = ["router"]

router = APIRouter()
STATES = [*OPEN_EXCEPTIONS, "resolved", "dismissed"]
_CORRECTIONS = TypeAdapter(tuple[Correction, ...])
Text = Annotated[str, Query(max_length=300)]


@router.get("/exceptions")
async def list_exceptions(
    request: Request,
    visit: Reader,
    state: Annotated[list[str] | None, Query()] = None,
    cause: Text = "",
    route: Text = "",
    owner: Text = "",
    workflow: Text = "",
    after: Text = "",
) -> Response:
    """Show the groups; and, where a filter is given, the exceptions that it finds."""
    asked = [each for each in STATES if each in (state or ())]
    states = asked or [*OPEN_EXCEPTIONS]
    moment = moment_asked(request)
    views = await visit.desk.at(moment)
    is_filtered = any((cause, route, owner, workflow, after, asked))
    page = None
    if is_filtered:
        page = await views.exceptions(
            states=states, cause=cause or None, route=route or None, owner=owner or None,
            workflow=workflow or None, limit=PAGE_ROWS, after=after or None,
        )  # fmt: skip
    groups = await views.exception_groups(open_only=True, limit=200)
    chosen = {"cause": cause, "route": route, "owner": owner, "workflow": workflow}
    if len(asked) == 1:
        chosen["state"] = asked[0]
    is_actable = (
        moment is None
        and page is not None
        and page.rows
        and len(asked) < 2
        and "resolved" not in asked
    )
    return rendered(
        request,
        "exceptions.html",
        saved=await saved_by(request.app.state.accounts, visit.principal.actor.id, "/exceptions"),
        many=many_of(visit, str(request.base_url).rstrip("/"), "exceptions", chosen)
        if is_actable
        else None,
        groups=[group for group in groups if cause in ("", group.cause)],
        page=page,
        after=after,
        filters={
            "state": asked, "cause": cause, "route": route, "owner": owner,
            "workflow": workflow, "as_of": request.query_params.get("as_of"),
        },
        moment=moment,
        states=states,
        all_states=STATES,
    )  # fmt: skip


@router.get("/exceptions/{exception}")
async def show_exception(request: Request, visit: Reader, exception: str) -> Response:
    """Show an exception: what happened, whose it is, the error, and what can be done."""
    shows_all = await reached(request, visit, "exceptions", "runs")
    row = await visit.views.exception(exception)
    moment = moment_asked(request)
    if moment is not None:
        row = await (await visit.desk.at(moment)).exception(row.exception_id)
    run = await (await seen_of(visit, row.run_id, moment)).run(row.run_id)
    return rendered(
        request,
        "exception.html",
        exception=row,
        error=(await values_of(visit, row, f"exception {row.exception_id}"))["error"],
        run=run,
        shows_all=shows_all,
        tag=tag_of(row),
        moment=moment,
        may_edit=moment is None and _may_edit(visit, row),
        actions=[] if moment else _actions_for(visit, row, run, str(request.base_url).rstrip("/")),
    )


_TITLES = {
    "retry": ("Retry", "Try the failed step again, in the same run."),
    "skip": ("Skip", "Go on without the step, with a value in place of its result."),
    "acknowledge": ("Acknowledge", "Say that you look at it."),
    "start": ("Start work", "Say that you work on it."),
    "assign": ("Assign", "Give it to another owner."),
    "resolve": ("Resolve", "Close it: it holds nothing up."),
    "dismiss": ("Dismiss", "Close it: it was no problem. Say why."),
    "reopen": ("Reopen", "Open it again, for the same owner: it is a problem after all. Say why."),
}


def _actions_for(visit: Visit, row: ExceptionRow, run: RunRow, origin: str) -> list[dict[str, Any]]:
    if not visit.may(Permission.OPERATE):
        return []
    if row.state in OPEN_EXCEPTIONS:
        names = ["retry", "skip"] if row.blocking else ["resolve", "dismiss"]
        names += ["acknowledge"] if row.state == "open" else []
        names += ["start"] if row.state != "in_progress" else []
        names += ["assign"]
    else:
        # What was retried or skipped is closed for good: failing again opens another.
        is_by_hand = row.state == "dismissed" or row.how == "resolved"
        names = ["reopen"] if is_by_hand and run.ended_at is None else []
    return [
        {
            "name": name,
            "title": _TITLES[name][0],
            "about": _TITLES[name][1],
            "typed": exception_typed(origin, row.exception_id, name),
        }
        for name in names
    ]


def _may_edit(visit: Visit, row: ExceptionRow) -> bool:
    may = visit.may(Permission.OPERATE) and visit.may(Permission.READ_PAYLOADS)
    return may and row.blocking and row.state in OPEN_EXCEPTIONS


def _corrections(act: Act) -> tuple[Correction, ...]:
    try:
        return _CORRECTIONS.validate_python(act.json("corrections") or [])
    except ValidationError:
        raise FormRefused(
            "The corrections can't be read: expected those of the page before. Go back."
        ) from None


@router.post("/exceptions/{exception}/{action}")
async def act_on_exception(
    exception: str,
    action: Literal[
        "acknowledge", "start", "assign", "resolve", "retry", "skip", "dismiss", "reopen"
    ],
    act: Annotated[Act, Depends(acts(Permission.OPERATE, {"": ExceptionActionRequested}))],
) -> Response:
    """Do something about an exception."""
    row = await act.visit.desk.exception(exception)
    owner = act.text("owner") or None
    if action == "assign" and owner is None:
        raise FormRefused("There is no new owner: expected one, such as user:ada.")
    if action in ("dismiss", "reopen") and not act.reason:
        raise FormRefused("There is no reason: expected one, for all who look on.")
    asked = ExceptionActionRequested(
        exception_id=row.exception_id,
        action=action,
        owner=owner,
        value=act.json("value") if action == "skip" else None,
        corrections=_corrections(act) if action == "retry" else (),
        reason=act.reason,
    )
    answered = await act.ask(row, asked)
    # From the page of its run one comes back there.
    run = f"/runs/{row.run_id}"
    then = run if act.text("then") == run else f"/exceptions/{row.exception_id}"
    return act.shown(then, action, answered)
