"""Corrections as they are typed, and what they would change, as it is shown before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import typer

from meshline.cli.asking import json_value
from meshline.cli.errors import CommandRefused
from meshline.cli.tables import Column
from meshline.events.corrections import Correction

if TYPE_CHECKING:
    from meshline.projections.queries import Views

__all__ = ["CHANGES", "changes_of", "correction_typed"]

_SHOWN_MAX = 120


class ChangeSeen(NamedTuple):
    """One place in a value of a run that would become another."""

    run_id: str
    place: str
    what: str
    before: Any
    after: Any


CHANGES = (
    Column("place", lambda c: c.place, whole=True),
    Column("what", lambda c: c.what),
    Column("is", lambda c: "" if c.what == "added" else _json(c.before)),
    Column("would be", lambda c: "" if c.what == "removed" else _json(c.after)),
)


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def correction_typed(text: str) -> Correction:
    """Return the correction that was typed as PLACE=JSON."""
    place, equals, value = text.partition("=")
    of, slash, path = place.partition("/")
    if not equals or not of:
        raise typer.BadParameter(
            f"{text!r} is no correction: expected PLACE=JSON, such as trigger/company='\"Acme\"'",
            param_hint="--set",
        )
    return Correction(of=of, path=slash + path, value=json_value(value, "--set"))


async def changes_of(
    views: Views, run_id: str, corrections: tuple[Correction, ...]
) -> list[ChangeSeen]:
    """Return what the corrections would change in the run as it is now.

    Raises:
        CommandRefused: there is no such place, or what was said is not shown to who asks.
    """
    from meshline.projections.run_values import previewed, values_in, whole_history

    history = await whole_history(views, run_id)
    if any(row.data is None for row in history):
        raise CommandRefused(
            f"The server shows the history of run {run_id} without what was said, and what is to "
            "be corrected stands in that: expected a key that may read payloads. Take one that may."
        )
    try:
        found = previewed(values_in(history), corrections)
    except ValueError as error:
        raise CommandRefused(f"It can't be corrected so: {error}. Nothing was asked.") from None
    return [
        ChangeSeen(run_id, f"{each.of}{change.path}", change.what, change.before, change.after)
        for each in found
        for change in each.changes
    ]
