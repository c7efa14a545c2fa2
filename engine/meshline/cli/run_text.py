"""A run as people read it: one line in a list, one page of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from meshline.cli.tables import Column, plain_table
from meshline.cli.words import age, ago, clock_time, due, prompt_name, short

if TYPE_CHECKING:
    from meshline.projections.exception_view import ExceptionRow
    from meshline.projections.exchanges import Exchange
    from meshline.projections.ownership_view import PeriodRow
    from meshline.projections.queries import Views
    from meshline.projections.runs_view import RunRow
    from meshline.projections.tasks_view import TaskRow

__all__ = ["RunPage", "exchange_text", "run_columns", "run_page", "show_text", "whose"]

ROWS_MAX = 200
"""Exceptions or tasks on the page of one run."""


class RunPage:
    """All that the page of a run shows."""

    def __init__(
        self,
        run: RunRow,
        exceptions: Sequence[ExceptionRow],
        tasks: Sequence[TaskRow],
        periods: Sequence[PeriodRow],
    ) -> None:
        self.run = run
        self.exceptions = exceptions
        self.tasks = tasks
        self.periods = periods

    def as_data(self) -> dict[str, Any]:
        return self.run._asdict() | {
            "exceptions": list(self.exceptions),
            "tasks": list(self.tasks),
            "periods": list(self.periods),
        }


async def run_page(views: Views, begins: str) -> RunPage:
    """Read the page of the only run whose id begins so."""
    run = await views.run(begins)
    exceptions = await views.exceptions(states=None, run_id=run.run_id, limit=ROWS_MAX)
    tasks = await views.tasks(states=None, run_id=run.run_id, limit=ROWS_MAX)
    periods = await views.periods(run.run_id)
    return RunPage(run, exceptions.rows[::-1], tasks.rows[::-1], periods)


def run_columns(now: datetime) -> list[Column]:
    return [
        Column("run", lambda r: short(r.run_id), whole=True),
        Column("workflow", lambda r: f"{r.workflow} v{r.version}"),
        Column("trigger", lambda r: r.trigger_id or ""),
        Column("state", lambda r: r.state, stateful=True),
        Column("waiting on", lambda r: "; ".join(_wait_in_short(w) for w in r.waits)),
        Column("since", lambda r: ago(r.waiting_since, now)),
        Column("until", lambda r: due(r.wait_until, now)),
        Column("whose", lambda r: ", ".join(dict.fromkeys(w["owner"] for w in r.waits))),
        Column("owner", lambda r: r.assignee or r.owner),
        Column("age", lambda r: age((r.ended_at or now) - r.started_at), right=True),
    ]


def _wait_in_short(wait: dict[str, Any]) -> str:
    return " ".join(filter(None, (wait["kind"], wait["about"])))


def show_text(page: RunPage, now: datetime) -> str:
    """Return the page: state and waits first, then the five answers, then who and what."""
    run = page.run
    lines = [
        f"Run {run.run_id}",
        f"  workflow          {run.workflow} v{run.version}{' (observed)' if run.observed else ''}",
        f"  state             {_state(run, now)}",
        *(f"  waiting on        {_wait(wait, now)}" for wait in run.waits),
        *_ending(run),
        "",
        f"  trigger           {run.trigger_type} {run.trigger_id or ''}".rstrip(),
        f"  source system     {run.source}",
        f"  owner             {run.owner}"
        + (f", worked on by {run.assignee}" if run.assignee else ""),
        f"  exception route   {run.exception_route}",
        f"  expected outcome  {run.expected_outcome}{_due(run, now)}",
    ]
    lines += _section("Exceptions", _exception_columns(now), page.exceptions)
    lines += _section("Work for people", _task_columns(now), page.tasks)
    lines += _section("Owners", _period_columns(now), page.periods)
    lines += _next(page)
    return "\n".join(lines)


def _state(run: RunRow, now: datetime) -> str:
    since = run.ended_at or run.waiting_since
    if since is None:
        return f"{run.state}, started {ago(run.started_at, now)} ago"
    return f"{run.state} since {clock_time(since)} ({ago(since, now)})"


def _wait(wait: dict[str, Any], now: datetime) -> str:
    since, until = _moment(wait["since"]), _moment(wait.get("until"))
    end = f"until {clock_time(until)} ({due(until, now)})" if until else "without an end of its own"
    assert since is not None
    return (
        f"{_wait_in_short(wait)}, since {clock_time(since)} ({ago(since, now)}), {end}, "
        f"whose: {wait['owner']}"
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _ending(run: RunRow) -> list[str]:
    lines = []
    if run.reason:
        lines.append(f"  reason            {run.reason}")
    if run.outcome is not None:
        lines.append(f"  outcome           {orjson.dumps(run.outcome).decode()}")
    return lines


def _due(run: RunRow, now: datetime) -> str:
    if run.due_at is None:
        return ""
    if run.ended_at is None:
        return f", due {due(run.due_at, now)}"
    late = run.ended_at - run.due_at
    return f", {age(late)} late" if run.ended_at > run.due_at else ", in time"


def _section(title: str, columns: Sequence[Column], rows: Sequence[Any]) -> list[str]:
    if not rows:
        return []
    table = textwrap.indent(plain_table(columns, rows), "    ").splitlines()
    return ["", f"  {title}", *table]


def _exception_columns(now: datetime) -> list[Column]:
    return [
        Column("exception", lambda e: e.exception_id),
        Column("kind", lambda e: e.kind),
        Column("about", lambda e: e.about),
        Column("state", lambda e: e.state),
        Column("owner", lambda e: e.owner),
        Column("route", lambda e: e.route),
        Column("age", lambda e: ago(e.opened_at, now)),
        Column("message", lambda e: e.message[:100]),
    ]


def whose(task: TaskRow) -> str:
    """Say who has it, and who may do it for them."""
    delegate = "" if task.delegate is None else f" ({task.delegate})"
    return f"{task.assignee or ''}{delegate}"


def _task_columns(now: datetime) -> list[Column]:
    return [
        Column("task", lambda a: a.task),
        Column("kind", lambda a: a.kind),
        Column("state", lambda a: a.state),
        Column("by", lambda a: a.decided_by or a.by),
        Column("owner", lambda a: a.owner),
        Column("whose", whose),
        Column("due", lambda a: "" if a.decided_at else due(a.due_at, now)),
        Column("form", lambda a: "" if a.form is None else orjson.dumps(a.form).decode()),
        Column("reason", lambda a: a.reason),
    ]


def _period_columns(now: datetime) -> list[Column]:
    return [
        Column("owner", lambda p: p.owner),
        Column("worked on by", lambda p: p.assignee or ""),
        Column("from", lambda p: clock_time(p.since)),
        Column("for", lambda p: age((p.until or now) - p.since)),
        Column("by", lambda p: f"rule {p.rule}" if p.rule else (p.actor or "")),
        Column("reason", lambda p: p.reason),
    ]


def _next(page: RunPage) -> list[str]:
    name, run_id = prompt_name(), short(page.run.run_id)
    typed = [f"{name} run history {run_id}"]
    for exception in page.exceptions:
        if exception.state not in ("resolved", "dismissed"):
            typed.append(f"{name} exception show {exception.exception_id}")
    for task in page.tasks:
        if task.decided_at is None:
            form = " --form '{…}'" if task.form_schema else ""
            verb = "approval approve" if task.kind == "approval" else "task complete"
            typed.append(f"{name} {verb} {run_id} {task.task}{form}")
    return ["", "  Next", *(f"    {line}" for line in typed)]


def exchange_text(each: Exchange) -> str:
    """Return what went in and out, and the places at which that is different."""
    what = f"try {each.attempt} of {each.step}" if each.step else f"run {each.run_id}"
    lines = [f"{what}, {each.state}, from {clock_time(each.began_at)} at {each.position}"]
    for title, changes in (("corrected", each.corrected), ("different", each.changes)):
        lines += [f"  {title:<9} {_change_text(change)}" for change in changes or ()]
    for title, value in (("in", each.taken), ("out", each.gave)):
        lines.append(f"  {title:<9} {'-' if value is None else orjson.dumps(value).decode()}")
    return "\n".join(lines)


def _change_text(change: dict[str, Any]) -> str:
    before, after = (orjson.dumps(change[name]).decode() for name in ("before", "after"))
    said = {"added": f"is new: {after}", "removed": f"is gone: {before}"}
    return f"{change['path'] or 'all of it'} {said.get(change['what'], f'{before} -> {after}')}"
