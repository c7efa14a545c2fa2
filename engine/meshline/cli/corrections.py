"""Corrections as they are typed, and what they would change, as it is shown before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import typer

from meshline.cli.errors import CommandRefused
from meshline.cli.tables import Column
from meshline.events.corrections import Correction, correction_typed

if TYPE_CHECKING:
    from meshline.projections.queries import Views

__all__ = ["CHANGES", "changes_of", "corrections_of", "differences_text", "json_text"]

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
    Column("is", lambda c: "" if c.what == "added" else json_text(c.before)),
    Column("would be", lambda c: "" if c.what == "removed" else json_text(c.after)),
)


def json_text(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def corrections_of(texts: list[str] | None) -> tuple[Correction, ...]:
    """Return the corrections that were typed, each as PLACE=JSON."""
    try:
        return tuple(map(correction_typed, texts or ()))
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--set") from None


def differences_text(corrected: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what corrections change, a line for each place."""
    for each in corrected:
        for change in each["changes"]:
            before = "nothing" if change["what"] == "added" else json_text(change["before"])
            after = "nothing" if change["what"] == "removed" else json_text(change["after"])
            yield f"{each['of']}{change['path']}: {before} → {after}"


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
