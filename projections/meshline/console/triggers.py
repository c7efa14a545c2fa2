"""Triggers and sources: what came in, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from meshline.console.reading import PAGE_ROWS, Reader
from meshline.console.rendering import rendered
from meshline.console.words import moment_of
from meshline.events.clock import SystemClock

__all__ = ["router"]

router = APIRouter()
STATUSES = ["received", "accepted", "repeated", "rejected"]
INFLOW = timedelta(hours=24)
_clock = SystemClock()
Text = Annotated[str, Query(max_length=300)]


@router.get("/triggers")
async def list_triggers(
    request: Request,
    visit: Reader,
    status: Annotated[list[str] | None, Query()] = None,
    source: Text = "",
    trigger_id: Annotated[str, Query(alias="id", max_length=300)] = "",
    since: Text = "",
    after: Text = "",
) -> Response:
    """List sources, and triggers, the newest first."""
    statuses = [each for each in STATUSES if each in (status or ())]
    page = await visit.views.triggers(
        statuses=statuses or None, source=source or None, trigger_id=trigger_id or None,
        since=moment_of(since), limit=PAGE_ROWS, after=after or None,
    )  # fmt: skip
    definitions = await visit.views.workflows()
    flows = {flow.source: flow for flow in await visit.views.source_flows(_clock.now() - INFLOW)}
    sources = sorted({*flows, *(each.source for each in definitions)})
    items = (await visit.desk.page(page, "triggers"))["items"]
    return rendered(
        request,
        "triggers.html",
        triggers=[*zip(page.rows, items, strict=True)],
        next=page.next,
        after=after,
        sources=[
            (name, flows.get(name), sorted({d.workflow for d in definitions if d.source == name}))
            for name in sources
        ],
        filters={"status": statuses, "source": source, "id": trigger_id, "since": since},
        all_statuses=STATUSES,
        today=_clock.now().strftime("%Y-%m-%dT00:00"),
    )
