"""``meshline task``: work for people, and doing it; an approval is such work too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer

from meshline.cli.as_of import looked_at, seen
from meshline.cli.asking import Asked, ask, json_value
from meshline.cli.call import Call, command, group, known_words
from meshline.cli.errors import CommandRefused
from meshline.cli.run_ids import RunId, existing
from meshline.cli.run_text import whose
from meshline.cli.tables import Column
from meshline.cli.words import ago, clock_time, due, short
from meshline.events.people_requests import TaskActionRequested, TaskCompletionRequested

if TYPE_CHECKING:
    from datetime import datetime

    from meshline.projections.tasks_view import TaskRow

__all__ = ["app", "asked_for", "assign", "claim", "comment", "delegate", "list_work", "release"]

app = group("Tasks: work for people; an approval is such work too.")

Name = Annotated[
    str | None, typer.Argument(metavar="TASK", help="Where the run asks for several at once.")
]
To = Annotated[str, typer.Option(metavar="USER", help="Such as user:bob.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history.")]


def _columns(now: datetime, noun: Literal["task", "approval"] = "task") -> list[Column]:
    """Return the columns of a list of tasks; of approvals alone there is nothing to say of kind."""
    kind = [Column("kind", lambda t: t.kind)] if noun == "task" else []
    return [
        Column("run", lambda t: short(t.run_id), whole=True),
        Column(noun, lambda t: t.task),
        *kind,
        Column("workflow", lambda t: t.workflow),
        Column("state", lambda t: t.state, stateful=True),
        Column("by", lambda t: t.decided_by or t.by),
        Column("owner", lambda t: t.owner),
        Column("whose", whose),
        Column("priority", lambda t: "" if t.priority == "normal" else t.priority),
        Column("asked", lambda t: ago(t.requested_at, now)),
        Column("due", lambda t: "" if t.decided_at else due(t.due_at, now)),
        Column("form", lambda t: ", ".join((t.form_schema or {}).get("required", ()))),
    ]


@command(app, "list", past=True)
async def list_tasks(
    call: Call,
    kind: Annotated[
        str | None, typer.Option(help="task or approval; else both: an approval is a task.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="requested, escalated, expired, completed, approved, denied, withdrawn; else "
            "the open ones."
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List what people are asked for, the newest first.

    \b
    Examples:
      meshline task list
      meshline task list --kind task --state completed --output jsonl
      meshline task list --as-of "2026-11-17 14:05"
    """
    from meshline.projections.tasks_view import TaskRow

    known_words(None if kind is None else [kind], TaskRow, "kind", "--kind")
    await list_work(call, "task", kind, state, owner, limit, after)


