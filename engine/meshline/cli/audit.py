"""``meshline audit``: who asked for what, what was refused, and who read payloads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from meshline.cli.as_of import time_typed
from meshline.cli.call import Call, command, group
from meshline.cli.run_ids import whole_id
from meshline.cli.tables import Column
from meshline.cli.words import clock_time, short

__all__ = ["app"]

app = group("Audit: who asked for what, what was refused, and who read payloads.")

ASKED = (
    Column("when", lambda a: clock_time(a.recorded_at), whole=True),
    Column("who", lambda a: a.actor or "", whole=True),
    Column("asked", lambda a: f"{a.action} {a.what} {a.about or ''}".strip()),
    Column("run", lambda a: short(a.run_id), whole=True),
    Column("came to", lambda a: a.status, stateful=True),
    Column("why", lambda a: a.refusal or a.reason),
)
READINGS = (
    Column("when", lambda r: clock_time(r.read_at), whole=True),
    Column("who", lambda r: r.actor, whole=True),
    Column("with", lambda r: r.credential or "console"),
    Column("read", lambda r: r.what),
    Column("of", lambda r: r.about),
    Column("rows", lambda r: str(r.items), right=True),
    Column("runs", lambda r: _some([*map(short, r.run_ids)])),
    Column("events", lambda r: _some(r.positions)),
)

Actor = Annotated[str | None, typer.Option(metavar="WHO", help="Such as user:ada.")]
Workflow = Annotated[str | None, typer.Option(help="Only of runs of this workflow.")]
Run = Annotated[str | None, typer.Option(metavar="RUN", help="Only about this run.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Then or later.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")]
After = Annotated[str | None, typer.Option(help="The next page, as the last one said.")]


@command(app, "list")
async def list_asked(
    call: Call,
    actor: Actor = None,
    action: Annotated[
        list[str] | None, typer.Option(help="retry, cancel, assign, approve …; may be repeated.")
    ] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    workflow: Workflow = None,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> None:
    """List what people and programs asked for, and what they were refused, the last first.

    \b
    Examples:
      meshline audit list --actor user:ada --since "2026-11-17 14:00"
      meshline audit list --refused --output jsonl
      meshline audit list --run web.forms/F-1
    """
    from meshline.projections.audit_view import ACTIONS

    for word in action or ():
        if word not in ACTIONS:
            raise typer.BadParameter(
                f"{word!r} is nothing that is asked for: expected some of {', '.join(ACTIONS)}",
                param_hint="--action",
            )
    run_id = None if run is None else await whole_id(call, run)
    async with call.views() as views:
        page = await views.audit(
            actor=actor, actions=action, status="refused" if refused else None, workflow=workflow,
            run_id=run_id, since=_time(since, "--since"), until=_time(until, "--until"),
            limit=limit, after=after,
        )  # fmt: skip
    call.out.rows(page.rows, ASKED, empty="Nobody asked for anything like that.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app)
async def readings(
    call: Call,
    actor: Actor = None,
    workflow: Workflow = None,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> None:
    """List who read payloads over a server, of which runs and events and when, the last first.

    One line is one page or answer, however many payloads it had. It is kept before the answer is
    given. Who reads the tables themselves is known to PostgreSQL alone.

    \b
    Examples:
      meshline audit readings
      meshline audit readings --run web.forms/F-1
      meshline audit readings --actor user:ada --since 2026-11-17 --output jsonl
    """
    run_id = None if run is None else await whole_id(call, run)
    async with call.views() as views:
        page = await views.readings(
            actor=actor, workflow=workflow, run_id=run_id, since=_time(since, "--since"),
            until=_time(until, "--until"), limit=limit, after=after,
        )  # fmt: skip
    call.out.rows(page.rows, READINGS, empty="Nobody read a payload.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


def _time(text: str | None, option: str) -> datetime | None:
    return None if text is None else time_typed(text, option)


def _some(words: list[str]) -> str:
    return ", ".join(words) if len(words) <= 3 else f"{words[0]} … {words[-1]}"
