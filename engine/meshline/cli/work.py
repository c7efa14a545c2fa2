"""``meshline work``: what somebody has to do, and how much everybody has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.as_of import looked_at, seen
from meshline.cli.call import Call, command, group
from meshline.cli.tables import Column
from meshline.cli.words import ago, clock_time, due, short
from meshline.events.principals import is_principal

if TYPE_CHECKING:
    from datetime import datetime

    from meshline.projections.work import WorkRow

__all__ = ["app"]

app = group("Work: what is somebody's to decide, and how much everybody has.")


def _why(row: WorkRow) -> str:
    words = {
        "claimed": f"{row.assignee} has it",
        "delegated": f"{row.assignee} delegated it",
        "candidate": f"one of {row.candidate_by}",
    }[row.why]
    return words if row.substitute_of is None else f"{words}; for {row.substitute_of}, who is away"


def _columns(now: datetime) -> list[Column]:
    return [
        Column("run", lambda w: short(w.run_id), whole=True),
        Column("task", lambda w: w.task),
        Column("kind", lambda w: w.kind),
        Column("workflow", lambda w: w.workflow),
        Column("due", lambda w: due(w.due_at, now)),
        Column("priority", lambda w: "" if w.priority == "normal" else w.priority),
        Column("asked", lambda w: ago(w.requested_at, now)),
        Column("why", _why),
    ]


def _people(now: datetime) -> list[Column]:
    return [
        Column("person", lambda p: p.person, whole=True),
        Column("has", lambda p: str(p.claimed), right=True),
        Column("delegated to them", lambda p: str(p.delegated), right=True),
        Column("late", lambda p: str(p.late), right=True),
        Column("asked with others", lambda p: str(p.asked), right=True),
        Column("oldest", lambda p: ago(p.oldest_at, now)),
        Column("away until", lambda p: clock_time(p.away_until)),
        Column("substitute", lambda p: p.substitute or ""),
    ]


def _queues(now: datetime) -> list[Column]:
    return [
        Column("owner", lambda q: q.owner, whole=True),
        Column("open", lambda q: str(q.open), right=True),
        Column("nobody has", lambda q: str(q.unclaimed), right=True),
        Column("late", lambda q: str(q.late), right=True),
        Column("oldest", lambda q: ago(q.oldest_at, now)),
    ]


@command(app, "list")
async def list_work(
    call: Call,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Whose; else yours. A team or role has too.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List what somebody may decide, and why: what is due first, then priority, then age.

    \b
    Examples:
      meshline work list
      meshline work list --user user:bob
    """
    if user is not None and not is_principal(user):
        raise typer.BadParameter(
            f"{user!r} is nobody: expected as in user:ada", param_hint="--user"
        )
    # Over a server it is the key that says who asks.
    whose = user if user is not None or call.given.server is not None else call.actor.id
    now = call.clock.now()
    async with call.views() as views:
        page = await views.work(whose, now, limit=limit, after=after)
    call.out.rows(page.rows, _columns(now), empty=f"Nothing waits for {whose or 'you'}.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app, past=True)
async def people(call: Call) -> None:
    """List how much work each person has, those with the most first, and who is away.

    \b
    Examples:
      meshline work people
      meshline work people --as-of "2026-11-17 14:05"
    """
    now = looked_at(call)
    async with seen(call) as views:
        found = await views.person_loads(now)
    call.out.rows(found, _people(now), empty="Nobody has any work.")


@command(app, past=True)
async def queues(call: Call) -> None:
    """List what each owner is asked and nobody has decided, the one with the oldest first.

    \b
    Examples:
      meshline work queues
      meshline work queues --as-of "2026-11-17 14:05"
    """
    now = looked_at(call)
    async with seen(call) as views:
        found = await views.queue_loads(now)
    call.out.rows(found, _queues(now), empty="Nobody is asked for anything.")
