"""Owners and queues: who has what open; and views: how far they are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.reading import Reader, moment_asked
from meshline.console.rendering import rendered

__all__ = ["router"]

router = APIRouter()


@router.get("/owners")
async def list_owners(request: Request, visit: Reader) -> Response:
    """List who has something open, those with the most first."""
    moment = moment_asked(request)
    views = await visit.desk.at(moment)
    return rendered(request, "owners.html", owners=await views.owners(), moment=moment)


@router.get("/views")
async def list_views(request: Request, visit: Reader) -> Response:
    """List every build of every view, and how far it is behind the log."""
    statuses = {(s.name, s.version, s.build): s for s in await visit.views.status()}
    lags = await visit.views.lag(visit.services.log)
    is_keeper = visit.may(Permission.KEEP_VIEWS) and visit.principal.scope is None
    return rendered(
        request,
        "views.html",
        views=[(lag, statuses.get((lag.name, lag.version, lag.build))) for lag in lags],
        log=visit.services.log.address,
        is_keeper=is_keeper and visit.services.views_at is not None,
    )
