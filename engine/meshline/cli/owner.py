"""``meshline owner``: who has what now, and giving it to another."""

from __future__ import annotations

from typing import Annotated

import typer

from meshline.cli.as_of import seen
from meshline.cli.asking import ask_about
from meshline.cli.call import Call, command, group
from meshline.cli.run_ids import RunId
from meshline.cli.tables import Column
from meshline.events.requests import OwnerChangeRequested

__all__ = ["app"]

app = group("Owners: who answers for what now.")

COLUMNS = (
    Column("owner", lambda o: o.owner),
    Column("open runs", lambda o: str(o.runs), right=True),
    Column("held", lambda o: str(o.held), right=True),
    Column("exceptions", lambda o: str(o.exceptions), right=True),
    Column("approvals", lambda o: str(o.approvals), right=True),
)


@command(app, "list", past=True)
async def list_owners(call: Call) -> None:
    """List who has something open: runs, exceptions, approvals; those with the most first.

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
