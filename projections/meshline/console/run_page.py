"""One run: five answers, graph, time, events and payloads, as it is or as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.drawing import drawn, drawn_down
from meshline.console.painting import Painting, painted
from meshline.console.reading import Reader, moment_asked, reached
from meshline.console.rendering import rendered
from meshline.console.run_events import EventsShown, Wanted, events_shown, moments_of
from meshline.console.runs import actions_for
from meshline.console.timeline import timeline_of
from meshline.console.visit import Visit, tag_of
from meshline.events.clock import SystemClock
from meshline.projections.as_of import Moment
from meshline.projections.as_of_queries import ViewsFolded
from meshline.projections.exchanges import read_exchanges
from meshline.projections.explain import explain
from meshline.projections.history_view import KINDS, HistoryRow
from meshline.projections.pages import LIMIT_MAX
from meshline.projections.queries import Views
from meshline.projections.reasons import QUESTIONS, Told
from meshline.projections.run_values import whole_history
from meshline.projections.runs_view import RunRow
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["router"]

router = APIRouter()
_clock = SystemClock()
EVENTS_READ_MAX = 5_000
"""Events that graph and time are made of; of a longer run they show the beginning."""

TRIED_MAX = 50
"""Steps whose payloads are offered by name; those of others stand at their events."""

STEP = "step:"
"""Before the name of a step whose payloads are asked for; the run itself is ``run``."""


class Seen(NamedTuple):
    """What the page is about: the run, and its history up to the moment.

    Args:
        event_first: the number of the event with which the run began.
        events_now: how many there are, at whatever moment.
    """

    views: Views
    row: RunRow
    history: Sequence[HistoryRow]
    moment: Moment | None
    event_first: int
    events_now: int
    moments: list[dict[str, Any]]


@router.get("/runs/{run}")
async def show_run(
    request: Request,
    visit: Reader,
    run: str,
    asked: Wanted,
    event: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    payload: Annotated[str, Query(max_length=300)] = "",
    saw: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """Show a run: five answers, what it waits for, its graph, its time and its events."""
    shows_all = await reached(request, visit, "runs", "history", "exceptions", "tasks")
    seen = await _seen(request, visit, run, event)
    views, row, history, moment = seen.views, seen.row, seen.history, seen.moment
    exceptions = (await views.exceptions(states=None, run_id=row.run_id, limit=50)).rows[::-1]
    workflows = await visit.views.workflows()
    spec = next((each.spec for each in workflows if _is_of(each, row)), None)
    told = Told(history)
    painting = painted(told)
    periods = await views.periods(row.run_id)
    then = None if moment is None else moment.time or history[-1].time
    # A page that refreshes itself takes all but these: nobody reads a payload by that.
    is_refresh = moment is None and "hx-request" in request.headers
    events = EventsShown([], None, [], [])
    if not is_refresh:
        events = await events_shown(visit, views, row.run_id, history, asked)
    query = {name: request.query_params.get(name) for name in ("as_of", "by", "live")}
    return rendered(
        request,
        "run.html",
        run=row,
        tag=tag_of(row),
        moment=moment,
        then=then,
        now=then,
        event=min(event, seen.events_now) or len(history),
        event_first=seen.event_first,
        shows_all=shows_all,
        exceptions=exceptions,
        tasks=(await views.tasks(states=None, run_id=row.run_id, limit=50)).rows[::-1],
        periods=periods,
        began_by=history[0].actor if history else None,
        drawing=drawn(spec, painting) if spec and not row.observed else None,
        drawing_down=drawn_down(spec, painting) if spec and not row.observed else None,
        timeline=timeline_of(
            painting, periods, row.started_at, row.ended_at or then or _clock.now()
        ),
        whys=[] if is_refresh else await _whys(visit, seen, told, events, workflows, saw=bool(saw)),
        saw=saw,
        events=events,
        asked=asked,
        kept={**query, **asked.query, "event": event or ""},
        moments=seen.moments,
        events_total=len(history),
        events_now=seen.events_now,
        events_are_cut=len(history) >= EVENTS_READ_MAX,
        may_read=visit.may(Permission.READ_PAYLOADS),
        tried=_tried(painting),
        payload=payload,
        exchanges=[] if is_refresh else await _exchanges(visit, seen, told, payload, workflows),
        actions=[]
        if moment
        else actions_for(visit, row, exceptions, spec, str(request.base_url).rstrip("/")),
    )


async def _seen(request: Request, visit: Visit, run: str, event: int) -> Seen:
    """Return the run now, or at the moment that the address asks for."""
    row, moment = await visit.views.run(run), moment_asked(request)
    if moment is None and not event:
        history = await _beginning(visit.views, row.run_id)
        first = _first(history)
        return Seen(visit.views, row, history, None, first, len(history), moments_of(history))
    whole = await whole_history(visit.views, row.run_id)
    if event and whole:
        last = whole[max(_first(whole), min(event, len(whole))) - 1]
        moment = Moment(offsets={last.partition: last.log_offset})
    assert moment is not None, "one of the two was asked for"
    views = await ViewsFolded.of_history(visit.views, row.run_id, whole, moment)
    history = await _beginning(views, row.run_id)
    then = await views.run(row.run_id)
    return Seen(views, then, history, moment, _first(whole), len(whole), moments_of(whole))


def _first(history: Sequence[HistoryRow]) -> int:
    began = (number for number, row in enumerate(history, 1) if row.type == KINDS["run.started"])
    return next(began, 1)


async def _beginning(views: Views, run_id: str) -> list[HistoryRow]:
    """Return what was said about the run, up to ``EVENTS_READ_MAX``."""
    rows: list[HistoryRow] = []
    while len(rows) < EVENTS_READ_MAX:
        after = rows[-1].log_offset if rows else -1
        some = await views.history(run_id, limit=LIMIT_MAX, after_offset=after)
        rows += some
        if len(some) < LIMIT_MAX:
            break
    return rows


async def _whys(
    visit: Visit,
    seen: Seen,
    told: Told,
    events: EventsShown,
    workflows: Sequence[WorkflowRow],
    *,
    saw: bool,
) -> list[dict[str, Any]]:
    """Return the reasons under their questions, each with where the event is that says so.

    Of a history that is cut they would be wrong: there are none.

    Args:
        saw: with the values that rules decided by.
    """
    if len(seen.history) >= EVENTS_READ_MAX:
        return []
    here = {item["row"].log_offset for item in events.items}
    reasons = explain(seen.row, told, workflows)
    values: Sequence[Mapping[str, Any]] = [{"saw": None}] * len(reasons)
    if saw:
        run_id = seen.row.run_id
        values = (await visit.desk.page(reasons, f"run {run_id}", run_id=run_id))["items"]
    shown = [
        {
            "reason": reason,
            "saw": value["saw"],
            "offset": int(reason.position.partition(":")[2]),
            "is_here": int(reason.position.partition(":")[2]) in here,
        }
        for reason, value in zip(reasons, values, strict=True)
    ]
    return [
        {
            "title": title,
            "is_open": saw or question in ("waits", "exception"),
            "reasons": [each for each in shown if each["reason"].question == question],
        }
        for question, title in QUESTIONS.items()
        if any(reason.question == question for reason in reasons)
    ]


def _is_of(definition: WorkflowRow, row: RunRow) -> bool:
    return (definition.workflow, definition.version) == (row.workflow, row.version)


def _tried(painting: Painting) -> list[dict[str, Any]]:
    """Return the steps that were begun, with what became of the last try of each."""
    tried: dict[str, dict[str, Any]] = {}
    for span in painting.spans:
        if span.kind == "try":
            tries = tried.get(span.node, {"tries": 0})["tries"] + 1
            how = span.how or ("running" if span.end is None else "lost")
            tried[span.node] = {"name": span.node, "tries": tries, "how": how}
    return [*tried.values()][:TRIED_MAX]


async def _exchanges(
    visit: Visit, seen: Seen, told: Told, payload: str, workflows: Sequence[WorkflowRow]
) -> list[dict[str, Any]]:
    """Return what went in and out of what is asked for; who looks is kept."""
    step = payload.removeprefix(STEP) if payload.startswith(STEP) else None
    if step is None and payload != "run":
        return []
    # Of a history that is cut the end is missing: it is read whole.
    whole = told if len(seen.history) < EVENTS_READ_MAX else None
    found = await read_exchanges(seen.views, seen.row, step, workflows, whole)
    run = f"run {seen.row.run_id}"
    page = await visit.desk.page(found, run if step is None else f"{step} of {run}")
    items: list[dict[str, Any]] = page["items"]
    return items
