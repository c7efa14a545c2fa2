"""What tells an open page that it is out of date: server-sent events, and nothing else by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from meshline.api.changes import KINDS
from meshline.console.reading import Reader

__all__ = ["router"]

router = APIRouter()

FOR_S_MAX = 60.0
"""Then the stream ends, and the browser comes again: a session that is over learns it by that."""


@router.get("/changes")
async def follow_changes(
    visit: Reader,
    for_s: Annotated[float, Query(ge=0, le=FOR_S_MAX)] = FOR_S_MAX,
    last_event_id: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """Tell what changes of what the visitor may see, as the views come to show it."""
    changes = visit.services.changes
    changes.check_room()

    async def told() -> AsyncIterator[bytes]:
        async for text in changes.stream(visit.views, [*KINDS], last_event_id, for_s):
            yield text or b": still here\n\n"

    return StreamingResponse(
        told(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
