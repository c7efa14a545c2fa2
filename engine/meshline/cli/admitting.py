"""Letting in and shutting out from the command line: where keys are kept, or over a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.call import Call

if TYPE_CHECKING:
    from meshline.api.admissions import Admissions
    from meshline.client import RemoteAdmissions
    from meshline.events.envelope import Actor
    from meshline.events.people_requests import AccessChangeRequested

__all__ = ["Because", "admissions", "seen_of"]

Because = Annotated[str, typer.Option(help="Why; it stands in the audit.")]


@asynccontextmanager
async def admissions(
    call: Call, reason: str | None = None
) -> AsyncIterator[Admissions | RemoteAdmissions]:
    """Who is let in.

    Who can write where keys are kept needs nobody's leave: where there is no log to tell it to, it
    is done all the same, and said that the audit has it not.

    Args:
        reason: for what is going to be done; a server takes no act without one. None: nothing is.
    """
    if call.given.server is not None:
        if reason == "":
            raise typer.BadParameter(
                "a server takes no such act without one: it stands in the audit",
                param_hint="--reason",
            )
        from meshline.client import RemoteAdmissions

        async with call.connection() as connection:
            yield RemoteAdmissions(connection)
        return
    from meshline.api.accounts import Accounts
    from meshline.api.admissions import Admissions
    from meshline.api.keys import ApiKeys

    keys, accounts = ApiKeys(call.place.views), Accounts(call.place.views)
    try:
        await keys.open()
        await accounts.open()
        yield Admissions(keys, accounts, lambda by, asked: _tell(call, by, asked))
    finally:
        await accounts.aclose()
        await keys.aclose()


async def _tell(call: Call, by: Actor, asked: AccessChangeRequested) -> None:
    from meshline.events.errors import MeshlineError
    from meshline.events.people_requests import ACCESS

    try:
        async with call.publisher() as publisher:
            await publisher.request(ACCESS, asked, actor=by)
    except MeshlineError as error:
        call.out.say(f"The audit will not have this: {error.message}")


def seen_of(row: Any) -> str:
    """Return what a key, a user or a session sees, in words."""
    limits = [*(row.workflows or ()), *(row.queues or ())]
    everything = row.workflows is None and row.queues is None
    return "all" if everything else ", ".join(limits) or "nothing"
