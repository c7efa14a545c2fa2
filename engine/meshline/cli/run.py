"""``meshline run``: every execution, what it waits for, what happened, and acting on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.as_of import looked_at, run_seen, seen
from meshline.cli.asking import ask_about
from meshline.cli.call import Call, command, end, group, known_words, seconds
from meshline.cli.exits import Exit
from meshline.cli.run_ids import RunId, existing, typed_run
from meshline.cli.run_text import exchange_text, run_columns, run_page, show_text
from meshline.cli.storytelling import story_lines, told
from meshline.events.requests import (
    CancelRequested,
    NoteRequested,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
)

if TYPE_CHECKING:
    from meshline.projections.history_view import HistoryRow
    from meshline.projections.queries import Views

__all__ = ["app"]

app = group("Runs: each one execution of a workflow, born of one trigger.")

Reason = Annotated[str, typer.Option(help="Why; it stands in the history.")]

HISTORY_PAGE = 1_000
WATCH_S = 0.25
"""How often a watched run is looked at."""

APPEAR_WATCHED_S = 10.0
"""How long a run that is to be watched may take to come."""

_OVER = ("succeeded", "failed", "cancelled")


@command(app, "list", past=True)
async def list_runs(
    call: Call,
    state: Annotated[
        list[str] | None,
        typer.Option(help="running, waiting, held, paused, succeeded, failed or cancelled."),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner or assignee.")] = None,
    source: Annotated[str | None, typer.Option(help="Only from this source.")] = None,
    waiting_on: Annotated[
        str | None, typer.Option(help="timer, message, approval, retry, exception …")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List runs, those that started last first, with what each one waits for.

    \b
    Examples:
      meshline run list
      meshline run list --state held --state waiting --owner team:emea
      meshline run list --waiting-on approval --output jsonl | jq .run_id
      meshline run list --owner team:emea --as-of "2026-11-17 14:05"
    """
    from meshline.projections.runs_view import RunRow

    known_words(state, RunRow, "state", "--state")
    async with seen(call) as views:
        page = await views.runs(
            states=state, workflow=workflow, owner=owner, source=source, wait_kind=waiting_on,
            limit=limit, after=after,
        )  # fmt: skip
    call.out.rows(page.rows, run_columns(looked_at(call)), empty="There are no such runs.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app, past=True)
async def show(call: Call, run: RunId) -> None:
    """Show a run: its state, what it waits for and whose that is, and the five answers.

    \b
    Examples:
      meshline run show 1f0c2a9b
      meshline run show web.forms/F-1
      meshline run show 1f0c2a9b --output json | jq '.exceptions[].cause'
      meshline run show 1f0c2a9b --as-of "2026-11-17 14:05" --by recorded
    """
    begins = typed_run(run)
    if call.moment is None:
        async with call.views() as now:
            begins = await existing(now, run)
    async with run_seen(call, begins) as views:
        page = await run_page(views, begins)
    call.out.thing(page.as_data(), lambda: show_text(page, looked_at(call)))


@command(app)
async def history(
    call: Call,
    run: RunId,
    full: Annotated[bool, typer.Option("--full", help="Every event, with its position.")] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what failed, was refused, or was not in time.")
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only such events: step.failed; may be repeated."),
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="WHO", help="Only by them.")] = None,
) -> None:
    """Tell what happened in a run, from its first event to its last, with who and why.

    \b
    Examples:
      meshline run history 1f0c2a9b
      meshline run history 1f0c2a9b --full
      meshline run history 1f0c2a9b --failed --type step.failed
      meshline run history 1f0c2a9b --output jsonl | jq 'select(.actor != null)'
    """
    from meshline.projections.history_view import KINDS, types_meant

    for each in kind or ():
        if each not in KINDS:
            raise typer.BadParameter(
                f"{each!r} is said of no run: expected some of {', '.join(KINDS)}",
                param_hint="--type",
            )
    async with call.views() as views:
        run_id = await existing(views, run)
        types = types_meant(kind, failed=failed)
        rows = [row async for row in _history(views, run_id, types=types, actor=actor)]
    with call.out.stream() as emit:
        if call.out.is_text:
            for line in story_lines(rows, full=full):
                emit(None, line)
        else:
            for row in rows:
                emit(row)


