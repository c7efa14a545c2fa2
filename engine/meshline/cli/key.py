"""``meshline key``: who may speak to the HTTP API, and as whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.admitting import Because, admissions, seen_of
from meshline.cli.call import Call, command, group, seconds
from meshline.cli.tables import Column
from meshline.cli.words import ago

if TYPE_CHECKING:
    from meshline.projections.admitted import Key

__all__ = ["app"]

app = group("Keys of the HTTP API: who may do what, and as whom.")


@command(app)
async def create(
    call: Call,
    actor: Annotated[
        str, typer.Argument(metavar="ACTOR", help="user:NAME or service:NAME: stands on its events")
    ],
    role: Annotated[
        list[str],
        typer.Option(
            help="source, worker, viewer, auditor, approver, operator or admin; may be repeated."
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Option(help="The only sources that it may publish for; may be repeated."),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option(help="The only workflows that it sees and acts on; may be repeated."),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="The only owners and routes, such as team:emea; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="90d", help="After so long it counts no more.")
    ] = None,
    reason: Because = "",
) -> None:
    """Make a key and show it, this once: only a hash of it is kept.

    source: publish · worker: report outcomes · viewer: see all but payloads · auditor: payloads
    too · approver: decide approvals · operator: act on runs and exceptions · admin: everything.
    With --workflow or --queue all of that within these: what another team has is not found.

    \b
    Examples:
      meshline key create service:crm --role source --source web.forms --expires 90d
      meshline key create user:ada --role operator --role approver --queue team:emea
      KEY=$(meshline key create user:ada --role admin --output json | jq -r .key)
    """
    expires_at = None
    if expires is not None:
        expires_at = call.clock.now() + timedelta(seconds=seconds(expires, "--expires"))
    from meshline.projections.admitted import Granting

    granting = Granting(role, source or None, workflow or None, queue or None)
    async with admissions(call, reason) as admitting:
        made, secret = await admitting.create_key(
            actor, granting, by=call.actor, expires_at=expires_at, reason=reason
        )
    call.out.thing({"key": secret, **made._asdict()}, lambda: secret)
    call.out.say(f"It is {actor} for the API, as {', '.join(role)}. It is not shown again.")


@command(app, "list")
async def list_keys(call: Call) -> None:
    """List the keys that there ever were, the newest first, without their secrets.

    \b
    Examples:
      meshline key list
    """
    async with admissions(call) as admitting:
        found = await admitting.keys()
    call.out.rows(found, _columns(call.clock.now()), empty="There is no key yet.")


@command(app)
async def rotate(
    call: Call,
    key: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    overlap: Annotated[
        str, typer.Option(metavar="1h", help="So long the old one counts too; 0s: not at all.")
    ] = "1h",
    reason: Because = "",
) -> None:
    """Make a key that may do what an old one may, and show it; the old one ends soon.

    \b
    Examples:
      meshline key rotate 1f0c2a9b44d1
      meshline key rotate 1f0c2a9b44d1 --overlap 7d
    """
    overlap_s = seconds(overlap, "--overlap")
    async with admissions(call, reason) as admitting:
        made, secret = await admitting.rotate_key(
            key, by=call.actor, overlap_s=overlap_s, reason=reason
        )
    call.out.thing({"key": secret, **made._asdict()}, lambda: secret)
    call.out.say(f"It is {made.actor}, as the key {key}, which counts for {overlap} more.")


@command(app)
async def revoke(
    call: Call,
    key: Annotated[str, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    reason: Because = "",
) -> None:
    """Let a key count no more, on every server within seconds.

    \b
    Examples:
      meshline key revoke 1f0c2a9b44d1 --reason "the laptop is lost"
    """
    async with admissions(call, reason) as admitting:
        revoked = await admitting.revoke_key(key, by=call.actor, reason=reason)
    call.out.say(f"The key {revoked.id} of {revoked.actor} counts no more.")


def _columns(now: datetime) -> list[Column]:
    return [
        Column("id", lambda k: k.id, whole=True),
        Column("actor", lambda k: k.actor),
        Column("roles", lambda k: ", ".join(k.roles)),
        Column("sources", lambda k: "all" if k.sources is None else ", ".join(k.sources)),
        Column("sees", seen_of),
        Column("made", lambda k: ago(k.made_at, now)),
        Column("until", lambda k: "" if k.expires_at is None else f"{k.expires_at:%Y-%m-%d}"),
        Column("used", lambda k: "never" if k.used_at is None else ago(k.used_at, now)),
        Column("by", lambda k: k.made_by),
        Column("state", lambda k: _state_of(k, now), stateful=True),
    ]


def _state_of(key: Key, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"
