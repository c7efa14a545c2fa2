"""A stream of changes over HTTP, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from meshline.api.access import is_still_known
from meshline.api.changes import KINDS
from meshline.api.context import Reader
from meshline.api.problems import documented

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["live"])

FOR_S_MAX = 3_600.0

_STREAM = {
    "description": "Events `run`, `exception`, `task` and `approval`: the ids of what changed.",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "properties": {
                    "event": {"enum": ["run", "exception", "task", "approval", "reset"]},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                    "id": {"type": "string"},
                    "retry": {"type": "integer"},
                },
            }
        }
    },
}


@router.get(
    "/changes", response_class=StreamingResponse, responses={**documented(422), 200: _STREAM}
)
async def follow_changes(
    request: Request,
    desk: Reader,
    kind: Annotated[
        list[Literal["run", "exception", "task", "approval"]] | None, Query(description="Else all.")
    ] = None,
    for_s: Annotated[
        float, Query(ge=0, le=FOR_S_MAX, description="Then the stream ends; come again.")
    ] = FOR_S_MAX,
    last_event_id: Annotated[
        str | None, Header(description="Go on behind this one; browsers send it by themselves.")
    ] = None,
) -> StreamingResponse:
    """Tell what changes as the views come to show it: look at it again then.

    An event `reset` says that more was missed than is told: read what is shown anew. A comment
    comes now and then as a sign of life; a key that counts no more ends the stream.
    """
    changes = desk.services.changes
    changes.check_room()

    async def told() -> AsyncIterator[bytes]:
        async for text in changes.stream(desk.views, kind or [*KINDS], last_event_id, for_s):
            if text:
                yield text
            elif await is_still_known(request):
                yield b": still here\n\n"
            else:
                return

    return StreamingResponse(
        told(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
