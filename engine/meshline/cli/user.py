"""``meshline user``: the people who sign in to the web console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.call import Call, command, group
from meshline.cli.tables import Column
from meshline.cli.words import ago

if TYPE_CHECKING:
    from meshline.api.accounts import Accounts

__all__ = ["app"]

app = group("People who sign in to the web console.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="ada: on events, user:ada.")]


@command(app)
async def create(
    call: Call,
    name: Name,
    role: Annotated[
        list[str], typer.Option(help="viewer, auditor, approver, operator or admin; repeatable.")
    ],
    workflow: Annotated[
        list[str] | None, typer.Option(help="The only ones that they see; repeatable.")
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="The only owners and routes: team:emea, queue:triage; repeatable."),
    ] = None,
) -> None:
    """Make a user and show the password, this once: only a hash of it is kept.

    viewer: see all but payloads · auditor: payloads too · approver: decide approvals · operator:
    act on runs and exceptions · admin: everything.

    \b
    Examples:
      meshline user create ada --role operator --role approver
      meshline user create sue --role operator --queue team:support
    """
    async with _accounts(call) as accounts:
        user, password = await accounts.create(
            name, role, made_by=call.actor.id, workflows=workflow or None, queues=queue or None
        )
    call.out.thing({"password": password, **user._asdict()}, lambda: password)
    call.out.say(f"It is the password of {name}, as {', '.join(role)}. It is not shown again.")


@command(app, "list")
async def list_users(call: Call) -> None:
    """List who can sign in, with what roles.

    \b
    Examples:
      meshline user list
    """
    async with _accounts(call) as accounts:
        found = await accounts.all()
    call.out.rows(found, _columns(call.clock.now()), empty="There is no user yet.")


@command(app)
async def password(call: Call, name: Name) -> None:
    """Give a user a new password and show it, this once; their sessions end.

    \b
    Examples:
      meshline user password admin
    """
    async with _accounts(call) as accounts:
        made = await accounts.set_password(name)
    call.out.thing({"password": made, "name": name}, lambda: made)
    call.out.say(f"It is the password of {name} now. It is not shown again.")


@command(app)
async def remove(call: Call, name: Name) -> None:
    """Let a user sign in no more; their sessions end. What they did stays in the history.

    \b
    Examples:
      meshline user remove ada
    """
    async with _accounts(call) as accounts:
        await accounts.remove(name)
    call.out.say(f"{name} can sign in no more.")


def _columns(now: datetime) -> list[Column]:
    return [
        Column("name", lambda u: u.name, whole=True),
        Column("roles", lambda u: ", ".join(u.roles)),
        Column("sees", lambda u: ", ".join([*(u.workflows or ()), *(u.queues or ())]) or "all"),
        Column("made", lambda u: ago(u.made_at, now)),
        Column("by", lambda u: u.made_by),
    ]


@asynccontextmanager
async def _accounts(call: Call) -> AsyncIterator[Accounts]:
    from meshline.api.accounts import Accounts

    accounts = Accounts(call.place.views)
    try:
        await accounts.open()
        yield accounts
    finally:
        await accounts.aclose()