async def list_work(
    call: Call,
    noun: Literal["task", "approval"],
    kind: str | None,
    state: list[str] | None,
    owner: str | None,
    limit: int,
    after: str | None,
) -> None:
    """Write a list of what people are asked for.

    Args:
        kind: ``task`` or ``approval``; None: both.
    """
    from meshline.projections.tasks_view import TaskRow

    known_words(state, TaskRow, "state", "--state")
    chosen: dict[str, Any] = {"states": state} if state else {}
    async with seen(call) as views:
        page = await views.tasks(kind=kind, owner=owner, limit=limit, after=after, **chosen)
    columns = _columns(looked_at(call), noun)
    call.out.rows(page.rows, columns, empty="Nobody is asked for anything.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app)
async def show(call: Call, run: RunId, task: Name = None) -> None:
    """Show a task or an approval: whose it is, by when, and what is to be filled in.

    \b
    Examples:
      meshline task show web.forms/F-1
      meshline task show 1f0c2a9b measure --output json
    """
    run_id, name = await asked_for(call, run, task)
    async with call.views() as views:
        rows = (await views.tasks(states=None, run_id=run_id, limit=1000)).rows
    found = next((row for row in rows if row.task == name), None)
    if found is None:
        known = ", ".join(row.task for row in rows)
        raise CommandRefused(
            f"Run {short(run_id)} has asked for no task {name!r}: expected one of "
            f"{known or 'none yet'}. See `meshline task list`."
        )
    call.out.thing(found, lambda: _text(found, call.clock.now()))


def _text(row: TaskRow, now: datetime) -> str:
    lines = {
        "workflow": row.workflow,
        "state": row.state,
        "who may do it": ", ".join(row.candidates),
        "owner": row.owner,
        "whose": whose(row),
        "priority": row.priority,
        "asked": clock_time(row.requested_at),
        "due": "" if row.decided_at else due(row.due_at, now),
        "follow up": clock_time(row.follow_up_at),
        "ended by": row.decided_by or "",
        "in place of": row.on_behalf_of or "",
        "ended": clock_time(row.decided_at),
        "reason": row.reason,
        "filled in": "" if row.form is None else orjson.dumps(row.form).decode(),
        "form": "" if row.form_schema is None else orjson.dumps(row.form_schema).decode(),
    }
    head = f"{row.kind} {row.task} of run {row.run_id}"
    return "\n".join([head, *(f"  {name:<14} {text}" for name, text in lines.items() if text)])


@command(app, asks=True)
async def complete(
    call: Call,
    run: RunId,
    task: Name = None,
    form: Annotated[
        str | None, typer.Option(metavar="JSON", help="What is filled in, as the form asks.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Say that a task is done, and fill in its form.

    \b
    Examples:
      meshline task complete crm.houses/H-1 --form '{"square_metres": 84}' --as user:ada
    """
    run_id, name = await asked_for(call, run, task, "task")
    request = TaskCompletionRequested(task=name, form=json_value(form, "--form"), reason=reason)
    await ask(call, [Asked(run_id, request, f"{name} of run {short(run_id)}")])


@command(app, asks=True)
async def claim(call: Call, run: RunId, task: Name = None) -> None:
    """Take work: nobody else does it, until it is released or goes on.

    \b
    Examples:
      meshline task claim web.forms/F-1 --as user:ada
    """
    await _act(call, run, task, "claim")


@command(app, asks=True)
async def release(call: Call, run: RunId, task: Name = None, reason: Reason = "") -> None:
    """Give it back to all who may do it.

    \b
    Examples:
      meshline task release web.forms/F-1 --reason "I am off to lunch"
    """
    await _act(call, run, task, "release", reason=reason)


@command(app, asks=True)
async def assign(call: Call, run: RunId, task: Name = None, *, to: To, reason: Reason = "") -> None:
    """Give it to one of those who may do it; with a directory, only role:admin may.

    \b
    Examples:
      meshline task assign web.forms/F-1 --to user:bob --reason "he knows them"
    """
    await _act(call, run, task, "assign", to=to, reason=reason)


@command(app, asks=True)
async def delegate(
    call: Call, run: RunId, task: Name = None, *, to: To, reason: Reason = ""
) -> None:
    """Let somebody else do what you have; it stays yours, and both names are kept.

    \b
    Examples:
      meshline task delegate web.forms/F-1 --to user:bob --reason "he has the numbers"
    """
    await _act(call, run, task, "delegate", to=to, reason=reason)


@command(app, asks=True)
async def comment(
    call: Call,
    run: RunId,
    task: Name = None,
    *,
    text: Annotated[str, typer.Option(help="What to say; it stands in the history.")],
) -> None:
    """Say something about work.

    \b
    Examples:
      meshline task comment web.forms/F-1 --text "I wait for their answer"
    """
    await _act(call, run, task, "comment", reason=text)


async def _act(
    call: Call,
    run: str,
    task: str | None,
    action: Literal["claim", "release", "assign", "delegate", "comment"],
    *,
    to: str | None = None,
    reason: str = "",
) -> None:
    run_id, name = await asked_for(call, run, task)
    request = TaskActionRequested(task=name, action=action, to=to, reason=reason)
    await ask(call, [Asked(run_id, request, f"{name} of run {short(run_id)}")])


async def asked_for(
    call: Call, run: str, task: str | None, kind: Literal["task", "approval"] | None = None
) -> tuple[str, str]:
    """Return the run that was typed, and what it asks people for: named, or the only one.

    Args:
        kind: which are meant; None: any.
    """
    async with call.views() as views:
        run_id = await existing(views, run)
        if task is not None:
            return run_id, task
        rows: list[TaskRow] = (await views.tasks(kind=kind, run_id=run_id)).rows
    if len(rows) == 1:
        return run_id, rows[0].task
    noun, asked = kind or "task", ", ".join(row.task for row in rows)
    raise CommandRefused(
        f"Run {short(run_id)} asks for {asked or 'nothing'} now: expected one {noun}. "
        + ("Name the one that is meant." if rows else f"See `meshline {noun} list`.")
    )
