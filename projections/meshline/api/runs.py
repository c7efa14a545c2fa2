"""Runs over HTTP: what each waits for and whose it is, what happened, and acting on it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

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
    invalid,
)
from meshline.api.desk import Answered, Desk
from meshline.api.principals import Permission
from meshline.api.problems import documented
from meshline.api.tags import is_known, tag_of
from meshline.events.moments import Moment
from meshline.events.requests import (
    ActivityReported,
    CancelRequested,
    MessageReceived,
    NoteRequested,
    OwnerChangeRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    StepError,
    StepReported,
)
from meshline.projections.exchanges import Exchange
from meshline.projections.history_view import KINDS, HistoryRow, types_meant
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.pages import Page, next_after, page_of_all, values_after
from meshline.projections.reasons import QUESTIONS, Question
from meshline.projections.reasons import Reason as ReasonRow
from meshline.projections.runs_view import RunRow

__all__ = ["router"]

router = APIRouter(prefix="/v1/runs", tags=["runs"])

State = Literal["running", "waiting", "held", "paused", "succeeded", "failed", "cancelled"]


class Reason(Body):
    """Why; it stands in the history."""

    reason: str = Field("", max_length=2_000)


class Pause(Reason):
    """``until``: go on by itself then."""

    until: Moment | None = None


class HandOver(Reason):
    """To whom the run is to belong: ``user:ada``, ``team:emea``."""

    owner: str


class Message(Body):
    """What a run waits for, or will."""

    name: str
    payload: Any = None


class Note(Body):
    """What there is to say about a run."""

    text: str = Field(min_length=1, max_length=4_000)


class Outcome(Body):
    """What the try ``attempt`` of a step gave: its ``result``, or the ``error``."""

    attempt: int = Field(ge=1, le=1_000_000)
    outcome: Literal["succeeded", "failed"]
    result: Any = None
    error: StepError | None = None


class ActivityDone(Body):
    """What was done; ``time``: when, if that was not now."""

    activity: str
    payload: Any = None
    time: Moment | None = None


@router.get("", response_model=list_of(RunRow), responses=documented(404, 422))
async def list_runs(
    desk: Reader,
    past: Past,
    state: Annotated[list[State] | None, Query()] = None,
    workflow: str | None = None,
    owner: Annotated[str | None, Query(description="Owner or assignee.")] = None,
    source: str | None = None,
    waiting_on: Annotated[str | None, Query(description="timer, approval, exception …")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List runs, those that started last first, with what each one waits for."""
    async with past.seen(desk, "runs") as views:
        page = await views.runs(
            states=state, workflow=workflow, owner=owner, source=source, wait_kind=waiting_on,
            limit=limit, after=after,
        )  # fmt: skip
    return await desk.page(page, "runs")


