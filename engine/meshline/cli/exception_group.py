"""``meshline exception group``: what has one cause, and saying that it is mended, or not."""

from __future__ import annotations

from typing import Annotated

import typer

from meshline.cli.as_of import looked_at, seen
from meshline.cli.call import Call, command, group
from meshline.cli.everywhere import ask_everywhere
from meshline.cli.exception_text import group_text
from meshline.events.requests import CauseActionRequested

__all__ = ["app"]

app = group("A group of exceptions: what has one cause is mended, or comes back.")

Cause = Annotated[str, typer.Argument(metavar="CAUSE", help="As `exception groups` names it.")]
Why = Annotated[str, typer.Option(help="Why; it stands in the log.")]


@command(app, past=True)
async def show(call: Call, cause: Cause) -> None:
    """Show a group: what caused it, what it strikes, whether it goes on, and what can be done.

    \b
    Examples:
      meshline exception group show 3fa94c01b2d7
      meshline exception group show 3fa94c01b2d7 --as-of "2026-11-17 14:05"
    """
    now = looked_at(call)
    async with seen(call) as views:
        found = await views.cause(cause, now)
    data = found._asdict() | {
        "group": found.group._asdict(),
        "hits": [hit._asdict() for hit in found.hits],
        "opened": [each._asdict() for each in found.opened],
    }
    call.out.thing(data, lambda: group_text(found, now))


@command(app, asks=True)
async def resolve(
    call: Call,
    cause: Cause,
    in_version: Annotated[
        int, typer.Option(min=1, help="The version of the workflow from which on it is mended.")
    ],
    reason: Why,
) -> None:
    """Say that the cause is mended from a version of the workflow on.

    Comes it again in a run of that version or a later one, the group is reopened; a run of an older
    version may still have it. Exceptions that are open stay open: retry them when it is mended.
    Every partition is asked, and tells by its own order what came before and what after.

    \b
    Examples:
      meshline exception group resolve 3fa94c01b2d7 --in-version 4 --reason "retries the ledger"
    """
    await _known(call, cause)
    request = CauseActionRequested(
        cause=cause, action="resolve", in_version=in_version, reason=reason
    )
    await ask_everywhere(call, "causes", request)


@command(app, asks=True)
async def reopen(call: Call, cause: Cause, reason: Why) -> None:
    """Say that it is not mended after all.

    \b
    Examples:
      meshline exception group reopen 3fa94c01b2d7 --reason "only in the tests"
    """
    await _known(call, cause)
    request = CauseActionRequested(cause=cause, action="reopen", reason=reason)
    await ask_everywhere(call, "causes", request)


async def _known(call: Call, cause: str) -> None:
    """Refuse a cause of which there is no exception: it was mistyped."""
    from meshline.projections.errors import NotFound

    async with call.views() as views:
        page = await views.exceptions(states=None, cause=cause, limit=1)
    if not page.rows:
        raise NotFound(
            f"No exception has the cause {cause!r}: expected one of those that "
            "`meshline exception groups --all` lists."
        )
