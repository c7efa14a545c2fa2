"""Runs: the list with the five answers, and acting on one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.bulk import many_of
from meshline.console.commands import exception_typed, run_typed
from meshline.console.reading import PAGE_ROWS, Reader, moment_asked
from meshline.console.rendering import rendered
from meshline.console.saved import saved_by
from meshline.console.visit import Act, FormRefused, Visit, acts, tag_of
from meshline.console.words import moment_of, shortened
from meshline.events.ids import run_id_of
from meshline.events.requests import (
    CancelRequested,
    MessageReceived,
    NoteRequested,
    OwnerChangeRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
)
from meshline.events.requests import (
    Request as AskedRequest,
)
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.queries import OPEN_RUNS
from meshline.projections.runs_view import RunRow

__all__ = ["actions_for", "router"]

router = APIRouter()
STATES = [*OPEN_RUNS, "succeeded", "failed", "cancelled"]
WAITS = [
    *("timer", "message", "task", "approval", "child"),
    *("retry", "slot", "worker", "exception", "outside"),
]
NOTE_LENGTH_MAX = 4_000
HOLDING_MAX = 3
"""Held steps that can be acted on from the run's page; the others from their own."""

Text = Annotated[str, Query(max_length=300)]


@router.get("/runs")
async def list_runs(
    request: Request,
    visit: Reader,
    state: Annotated[list[str] | None, Query()] = None,
    workflow: Text = "",
    owner: Text = "",
    source: Text = "",
    waiting_on: Text = "",
    run: Text = "",
    after: Text = "",
) -> Response:
    """List runs, those that started last first."""
    asked = [each for each in state or () if each]
    states = [s for s in STATES if s in asked or ("open" in asked and s in OPEN_RUNS)]
    moment = moment_asked(request)
    views = await visit.desk.at(moment)
    page = await views.runs(
        states=states or None, workflow=workflow or None, owner=owner or None,
        source=source or None, wait_kind=waiting_on or None, id_prefix=_run_meant(run),
        limit=PAGE_ROWS, after=after or None,
    )  # fmt: skip
    chosen = {
        "workflow": workflow, "owner": owner, "source": source, "waiting_on": waiting_on
    }  # fmt: skip
    if len(states) == 1:
        chosen["state"] = states[0]
    is_actable = (
        bool(page.rows) and moment is None and not run
        and states in ([], OPEN_RUNS, *([each] for each in OPEN_RUNS))
    )  # fmt: skip
    definitions = await visit.views.workflows()
    filters = {
        "state": asked, "workflow": workflow, "owner": owner, "source": source,
        "waiting_on": waiting_on, "run": run, "as_of": request.query_params.get("as_of"),
    }  # fmt: skip
    return rendered(
        request,
        "runs.html",
        saved=await saved_by(request.app.state.accounts, visit.principal.actor.id, "/runs"),
        many=many_of(visit, str(request.base_url).rstrip("/"), "runs", chosen)
        if is_actable
        else None,
        runs=page.rows,
        next=page.next,
        after=after,
        filters=filters,
        moment=moment,
        all_states=STATES,
        all_waits=WAITS,
        workflows=sorted({each.workflow for each in definitions}),
        sources=sorted({each.source for each in definitions}),
    )


def _run_meant(text: str) -> str | None:
    """Return the beginning of the run's id, from that or from SOURCE/ID."""
    source, slash, trigger_id = text.strip().partition("/")
    return (run_id_of(source, trigger_id) if slash else source) or None


# -- acting ------------------------------------------------------------------------------------

Action = Literal["retry", "pause", "resume", "owner", "message", "note", "cancel"]
_ASKS: dict[str, type[AskedRequest]] = {
    "retry": RetryRequested,
    "pause": PauseRequested,
    "resume": ResumeRequested,
    "owner": OwnerChangeRequested,
    "message": MessageReceived,
    "note": NoteRequested,
    "cancel": CancelRequested,
}
_TITLES = {
    "retry": ("Retry", "Try again now what failed: held steps, and steps that wait for a retry."),
    "pause": ("Pause", "Start no further step until the run is resumed; what is under way ends."),
    "resume": ("Resume", "Go on with the run."),
    "owner": ("Hand over", "Give the run to another owner, who answers for it from then on."),
    "message": ("Send a message", "What the run waits for, or will; it is kept if it comes early."),
    "note": ("Note", "Say something about the run; it changes nothing, and stands in its history."),
    "cancel": ("Cancel", "End the run. What it has done is undone where its workflow says how."),
}