@router.get("/{run}", response_model=item_of(RunRow), responses=documented(304, 404, 422))
async def show_run(
    desk: Reader,
    past: Past,
    response: Response,
    run: str,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show a run by its id, or by enough of its beginning: its state and its five answers."""
    async with past.seen_of(desk, run) as views:
        row = await views.run(run)
    return await tagged(desk, row, f"run {row.run_id}", response, if_none_match)


async def tagged(
    desk: Desk, row: Any, about: str, response: Response, if_none_match: str | None
) -> Any:
    """Return a row with its tag, or that it is still as the asker knows it."""
    if is_known(if_none_match, row):
        return Response(status_code=304, headers={"ETag": tag_of(row)})
    response.headers["ETag"] = tag_of(row)
    return await desk.shown(row, about)


@router.get("/{run}/history", response_model=list_of(HistoryRow), responses=documented(404, 422))
async def run_history(
    desk: Reader,
    least: AtLeast,
    run: str,
    kinds: Annotated[
        list[str] | None, Query(alias="type", description="Only such: `step.failed`.")
    ] = None,
    failed: Annotated[
        bool, Query(description="Only what failed, was refused, or was not done in time.")
    ] = False,
    actor: Annotated[str | None, Query(max_length=300, description="Only by them.")] = None,
    limit: Limit = 1_000,
    after: After = None,
) -> Any:
    """Tell what happened in a run, event by event, with who and why: refusals too."""
    await least.reached(desk, "history")
    [offset] = [-1] if after is None else values_after(after, [int])
    run_id = (await desk.run(run)).run_id
    rows = await desk.views.history(
        run_id,
        limit=limit,
        after_offset=offset,
        types=types_meant(_known(kinds), failed=failed),
        actor=actor,
    )
    following = next_after([rows[-1].log_offset]) if len(rows) == limit else None
    return await desk.page(Page(rows, following), f"run {run_id}")


def _known(kinds: list[str] | None) -> list[str] | None:
    for kind in kinds or ():
        if kind not in KINDS and kind not in KINDS.values():
            raise invalid(
                ("query", "type"),
                f"{kind[:60]!r} is said of no run: expected some of {', '.join(KINDS)}",
            )
    return kinds


@router.get("/{run}/payloads", response_model=list_of(Exchange), responses=documented(404, 422))
async def run_payloads(
    desk: Reader, least: AtLeast, run: str, limit: Limit = 50, after: After = None
) -> Any:
    """Tell what came into a run, what came out, and what is different."""
    return await _exchanges(desk, least, run, None, limit, after)


@router.get(
    "/{run}/steps/{step}/payloads",
    response_model=list_of(Exchange),
    responses=documented(404, 422),
)
async def step_payloads(
    desk: Reader, least: AtLeast, run: str, step: str, limit: Limit = 50, after: After = None
) -> Any:
    """Tell of each try of a step what it took, what it gave, and what is different.

    `changes` lead from what went in to what came out, where both are objects or lists; `corrected`
    from what the try before took to what this one did.
    """
    return await _exchanges(desk, least, run, step, limit, after)


async def _exchanges(
    desk: Desk, least: AtLeast, run: str, step: str | None, limit: int, after: str | None
) -> Any:
    await least.reached(desk, "history")
    found = [*enumerate(await desk.exchanges(run, step))]
    page = page_of_all(found, lambda each: [each[0]], kinds=[int], limit=limit, after=after)
    rows = [row for _, row in page.rows]
    of = f"run {rows[0].run_id}" if rows else f"run {run}"
    return await desk.page(Page(rows, page.next), of if step is None else f"{step} of {of}")


@router.get("/{run}/reasons", response_model=list_of(ReasonRow), responses=documented(404, 422))
async def run_reasons(
    desk: Reader,
    least: AtLeast,
    run: str,
    question: Annotated[list[Question] | None, Query(description="Else all.")] = None,
    about: Annotated[
        str | None, Query(description="Only about this step, owner, exception or request.")
    ] = None,
    limit: Limit = 1_000,
    after: After = None,
) -> Any:
    """Tell why a run is as it is: why it started, has its owner, waits, skipped a step, ended so.

    Each reason names the event that says so. A trigger that was refused is explained under the
    whole id of the run that it would have become.
    """
    await least.reached(desk, "history")
    run_id, reasons = await desk.reasons(run)
    found = [
        (number, reason)
        for number, reason in enumerate(reasons)
        if reason.question in (question or QUESTIONS) and about in (None, reason.about)
    ]
    page = page_of_all(found, lambda each: [each[0]], kinds=[int], limit=limit, after=after)
    rows = [reason for _, reason in page.rows]
    return await desk.page(Page(rows, page.next), f"run {run_id}", run_id=run_id)


@router.get("/{run}/owners", response_model=list_of(PeriodRow), responses=documented(404, 422))
async def owner_periods(
    desk: Reader,
    least: AtLeast,
    run: str,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """Tell who owned a run, period by period: from, to, by whom and why."""
    await least.reached(desk, "ownership")
    run_id = (await desk.run(run)).run_id
    periods = await desk.views.periods(run_id)
    page = page_of_all(periods, lambda p: [p.number], kinds=[int], limit=limit, after=after)
    return await desk.page(page, f"run {run_id}")


# -- acting ------------------------------------------------------------------------------------

_ACTS = documented(404, 409, 411, 412, 413, 415, 422)


def _operator(asks: Any) -> Any:
    return Depends(requires(Permission.OPERATE, asks))


@router.post("/{run}/cancel", status_code=202, responses=_ACTS)
async def cancel_run(
    desk: Annotated[Desk, _operator(CancelRequested)], run: str, body: Reason, asking: Ask
) -> Answered:
    """End a run; what it has done is undone where its workflow says how."""
    return await desk.ask_run(run, CancelRequested(reason=body.reason), asking)


@router.post("/{run}/pause", status_code=202, responses=_ACTS)
async def pause_run(
    desk: Annotated[Desk, _operator(PauseRequested)], run: str, body: Pause, asking: Ask
) -> Answered:
    """Start no further step of a run until it is resumed; steps under way may finish."""
    asked = PauseRequested(reason=body.reason, until=body.until)
    return await desk.ask_run(run, asked, asking)


@router.post("/{run}/resume", status_code=202, responses=_ACTS)
async def resume_run(
    desk: Annotated[Desk, _operator(ResumeRequested)], run: str, body: Reason, asking: Ask
) -> Answered:
    """Go on with a paused run."""
    return await desk.ask_run(run, ResumeRequested(reason=body.reason), asking)


@router.post("/{run}/retry", status_code=202, responses=_ACTS)
async def retry_run(
    desk: Annotated[Desk, _operator(RetryRequested)], run: str, body: Reason, asking: Ask
) -> Answered:
    """Try again now what failed in a run: held steps, and steps that wait for a retry."""
    return await desk.ask_run(run, RetryRequested(reason=body.reason), asking)


@router.post("/{run}/owner", status_code=202, responses=_ACTS)
async def hand_over(
    desk: Annotated[Desk, _operator(OwnerChangeRequested)], run: str, body: HandOver, asking: Ask
) -> Answered:
    """Give a run to another owner."""
    asked = OwnerChangeRequested(owner=body.owner, reason=body.reason)
    return await desk.ask_run(run, asked, asking)


@router.post("/{run}/messages", status_code=202, responses=_ACTS)
async def send_message(
    desk: Annotated[Desk, _operator(MessageReceived)], run: str, body: Message, asking: Ask
) -> Answered:
    """Send a run what it waits for; it is kept if it comes early."""
    asked = MessageReceived(name=body.name, payload=body.payload)
    return await desk.ask_run(run, asked, asking)


@router.post("/{run}/notes", status_code=202, responses=_ACTS)
async def note_on_run(
    desk: Annotated[Desk, _operator(NoteRequested)], run: str, body: Note, asking: Ask
) -> Answered:
    """Say something about a run, open or ended; it stands in its history."""
    return await desk.ask_run(run, NoteRequested(text=body.text), asking)


# -- reporting ---------------------------------------------------------------------------------


@router.post("/{run}/steps/{step}/outcome", status_code=202, responses=_ACTS)
async def report_outcome(
    desk: Annotated[Desk, Depends(requires(Permission.REPORT, StepReported))],
    run: str,
    step: str,
    body: Outcome,
    asking: Ask,
) -> Answered:
    """Tell what a try of a step for outside workers gave; the first outcome counts."""
    asked = StepReported(
        step=step, attempt=body.attempt, outcome=body.outcome, result=body.result, error=body.error
    )
    return await desk.ask_run(run, asked, asking)


@router.post("/{run}/activities", status_code=202, responses=_ACTS)
async def report_activity(
    desk: Annotated[Desk, Depends(requires(Permission.REPORT, ActivityReported))],
    run: str,
    body: ActivityDone,
    asking: Ask,
) -> Answered:
    """Tell what was done in an observed run, where Meshline only watches."""
    asked = ActivityReported(activity=body.activity, payload=body.payload)
    return await desk.ask_run(run, asked, asking, time=body.time)
