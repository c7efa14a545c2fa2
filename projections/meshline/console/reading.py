"""What all pages that read have in common: the visit, the moment, and one's own write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from meshline.api.context import position_of
from meshline.console.visit import Visit, sees
from meshline.console.words import moment_of
from meshline.projections.as_of import Moment
from meshline.projections.as_of_queries import ViewsFolded
from meshline.projections.errors import NotReached
from meshline.projections.queries import Views

__all__ = ["PAGE_ROWS", "Reader", "moment_asked", "reached", "seen_of", "show", "values_of"]

Reader = Annotated[Visit, Depends(sees())]
PAGE_ROWS = 50
REACH_S = 3.0


def moment_asked(request: Request) -> Moment | None:
    """Return the past moment that the address asks for; None: now."""
    time = moment_of(request.query_params.get("as_of"))
    if time is None:
        return None
    return Moment(time, "recorded" if request.query_params.get("by") == "recorded" else "event")


async def seen_of(visit: Visit, run: str, moment: Moment | None) -> Views:
    """Return the views, now or then, for one run."""
    return visit.views if moment is None else await ViewsFolded.of_run(visit.views, run, moment)


async def reached(request: Request, visit: Visit, *views: str) -> bool:
    """Wait until the views show what the form before has done; False if they don't in time."""
    at = request.query_params.get("at")
    return at is None or await show(visit, [at], *views)


async def show(visit: Visit, positions: Iterable[str], *views: str) -> bool:
    """Return whether the views show what stands at these positions, now or soon."""
    try:
        await visit.views.reached(
            [position_of(at, "at") for at in positions], views, timeout_s=REACH_S
        )
    except NotReached:
        return False
    return True


async def values_of(visit: Visit, row: Any, about: str) -> Mapping[str, Any]:
    """Return the row's fields as the principal may see them; who reads a payload is kept."""
    return await visit.desk.shown(row, about)
