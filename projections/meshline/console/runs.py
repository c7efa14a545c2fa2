"""Runs: the list with the five answers, one run with all that happened, and acting on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.bulk import many_of
from meshline.console.commands import run_typed
from meshline.console.drawing import drawn
from meshline.console.painting import painted
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
from meshline.console.timeline import timeline_of
from meshline.console.visit import Act, FormRefused, Visit, acts, tag_of
from meshline.console.words import moment_of
from meshline.events.clock import SystemClock
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
from meshline.events.story import sentence
from meshline.projections.as_of import item_of
from meshline.projections.as_of_queries import ViewsAsOf
from meshline.projections.explain import explain
from meshline.projections.history_view import HistoryRow
from meshline.projections.intake import Undecodable
from meshline.projections.pages import LIMIT_MAX
from meshline.projections.queries import OPEN_RUNS, Views
from meshline.projections.reasons import QUESTIONS
from meshline.projections.runs_then import RunsWanted
from meshline.projections.runs_view import RunRow
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["actions_for", "router"]

router = APIRouter()
_clock = SystemClock()
STATES = [*OPEN_RUNS, "succeeded", "failed", "cancelled"]
WAITS = [
    *("timer", "message", "task", "approval", "child"),
    *("retry", "slot", "worker", "exception", "outside"),
]
EVENTS_MAX = 200
"""Events on one page of a run."""

NOTE_LENGTH_MAX = 4_000
EVENTS_READ_MAX = 5_000
"""Events that graph and time are made of; of a longer run they show the beginning."""

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
    wanted = RunsWanted(
        states=states or None, workflow=workflow or None, owner=owner or None,
        source=source or None, wait_kind=waiting_on or None, id_prefix=_run_meant(run),
        limit=PAGE_ROWS, after=after or None,
    )  # fmt: skip
    page = await visit.desk.runs(moment, wanted)
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


@router.get("/runs/{run}")
async def show_run(request: Request, visit: Reader, run: str, after: int = -1) -> Response:
    """Show a run: five answers, what it waits for, its graph, its time and its events."""
    shows_all = await reached(request, visit, "runs", "history", "exceptions", "tasks")
    moment = moment_asked(request)
    views = await seen_of(visit, run, moment)
    row = await views.run(run)
    about = f"run {row.run_id}"
    history = await _history(views, row.run_id)
    painting = painted(history)
    periods = await views.periods(row.run_id)
    spec = await _spec_of(visit, row)
    shown = _shown(request, history, after)
    end = row.ended_at or (moment.time if moment and moment.time else _clock.now())
    return rendered(
        request,
        "run.html",
        run=row,
        outcome=(await values_of(visit, row, about))["outcome"],
        tag=tag_of(row),
        moment=moment,
        shows_all=shows_all,
        exceptions=(await views.exceptions(states=None, run_id=row.run_id, limit=50)).rows[::-1],
        tasks=(await views.tasks(states=None, run_id=row.run_id, limit=50)).rows[::-1],
        periods=periods,
        began_by=history[0].actor if history else None,
        drawing=drawn(spec, painting) if spec and not row.observed else None,
        drawing_down=drawn(spec, painting, down=True) if spec and not row.observed else None,
        timeline=timeline_of(painting, periods, row.started_at, end),
        whys=[]
        if "hx-request" in request.headers
        else await _whys(visit, row, history, shown, await visit.views.workflows()),
        events=await _events(visit, shown, about),
        events_total=len(history),
        events_are_cut=len(history) >= EVENTS_READ_MAX,
        next_after=_next_after(history, after),
        actions=[] if moment else actions_for(visit, row, str(request.base_url).rstrip("/")),
    )


async def _history(views: Views | ViewsAsOf, run_id: str) -> list[HistoryRow]:
    """Return what was said about the run, up to ``EVENTS_READ_MAX``."""
    rows: list[HistoryRow] = []
    while len(rows) < EVENTS_READ_MAX:
        after = rows[-1].log_offset if rows else -1
        some = await views.history(run_id, limit=LIMIT_MAX, after_offset=after)
        rows += some
        if len(some) < LIMIT_MAX:
            break
    return rows


def _shown(request: Request, history: Sequence[HistoryRow], after: int) -> Sequence[HistoryRow]:
    # A page that refreshes itself takes all but its events: nobody reads a payload by that.
    if "hx-request" in request.headers:
        return []
    return [row for row in history if row.log_offset > after][:EVENTS_MAX]


def _next_after(history: Sequence[HistoryRow], after: int) -> int | None:
    left = [row.log_offset for row in history if row.log_offset > after]
    return left[EVENTS_MAX - 1] if len(left) > EVENTS_MAX else None


async def _events(visit: Visit, rows: Sequence[HistoryRow], about: str) -> list[dict[str, Any]]:
    may = visit.may(Permission.READ_PAYLOADS)
    found = []
    items = (await visit.desk.page(rows, about))["items"]
    for row, shown in zip(rows, items, strict=True):
        item = item_of(row)
        said = row.type if isinstance(item, Undecodable) else sentence(item.event, values=may)
        found.append({"row": row, "said": said, "data": shown["data"]})
    return found


async def _whys(
    visit: Visit,
    row: RunRow,
    history: Sequence[HistoryRow],
    shown: Sequence[HistoryRow],
    workflows: Sequence[WorkflowRow],
) -> list[dict[str, Any]]:
    """Return the reasons under their questions, each with where the event is that says so.

    Of a history that is cut they would be wrong: there are none.
    """
    if len(history) >= EVENTS_READ_MAX:
        return []
    here = {f"{each.partition}:{each.log_offset}" for each in shown}
    about = f"run {row.run_id}"
    reasons = explain(row, history, workflows)
    items = (await visit.desk.page(reasons, about, run_id=row.run_id))["items"]
    return [
        {
            "title": title,
            "is_open": question in ("waits", "exception"),
            "reasons": [
                {
                    "reason": reason,
                    "saw": saw["saw"],
                    "is_here": reason.position in here,
                    "offset": int(reason.position.partition(":")[2]),
                }
                for reason, saw in zip(reasons, items, strict=True)
                if reason.question == question
            ],
        }
        for question, title in QUESTIONS.items()
        if any(reason.question == question for reason in reasons)
    ]


async def _spec_of(visit: Visit, row: RunRow) -> Any:
    """Return the definition that the run has; None where it is not registered any more."""
    for each in await visit.views.workflows():
        if (each.workflow, each.version) == (row.workflow, row.version):
            return each.spec
    return None


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
    "message": ("Send a message", "What the run waits for; it goes on with what you send."),
    "note": ("Note", "Say something about the run; it changes nothing, and stands in its history."),
    "cancel": ("Cancel", "End the run. What it has done is undone where its workflow says how."),
}


def actions_for(visit: Visit, row: RunRow, origin: str) -> list[dict[str, Any]]:
    """Return what can be done with the run as it is, by who looks at it."""
    if not visit.may(Permission.OPERATE):
        return []
    names: list[str] = []
    messages = [wait["about"] for wait in row.waits if wait["kind"] == "message"]
    if row.ended_at is None:
        if row.state == "held" or any(wait["kind"] == "retry" for wait in row.waits):
            names.append("retry")
        if messages:
            names.append("message")
        if not row.observed:
            names.append("resume" if row.state == "paused" else "pause")
        names += ["owner", "cancel"]
    names.append("note")
    return [
        {
            "name": name,
            "messages": messages,
            "title": _TITLES[name][0],
            "about": _TITLES[name][1],
            "typed": run_typed(origin, row.run_id, name),
        }
        for name in names
    ]


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