@command(app)
async def payloads(
    call: Call,
    run: RunId,
    step: Annotated[
        str | None, typer.Argument(metavar="STEP", help="Of its tries; else of the run.")
    ] = None,
) -> None:
    """Show what went into a run, or each try of a step, what came out, and what is different.

    \b
    Examples:
      meshline run payloads 1f0c2a9b
      meshline run payloads 1f0c2a9b enrich
      meshline run payloads web.forms/F-1 enrich --output json | jq '.[].corrected'
    """
    from meshline.client import RemoteViews
    from meshline.projections.masked_views import MaskedViews

    async with call.views() as views:
        run_id = await existing(views, run)
        assert isinstance(views, RemoteViews | MaskedViews)
        found = await views.exchanges(run_id, step)
    with call.out.stream() as emit:
        for each in found:
            emit(each, exchange_text(each))


@command(app)
async def watch(
    call: Call,
    run: RunId,
    until: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Stop as soon as it is in this state; else at its end."),
    ] = None,
    timeout: Annotated[str | None, typer.Option(metavar="5m", help="Stop then at last.")] = None,
) -> None:
    """Tell what happens in a run as it happens, until the run has ended.

    Ends with 1 if the time is over, or if the run ended in another state than --until says.

    \b
    Examples:
      meshline run watch 1f0c2a9b
      meshline run watch web.forms/F-1 --until waiting --until held --timeout 1m
      meshline run watch web.forms/F-1 --until succeeded && echo done
    """
    from meshline.projections.runs_view import RunRow

    known_words(until, RunRow, "state", "--until")
    timeout_s = None if timeout is None else seconds(timeout, "--timeout")
    async with call.views() as views:
        run_id = await existing(views, run, wait_s=min(timeout_s or APPEAR_WATCHED_S, 60.0))
        try:
            async with asyncio.timeout(timeout_s):
                state = await _watch(call, views, run_id, until or _OVER)
        except TimeoutError:
            call.out.say(f"The time is over after {timeout}.")
            raise typer.Exit(int(Exit.FAILED)) from None
    if until and state not in until:
        call.out.say(f"The run ended: it is {state}.")
        end(Exit.FAILED)


async def _watch(call: Call, views: Views, run_id: str, until: Sequence[str]) -> str:
    offset = -1
    with call.out.stream(live=True) as emit:
        while True:
            state = (await views.run(run_id)).state
            async for row in _history(views, run_id, offset):
                offset = row.log_offset
                emit(row, told(row))
            if state in until or state in _OVER:
                return state
            await asyncio.sleep(WATCH_S)


async def _history(views: Views, run_id: str, offset: int = -1, **only: Any) -> Any:
    while True:
        rows: list[HistoryRow] = await views.history(
            run_id, limit=HISTORY_PAGE, after_offset=offset, **only
        )
        for row in rows:
            yield row
        if len(rows) < HISTORY_PAGE:
            return
        offset = rows[-1].log_offset


# -- acting ------------------------------------------------------------------------------------


@command(app, asks=True)
async def cancel(call: Call, run: RunId, reason: Reason = "") -> None:
    """End a run; what it has done is undone where its workflow says how.

    \b
    Examples:
      meshline run cancel 1f0c2a9b --reason "the customer withdrew"
    """
    await ask_about(call, run, CancelRequested(reason=reason))


@command(app, asks=True)
async def pause(
    call: Call,
    run: RunId,
    reason: Reason = "",
    until: Annotated[
        str | None, typer.Option(metavar="2h", help="Go on by itself after so long.")
    ] = None,
) -> None:
    """Start no further step of a run until it is resumed; steps under way may finish.

    \b
    Examples:
      meshline run pause 1f0c2a9b --reason "the CRM is being moved"
      meshline run pause 1f0c2a9b --until 2h
    """
    from datetime import timedelta

    moment = None
    if until is not None:
        moment = call.clock.now() + timedelta(seconds=seconds(until, "--until"))
    await ask_about(call, run, PauseRequested(reason=reason, until=moment))


@command(app, asks=True)
async def resume(call: Call, run: RunId, reason: Reason = "") -> None:
    """Go on with a paused run.

    \b
    Examples:
      meshline run resume 1f0c2a9b
    """
    await ask_about(call, run, ResumeRequested(reason=reason))


@command(app, asks=True)
async def retry(call: Call, run: RunId, reason: Reason = "") -> None:
    """Try again now what failed in a run: held steps, and steps that wait for a retry.

    \b
    Examples:
      meshline run retry 1f0c2a9b --reason "the directory is back"
    """
    await ask_about(call, run, RetryRequested(reason=reason))


@command(app, asks=True)
async def note(
    call: Call,
    run: RunId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
) -> None:
    """Say something about a run, open or ended; it stands in its history.

    \b
    Examples:
      meshline run note 1f0c2a9b "I called them, and they will send the form again"
    """
    await ask_about(call, run, NoteRequested(text=text))
