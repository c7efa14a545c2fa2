"""``meshline owner``: who has what now, and giving it to another."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from meshline.cli.as_of import seen, time_typed
from meshline.cli.asking import ask_about
from meshline.cli.call import Call, command, group, seconds
from meshline.cli.everywhere import ask_everywhere
from meshline.cli.handing_over import hand_over
from meshline.cli.run_ids import RunId, whole_id
from meshline.cli.tables import Column
from meshline.cli.words import clock_time, short
from meshline.events.people_requests import ABSENCES, AbsenceChangeRequested
from meshline.events.requests import OwnerChangeRequested

__all__ = ["app"]

app = group("Owners: who answers for what now.")

COLUMNS = (
    Column("owner", lambda o: o.owner),
    Column("open runs", lambda o: str(o.runs), right=True),
    Column("held", lambda o: str(o.held), right=True),
    Column("exceptions", lambda o: str(o.exceptions), right=True),
    Column("approvals", lambda o: str(o.approvals), right=True),
    Column("tasks", lambda o: str(o.tasks), right=True),
)

AWAY = (
    Column("away", lambda a: a.absent, whole=True),
    Column("substitute", lambda a: a.substitute, whole=True),
    Column("from", lambda a: clock_time(a.since)),
    Column("until", lambda a: clock_time(a.until)),
    Column("by", lambda a: a.actor or ""),
    Column("reason", lambda a: a.reason),
)

HANDOVERS = (
    Column("when", lambda h: clock_time(h.time), whole=True),
    Column("run", lambda h: short(h.run_id), whole=True),
    Column("what", lambda h: h.about or "run"),
    Column("from", lambda h: h.previous or ""),
    Column("to", lambda h: h.owner, whole=True),
    Column("by", lambda h: h.actor or f"rule {h.rule}"),
    Column("reason", lambda h: h.reason),
)

User = Annotated[str, typer.Argument(metavar="USER", help="Such as user:ada.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the log.")]


@command(app, "list", past=True)
async def list_owners(call: Call) -> None:
    """List who has something open: runs, exceptions, approvals, tasks; those with the most first.

    \b
    Examples:
      meshline owner list
      meshline run list --owner team:emea       what exactly
      meshline owner list --as-of "2026-11-17 14:05"
    """
    async with seen(call) as views:
        owners = await views.owners()
    call.out.rows(owners, COLUMNS, empty="Nobody has anything open.")


@command(app, asks=True)
async def assign(
    call: Call,
    run: RunId,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="user:, team: or queue:NAME")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")] = "",
) -> None:
    """Give a run to another owner.

    \b
    Examples:
      meshline owner assign 1f0c2a9b team:apac --reason "the customer moved"
    """
    await ask_about(call, run, OwnerChangeRequested(owner=owner, reason=reason))


@command(app, asks=True)
async def handover(
    call: Call,
    previous: Annotated[str, typer.Argument(metavar="FROM", help="Whose it is now.")],
    owner: Annotated[str, typer.Argument(metavar="TO", help="Whose it is to be.")],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only what is theirs in this run.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only show it.")] = False,
    reason: Reason = "",
) -> None:
    """Give all that is somebody's to another: runs, exceptions and approvals, each by itself.

    It is counted first; with --yes each thing is asked for and its answer told. What is another's
    by now is left to them. Only admins may, and who gives away what is their own. To whom an
    approval goes may decide it. Exceptions that say that somebody is gone close by themselves.

    \b
    Examples:
      meshline owner handover user:ada user:bob
      meshline owner handover user:ada user:bob --yes --reason "Ada has left"
      meshline owner handover queue:old queue:new --run web.forms/F-1 --yes
    """
    await hand_over(call, previous, owner, run, reason, yes=yes)


@command(app)
async def handovers(
    call: Call,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Only of this run.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only what came to them, or left them.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List what went from whom to whom, by whom and why, the latest first.

    \b
    Examples:
      meshline owner handovers
      meshline owner handovers --owner user:ada
      meshline owner handovers --run web.forms/F-1
    """
    run_id = None if run is None else await whole_id(call, run)
    async with call.views() as views:
        page = await views.handovers(run_id=run_id, owner=owner, limit=limit, after=after)
    call.out.rows(page.rows, HANDOVERS, empty="Nothing went from one to another.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app, asks=True)
async def away(
    call: Call,
    user: User,
    *,
    substitute: Annotated[str, typer.Option(metavar="USER", help="Who stands in.")],
    until: Annotated[str, typer.Option(help="When they are back: a time or, as in 5d, how long.")],
    since: Annotated[
        str | None,
        typer.Option("--from", help="When they leave: a time or, as in 2h, in how long; else now."),
    ] = None,
    reason: Reason = "",
) -> None:
    """Let somebody do all that a user may, while that user is away; both names are kept then.

    Every partition is asked, and decides by it from its answer on. The same again, with other
    times or another substitute, takes the place of what was said before.

    \b
    Examples:
      meshline owner away user:ada --until 5d --substitute user:bob --reason holidays
      meshline owner away user:ada --from 2026-11-20 --until 2026-12-01 --substitute user:bob
    """
    begin = call.clock.now() if since is None else _moment(call, since, "--from")
    await _ask(call, user, substitute, begin, _moment(call, until, "--until"), reason)


@command(app, asks=True)
async def back(call: Call, user: User, reason: Reason = "") -> None:
    """Say that a user is back before their time: nobody stands in for them any more.

    \b
    Examples:
      meshline owner back user:ada
    """
    now = call.clock.now()
    await _ask(call, user, None, now, now, reason)


@command(app)
async def absences(call: Call) -> None:
    """List who is away, or will be, and who stands in.

    \b
    Examples:
      meshline owner absences
    """
    async with call.views() as views:
        found = await views.absences(call.clock.now())
    call.out.rows(found, AWAY, empty="Nobody is away.")


def _moment(call: Call, text: str, option: str) -> datetime:
    if "-" in text:
        return time_typed(text, option)
    return call.clock.now() + timedelta(seconds=seconds(text, option))


async def _ask(
    call: Call, user: str, substitute: str | None, since: datetime, until: datetime, reason: str
) -> None:
    request = AbsenceChangeRequested(
        user=user, substitute=substitute, since=since, until=until, reason=reason
    )
    await ask_everywhere(call, ABSENCES, request)