def actions_for(
    visit: Visit,
    row: RunRow,
    exceptions: Iterable[ExceptionRow],
    spec: Mapping[str, Any] | None,
    origin: str,
) -> list[dict[str, Any]]:
    """Return what can be done with the run as it is, by who looks at it.

    Args:
        exceptions: of the run; a step that one of them holds can be left out, or corrected.
        spec: the run's definition: a message that it names may come before the run waits for it.
    """
    if not visit.may(Permission.OPERATE):
        return []
    holding = [each for each in exceptions if each.blocking and each.state in OPEN_EXCEPTIONS]
    of_steps = [
        action for each in holding[:HOLDING_MAX] for action in _actions_on(visit, each, origin)
    ]
    names: list[str] = []
    messages = [wait["about"] for wait in row.waits if wait["kind"] == "message"]
    named = [node["name"] for node in (spec or {}).get("nodes", ()) if node["kind"] == "message"]
    messages += [name for name in named if name not in messages]
    if row.ended_at is None:
        if row.state == "held" or any(wait["kind"] == "retry" for wait in row.waits):
            names.append("retry")
        if messages:
            names.append("message")
        if not row.observed:
            names.append("resume" if row.state == "paused" else "pause")
        names += ["owner", "cancel"]
    names.append("note")
    of_run = [
        {
            "name": name,
            "messages": messages,
            "title": _TITLES[name][0],
            "about": _TITLES[name][1],
            "typed": run_typed(origin, row.run_id, name),
        }
        for name in names
    ]
    return [*of_run[:1], *of_steps, *of_run[1:]] if "retry" in names else of_run


def _actions_on(visit: Visit, row: ExceptionRow, origin: str) -> list[dict[str, Any]]:
    """Return what can be done about a step that is held."""
    base, typed = f"/exceptions/{quote(row.exception_id, safe='')}", exception_typed
    skip = {
        "name": "skip",
        "base": base,
        "form": f"skip-{row.exception_id}",
        "tag": tag_of(row),
        "title": f"Skip {shortened(row.about, 40)}",
        "about": "Go on without the step, with a value in place of its result.",
        "typed": typed(origin, row.exception_id, "skip"),
    }
    edit = {
        "name": "edit",
        "href": f"{base}/edit",
        "title": f"Edit and retry {shortened(row.about, 40)}",
        "about": "Set right what the run knows, see what that changes, and try the step again.",
        "typed": typed(origin, row.exception_id, "edit"),
    }
    return [edit, skip] if visit.may(Permission.READ_PAYLOADS) else [skip]


@router.post("/runs/{run}/{action}")
async def act_on_run(
    run: str, action: Action, act: Annotated[Act, Depends(acts(Permission.OPERATE, _ASKS))]
) -> Response:
    """Ask something of a run."""
    row = await act.visit.desk.run(run)
    # A note is true whatever the run does meanwhile.
    answered = await act.ask(row, _asked(action, act), as_shown=action != "note")
    return act.shown(f"/runs/{row.run_id}", action, answered)


def _asked(action: Action, act: Act) -> AskedRequest:
    match action:
        case "retry":
            return RetryRequested(reason=act.reason)
        case "pause":
            return PauseRequested(reason=act.reason, until=_until(act))
        case "resume":
            return ResumeRequested(reason=act.reason)
        case "note":
            if not act.text("text"):
                raise FormRefused("There is no note: expected some words. Go back and write them.")
            return NoteRequested(text=act.text("text")[:NOTE_LENGTH_MAX])
        case "message":
            return MessageReceived(name=act.text("message"), payload=act.json("payload"))
        case "cancel":
            return CancelRequested(reason=act.reason)
        case "owner":
            if not act.text("owner"):
                raise FormRefused("There is no new owner: expected one, such as team:emea.")
            return OwnerChangeRequested(owner=act.text("owner"), reason=act.reason)


def _until(act: Act) -> datetime | None:
    return moment_of(act.text("until"))
