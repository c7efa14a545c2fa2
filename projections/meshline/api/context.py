"""What every route is handed: who asks, the views as they are or were, and the publisher."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from meshline.api.access import Permission, Principal, requires
from meshline.api.problems import Conflict
from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.events.requests import Request as AskedRequest
from meshline.projections.as_of import Moment
from meshline.projections.as_of_queries import ViewsAsOf
from meshline.projections.queries import Views
from meshline.projections.snapshots import KeptViews

__all__ = [
    "After",
    "Answered",
    "Approver",
    "AsOf",
    "Least",
    "Limit",
    "Operator",
    "Reader",
    "Services",
    "Source",
    "Using",
    "Wait",
    "ask",
    "invalid",
    "position_of",
    "services_of",
]

REACH_S = 5.0
"""How long a reader of its own write is kept waiting for the views."""

WAIT_S_MAX = 30.0
_POSITION = re.compile(r"(\d{1,9}):(\d{1,18})")

Reader = Annotated[Principal, Depends(requires(Permission.READ))]
Operator = Annotated[Principal, Depends(requires(Permission.OPERATE))]
Approver = Annotated[Principal, Depends(requires(Permission.APPROVE))]
Source = Annotated[Principal, Depends(requires(Permission.PUBLISH))]

Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]
After = Annotated[str | None, Query(description="`next` of the page before.")]
Wait = Annotated[
    float,
    Query(
        alias="wait_s", ge=0, le=WAIT_S_MAX,
        description="Seconds to wait for the decision; 0: answer as soon as it is in the log.",
    ),
]  # fmt: skip


class Services:
    """What the API stands on: all of one installation, opened and closed by who makes it.

    Args:
        kept: snapshots of the views, for lists of the past.
    """

    def __init__(
        self, log: EventLog, publisher: Publisher, views: Views, kept: KeptViews | None = None
    ) -> None:
        self.kept = kept
        self.publisher = publisher
        self.views = views
        self.log = log


def services_of(request: Request) -> Services:
    """Return what the API of the request stands on."""
    services: Services = request.app.state.services
    return services


Using = Annotated[Services, Depends(services_of)]


class Answered(BaseModel):
    """What became of a request. ``appended``: it is in the log, and nobody has decided yet.

    ``position`` is where the decision stands (else the request): sent as ``min_position``, it
    lets a list show what this led to.
    """

    status: Literal["appended", "accepted"]
    run_id: str
    position: str


class Least:
    """How far a view must have read before it answers; as a dependency."""

    def __init__(
        self,
        min_position: Annotated[
            str | None, Query(description="Not before the view has read this: see your own write.")
        ] = None,
    ) -> None:
        self._position = None if min_position is None else position_of(min_position, "min_position")

    async def reached(self, services: Services, view: str) -> None:
        """Return when the view has read so far.

        Raises:
            NotReached: not in time.
        """
        if self._position is not None:
            await services.views.reached([self._position], [view], timeout_s=REACH_S)


class AsOf:
    """Which moment a list is of: now, or a past one; as a dependency."""

    def __init__(
        self,
        least: Annotated[Least, Depends()],
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
    ) -> None:
        self.moment: Moment | None = None
        self._least = least
        if as_of is not None or as_of_position is not None:
            time = as_of if as_of is None or as_of.tzinfo else as_of.replace(tzinfo=UTC)
            parts = as_of_position.split(",") if as_of_position else ()
            positions = [position_of(part, "as_of_position") for part in parts]
            self.moment = Moment(time, by, dict(positions))

    @asynccontextmanager
    async def seen(self, services: Services, view: str) -> AsyncIterator[Views | ViewsAsOf]:
        """The views for a list.

        Raises:
            NotReached: the view has not read ``min_position`` in time.
        """
        await self._least.reached(services, view)
        if self.moment is None:
            yield services.views
        else:
            yield await ViewsAsOf.of_log(services.log, self.moment, services.kept)

    @asynccontextmanager
    async def seen_of(self, services: Services, begins: str) -> AsyncIterator[Views | ViewsAsOf]:
        """The views for one run: of the past from its own history, however long the log is.

        Raises:
            NotFound: there is no such run, or at the moment there was none yet.
            NotReached: as for ``seen``.
        """
        if self.moment is None:
            async with self.seen(services, "runs") as views:
                yield views
        else:
            yield await ViewsAsOf.of_run(services.views, begins, self.moment)


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


async def ask(
    services: Services, principal: Principal, run_id: str, asked: AskedRequest, wait_s: float
) -> Answered:
    """Append the request in the principal's name, and return what became of it.

    Raises:
        Conflict: it was refused; the refusal is in the run's history.
    """
    answer = await services.publisher.request(
        run_id, asked, actor=principal.actor, wait_s=wait_s or None
    )
    if answer.status == "rejected":
        raise Conflict(
            answer.reason or "Refused.",
            reason=answer.code or "refused",
            run_id=answer.run_id,
            position=str(answer.decided_at or answer.position),
        )
    at = answer.decided_at or answer.position
    return Answered(status=answer.status, run_id=answer.run_id, position=str(at))
