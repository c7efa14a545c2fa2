"""``meshline view parked``: what a view could not take in, why, and what waits behind it."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.call import Call
from meshline.cli.words import clock_time, prompt_name

if TYPE_CHECKING:
    from meshline.projections.poison import ParkedKey

__all__ = ["parked", "parked_text"]

_TYPEABLE = re.compile(r"[\w.:@/][\w.:@/-]*", re.ASCII)
"""A key that a shell takes as it stands."""


async def parked(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The view.")],
    key: Annotated[
        str | None, typer.Option(help="Only keys that begin so; for most views a run's id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many keys.")] = 50,
) -> None:
    """Show what a view could not apply: where it stands in the log, the error and its stack.

    Such an event stops its own key in this view, and no other key and no other view. Once its
    cause is gone `meshline view retry` applies it; `meshline view skip` leaves it out for good. To
    take it in with other code, build the view anew: `meshline view rebuild NAME`.

    \b
    Examples:
      meshline view parked ownership
      meshline view parked ownership --key 1f0c2a9b
      meshline view parked ownership --output jsonl | jq -r .error | sort | uniq -c
    """
    from meshline.projections.poison import parked_keys

    found = await parked_keys(call.place.views, name, key=key, limit=limit)
    with call.out.stream() as emit:
        for each in found:
            emit(each, parked_text(each))
    if not found:
        call.out.say(f"Nothing is parked in {name}.")


def parked_text(parked: ParkedKey) -> str:
    """Return a parked key for people: its event first, then why, then where in the code."""
    build = "" if parked.build == 1 else f" build {parked.build}"
    lines = [
        f"{parked.key}  in v{parked.version}{build} ({parked.state})",
        f"  event   {parked.event_type} at {parked.position}, {parked.why} "
        f"{clock_time(parked.parked_at)}",
    ]
    if parked.behind:
        lines.append(f"  behind  {parked.behind:,} later events, up to {parked.last}")
    elif not parked.stops:
        lines.append("  behind  nothing: it was left out, and no row depends on it")
    lines.append(f"  error   {parked.error}")
    if parked.stack:
        lines.append(textwrap.indent(parked.stack.rstrip(), "    "))
    lines += [f"  {word:<8}{command}" for word, command in _next(parked)]
    return "\n".join(lines) + "\n"


def _next(parked: ParkedKey) -> tuple[tuple[str, str], ...]:
    view = f"{prompt_name()} view"
    which = f"{parked.name} --key {parked.key}"
    if not _TYPEABLE.fullmatch(parked.key):
        which = f"{parked.name} --at {parked.position}"
    return (
        ("retry", f"{view} retry {which}"),
        ("skip", f'{view} skip {which} --reason "…"'),
    )
