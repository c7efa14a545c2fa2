"""How runs are named at the command line: by id, by its beginning, or by their trigger."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.events.ids import run_id_of

if TYPE_CHECKING:
    from meshline.cli.call import Call
    from meshline.projections.queries import Views

__all__ = ["APPEAR_S", "RunId", "existing", "is_whole", "typed_run", "whole_id"]

RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Its id or the beginning of it, or SOURCE/ID of its trigger."
    ),
]

APPEAR_S = 2.0
"""How long a run that is named in full is waited for: the views may be a moment behind."""

_WHOLE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POLL_S = 0.1


def typed_run(text: str) -> str:
    """Return a run as the views know it: an id or its beginning; ``SOURCE/ID`` is its trigger."""
    source, slash, trigger_id = text.partition("/")
    return run_id_of(source, trigger_id) if slash else text


def is_whole(run_id: str) -> bool:
    """Whether it is a whole id, and not only the beginning of one."""
    return _WHOLE.fullmatch(run_id) is not None


async def whole_id(call: Call, text: str) -> str:
    """Return the id of the run that was typed; one that is named in full is not looked up.

    Raises:
        NotFound: there is none, or more than one.
    """
    begins = typed_run(text)
    if is_whole(begins):
        return begins
    async with call.views() as views:
        return (await views.run(begins)).run_id


async def existing(views: Views, text: str, *, wait_s: float = APPEAR_S) -> str:
    """Return the id of a run that the views hold, waiting for one that is named in full.

    Raises:
        NotFound: there is none, or more than one.
    """
    from meshline.projections.errors import NotFound

    begins = typed_run(text)
    give_up = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return (await views.run(begins)).run_id
        except NotFound:
            late = asyncio.get_running_loop().time() >= give_up
            if late or not is_whole(begins):
                raise
        await asyncio.sleep(_POLL_S)
