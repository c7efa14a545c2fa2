"""``meshline user``: the people who sign in to the web console."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from meshline.cli.admitting import Because, admissions, seen_of
from meshline.cli.call import Call, command, group
from meshline.cli.tables import Column
from meshline.cli.words import ago

__all__ = ["app"]

app = group("People who sign in to the web console.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="ada: on events, user:ada.")]


Roles = Annotated[
    list[str], typer.Option(help="viewer, auditor, approver, operator or admin; repeatable.")
]
Workflows = Annotated[
    list[str] | None, typer.Option(help="The only ones that they see; repeatable.")
]
Queues = Annotated[
    list[str] | None,
    typer.Option(help="The only owners and routes: team:emea, queue:triage; repeatable."),
]


@command(app)
async def create(
    call: Call,
    name: Name,
    role: Roles,
    workflow: Workflows = None,
    queue: Queues = None,
    reason: Because = "",
) -> None:
    """Make a user and show the password, this once: only a hash of it is kept.

    viewer: see all but payloads · auditor: payloads too · approver: decide approvals · operator:
    act on runs and exceptions · admin: everything.

    \b
    Examples:
      meshline user create ada --role operator --role approver
      meshline user create sue --role operator --queue team:support
    """
    from meshline.projections.admitted import Granting

    granting = Granting(role, None, workflow or None, queue or None)
    async with admissions(call, reason) as admitting:
        user, password = await admitting.create_user(name, granting, by=call.actor, reason=reason)
    call.out.thing({"password": password, **user._asdict()}, lambda: password)
    call.out.say(f"It is the password of {name}, as {', '.join(role)}. It is not shown again.")


@command(app, "list")
async def list_users(call: Call) -> None:
    """List who can sign in, with what roles.

    \b
    Examples:
      meshline user list
    """
    async with admissions(call) as admitting:
        found = await admitting.users()
    call.out.rows(found, _columns(call.clock.now()), empty="There is no user yet.")


@command(app)
async def change(
    call: Call,
    name: Name,
    role: Roles,
    workflow: Workflows = None,
    queue: Queues = None,
    reason: Because = "",
) -> None:
    """Give a user other roles and other limits; what they have open now follows at once.

    \b
    Examples:
      meshline user change sue --role viewer --queue team:support --reason "another team"
    """
    from meshline.projections.admitted import Granting

    granting = Granting(role, None, workflow or None, queue or None)
    async with admissions(call, reason) as admitting:
        user = await admitting.change_user(name, granting, by=call.actor, reason=reason)
    call.out.say(f"{user.name} is {granting} from now on.")


@command(app)
async def sessions(call: Call) -> None:
    """List who is signed in, those that did something last first.

    \b
    Examples:
      meshline user sessions
    """
    async with admissions(call) as admitting:
        found = await admitting.sessions()
    call.out.rows(found, _session_columns(call.clock.now()), empty="Nobody is signed in.")


@command(app)
async def sign_out(
    call: Call,
    actor: Annotated[
        str, typer.Argument(metavar="user:NAME", help="As `user sessions` shows them.")
    ],
    reason: Because = "",
) -> None:
    """End all sessions of somebody, with a password or with the identity provider.

    \b
    Examples:
      meshline user sign-out user:ada --reason "the laptop is lost"
    """
    async with admissions(call, reason) as admitting:
        ended = await admitting.end_sessions(actor, by=call.actor, reason=reason)
    call.out.say(f"{actor} is signed out; sessions ended: {ended}.")


@command(app)
async def password(
    call: Call,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="ada; none: yourself, over a server.")
    ] = None,
    reason: Because = "",
) -> None:
    """Give a user a new password and show it, this once; their sessions end.

    Without a name it is your own, of the user whose key you have: you type the old one and the
    new one, or send each as a line. Everybody may.

    \b
    Examples:
      meshline user password admin
      meshline user password --server https://meshline.example.org
    """
    if name is None:
        await _change_own(call)
        return
    async with admissions(call, reason) as admitting:
        made = await admitting.change_password(name, by=call.actor, reason=reason)
    call.out.thing({"password": made, "name": name}, lambda: made)
    call.out.say(f"It is the password of {name} now. It is not shown again.")


async def _change_own(call: Call) -> None:
    if call.given.server is None:
        raise typer.BadParameter(
            "without a name it is your own, which a server changes: expected --server, or a name",
            param_hint="NAME",
        )
    from meshline.client import RemoteAdmissions

    old, new = _typed("Password now"), _typed("New password", twice=True)
    async with call.connection() as connection:
        name = await RemoteAdmissions(connection).change_own_password(old, new)
    call.out.say(f"{name} has another password now; all sessions of theirs are ended.")


def _typed(asks: str, *, twice: bool = False) -> str:
    """Return what is typed unseen, or the next line of what is sent."""
    if sys.stdin.isatty():
        said: str = typer.prompt(asks, hide_input=True, confirmation_prompt=twice, err=True)
        return said
    try:
        line = sys.stdin.buffer.readline().decode()
    except UnicodeDecodeError:
        line = ""
    if not line:
        raise typer.BadParameter(f"no line of UTF-8 was sent for: {asks}", param_hint="stdin")
    return line.removesuffix("\n")


@command(app)
async def remove(call: Call, name: Name, reason: Because = "") -> None:
    """Let a user sign in no more; their sessions end. What they did stays in the history.

    \b
    Examples:
      meshline user remove ada
    """
    async with admissions(call, reason) as admitting:
        await admitting.remove_user(name, by=call.actor, reason=reason)
    call.out.say(f"{name} can sign in no more.")


def _columns(now: datetime) -> list[Column]:
    return [
        Column("name", lambda u: u.name, whole=True),
        Column("roles", lambda u: ", ".join(u.roles)),
        Column("sees", seen_of),
        Column("made", lambda u: ago(u.made_at, now)),
        Column("by", lambda u: u.made_by),
    ]


def _session_columns(now: datetime) -> list[Column]:
    return [
        Column("who", lambda s: s.actor, whole=True),
        Column("roles", lambda s: ", ".join(s.roles)),
        Column("sees", seen_of),
        Column("with", lambda s: "the identity provider" if s.with_provider else "a password"),
        Column("since", lambda s: ago(s.begun_at, now)),
        Column("seen", lambda s: ago(s.seen_at, now)),
    ]
