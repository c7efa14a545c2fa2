"""A past moment as it is typed, and the views as of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from meshline.cli.call import Call
    from meshline.projections.as_of import Moment
    from meshline.projections.queries import Views

__all__ = ["By", "looked_at", "moment_typed", "run_seen", "seen", "time_typed"]

_POSITION = re.compile(r"(\d{1,9}):(\d{1,18})")


class By(StrEnum):
    """Which of an event's two times ``--as-of`` means."""

    event = "event"
    recorded = "recorded"


def moment_typed(as_of: str | None, position: str | None, by: By | None) -> Moment | None:
    """Return the moment that the three options say together, None where they say nothing."""
    if as_of is None and position is None:
        if by is not None:
            raise typer.BadParameter(
                "expected --as-of too, which tells the time", param_hint="--by"
            )
        return None
    from meshline.projections.as_of import Moment

    return Moment(
        None if as_of is None else time_typed(as_of, "--as-of"),
        (by or By.event).value,
        {} if position is None else _offsets(position),
    )


def time_typed(text: str, option: str) -> datetime:
    """Return the time that was typed, in UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f'{text!r} is no time: expected "2026-11-17 14:05" (UTC) or '
            '"2026-11-17T14:05:00+01:00"',
            param_hint=option,
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _offsets(text: str) -> dict[int, int]:
    parts = [_POSITION.fullmatch(part.strip()) for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(
            f"{text!r} is no position: expected PARTITION:OFFSET, or several with commas, as "
            "`run history --full` shows them",
            param_hint="--as-of-position",
        )
    return {int(part[1]): int(part[2]) for part in parts if part}


def masked(views: Views, now: Views) -> Views:
    """Return views that show no secrets: here nobody keeps who reads them.

    Args:
        now: the views as they are now, where definitions are.
    """
    from meshline.projections.masked_views import MaskedViews

    return cast("Views", MaskedViews(views, now))


@asynccontextmanager
async def seen(call: Call) -> AsyncIterator[Views]:
    """The views for lists: as they are, or as they were at the moment that was typed."""
    # A server is told the moment, and looks back itself.
    if call.moment is None or call.given.server is not None:
        async with call.views() as views:
            yield views
        return
    from meshline.projections.as_of_queries import views_at

    async with call.whole_views() as now, call.log() as log, call.kept() as kept:
        yield masked(await views_at(now, call.moment, log, kept), now)


@asynccontextmanager
async def run_seen(call: Call, begins: str) -> AsyncIterator[Views]:
    """The views for one run: as they are, or its own events folded up to the moment."""
    if call.moment is None or call.given.server is not None:
        async with call.views() as views:
            yield views
        return
    from meshline.projections.as_of_queries import ViewsFolded

    async with call.whole_views() as now:
        yield masked(await ViewsFolded.of_run(now, begins, call.moment), now)


def looked_at(call: Call) -> datetime:
    """Return the time from which ages are counted: the moment's own, or now."""
    past = None if call.moment is None else call.moment.time
    return past or call.clock.now()
