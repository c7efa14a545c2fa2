"""What every route is handed: the desk of who asks, and what a query says of moments and pages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Header, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict

from meshline.api.access import requires
from meshline.api.desk import Asking, Desk
from meshline.api.principals import Permission
from meshline.events.envelope import Position
from meshline.projections.as_of import Moment
from meshline.projections.as_of_queries import ViewsFolded
from meshline.projections.queries import Views

__all__ = [
    "After",
    "Ask",
    "AtLeast",
    "Body",
    "IfNoneMatch",
    "Limit",
    "Past",
    "Reader",
    "Wait",
    "invalid",
    "position_of",
    "utc",
]

REACH_S = 5.0
"""How long a reader of its own write is kept waiting for the views."""

WAIT_S_MAX = 30.0
_POSITION = re.compile(r"([0-9]{1,9}):([0-9]{1,18})")

Reader = Annotated[Desk, Depends(requires(Permission.READ))]

Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
After = Annotated[str | None, Query(description="`next` of the page before.")]
Wait = Annotated[
    float,
    Query(
        alias="wait_s", ge=0, le=WAIT_S_MAX,
        description="Seconds to wait for the decision; 0: answer as soon as it is in the log.",
    ),
]  # fmt: skip
IfNoneMatch = Annotated[
    str | None, Header(description="The ETag that is known: 304 if it is still so.")
]


class Body(BaseModel):
    """What is sent as JSON. A field that nobody knows is refused: it may be one mistyped."""

    model_config = ConfigDict(extra="forbid")


# Each dependency is a coroutine, though none waits: FastAPI runs any other in a thread, which costs
# a fifth of what a request takes.
async def _asking(
    wait_s: Wait = 10.0,
    if_match: Annotated[
        str | None, Header(description="The ETag of what you saw: 412 if it has changed since.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Asking again with it asks for nothing new, and is answered the same.",
        ),
    ] = None,
) -> Asking:
    return Asking(wait_s, if_match, idempotency_key)


Ask = Annotated[Asking, Depends(_asking)]


class Least:
    """How far a view must have read before it answers."""

    def __init__(self, min_position: str | None) -> None:
        self._position = None if min_position is None else position_of(min_position, "min_position")

    async def reached(self, desk: Desk, view: str) -> None:
        """Return when the view has read so far.

        Raises:
            NotReached: not in time.
        """
        if self._position is not None:
            await desk.views.reached([self._position], [view], timeout_s=REACH_S)


async def _least(
    min_position: Annotated[
        str | None, Query(description="Not before the view has read this: see your own write.")
    ] = None,
) -> Least:
    return Least(min_position)


AtLeast = Annotated[Least, Depends(_least)]


class AsOf:
    """Which moment a list is of: now, or a past one."""

    def __init__(self, least: Least, moment: Moment | None) -> None:
        self.moment = moment
        self.time = None if moment is None else moment.time
        self._least = least

    async def reached(self, desk: Desk, view: str) -> None:
        """Return when the view has read ``min_position``; see ``Least``."""
        await self._least.reached(desk, view)

    @asynccontextmanager
    async def seen(self, desk: Desk, view: str) -> AsyncIterator[Views]:
        """The views for a list.

        Raises:
            NotReached: the view has not read ``min_position`` in time.
        """
        await self._least.reached(desk, view)
        yield await desk.at(self.moment)

    @asynccontextmanager
    async def seen_of(self, desk: Desk, begins: str) -> AsyncIterator[Views]:
        """The views for one run: of the past from its own history, however long the log is.

        Raises:
            NotFound: there is no such run, or at the moment there was none yet.
            NotReached: as for ``seen``.
        """
        if self.moment is None:
            async with self.seen(desk, "runs") as views:
                yield views
        else:
            yield await ViewsFolded.of_run(desk.views, begins, self.moment)


async def _as_of(
    least: AtLeast,
    as_of: Annotated[
        datetime | None, Query(description="As it was at this time (UTC without a zone).")
    ] = None,
    by: Annotated[
        Literal["event", "recorded"],
        Query(description="Which time counts: when it happened, or was recorded."),
    ] = "event",
    as_of_position: Annotated[
        str | None, Query(description="As it was there in the log: `3:1234,4:99`.")
    ] = None,
) -> AsOf:
    if as_of is None and as_of_position is None:
        return AsOf(least, None)
    time = utc(as_of)
    parts = as_of_position.split(",") if as_of_position else ()
    positions = [position_of(part, "as_of_position") for part in parts]
    return AsOf(least, Moment(time, by, dict(positions)))


Past = Annotated[AsOf, Depends(_as_of)]


def utc(moment: datetime | None) -> datetime | None:
    """Return a moment of a query; UTC where no zone is given."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def position_of(text: str, field: str) -> Position:
    """Return the position that was sent.

    Raises:
        RequestValidationError: it is none.
    """
    found = _POSITION.fullmatch(text.strip())
    if found is None:
        raise invalid(("query", field), f"{text[:60]!r} is no position: expected PARTITION:OFFSET")
    return Position(int(found[1]), int(found[2]))


def invalid(where: tuple[str, ...], message: str) -> RequestValidationError:
    """Return the error for a field that can't be taken as it is."""
    return RequestValidationError([{"loc": where, "msg": message, "type": "value_error"}])
