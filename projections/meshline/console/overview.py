"""The first page: what comes in, what is open, what is late, and how far the views are."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from meshline.console.reading import Reader
from meshline.console.rendering import rendered
from meshline.events.clock import SystemClock
from meshline.projections.queries import OPEN_RUNS

__all__ = ["router"]

router = APIRouter()
INFLOW = timedelta(hours=24)
_clock = SystemClock()
STATES = [*OPEN_RUNS, "succeeded", "failed", "cancelled"]


@router.get("/")
async def overview(request: Request, visit: Reader) -> Response:
    """Show the whole."""
    now, views = _clock.now(), visit.views
    counts = await views.run_counts()
    return rendered(
        request,
        "overview.html",
        states=[(state, counts.get(state, 0)) for state in STATES],
        total=sum(counts.values()),
        flows=await views.source_flows(now - INFLOW),
        definitions=await views.workflows(),
        routes=await views.route_loads(now),
        late=await views.late_runs(now, limit=8),
        lags=[lag for lag in await views.lag(visit.services.log) if lag.state == "live"],
        approvals=await views.approvals(limit=5),
    )
