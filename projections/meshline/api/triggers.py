"""Triggers over HTTP: publish one, and see what became of all."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from meshline.api.access import requires
from meshline.api.answers import list_of
from meshline.api.context import After, AtLeast, Body, Limit, Reader, Wait, invalid, utc
from meshline.api.desk import Desk
from meshline.api.principals import Permission
from meshline.api.problems import FieldError, TriggerRefused, documented
from meshline.events.publish import Trigger
from meshline.events.requests import TriggerReceived
from meshline.projections.triggers_view import TriggerRow

__all__ = ["Published", "router"]

router = APIRouter(prefix="/v1", tags=["triggers"])


BATCH_MAX = 1_000


class Published(BaseModel):
    """What became of a trigger: it is run ``run_id``, now or (``repeated``) already.

    ``appended``: it is in the log for good, and no worker has decided yet. ``position`` is where
    the decision stands (else the trigger): sent as ``min_position``, it lets a list show the run.
    """

    status: Literal["appended", "accepted", "repeated"]
    repeated: bool
    source: str
    trigger_id: str
    run_id: str
    position: str


_BODY = {
    "required": True,
    "description": "The trigger's payload: any JSON value that the workflow's trigger takes.",
    "content": {"application/json": {"schema": {}}},
}


@router.post(
    "/triggers",
    status_code=202,
    responses=documented(411, 413, 415, 422),
    openapi_extra={"requestBody": _BODY},
)
async def publish_trigger(
    request: Request,
    desk: Annotated[Desk, Depends(requires(Permission.PUBLISH, TriggerReceived))],
    source: Annotated[str, Query(description="Where it comes from: `web.forms`.")],
    trigger_id: Annotated[
        str | None, Query(alias="id", description="The source's own id of it.")
    ] = None,
    trigger_type: Annotated[
        str, Query(alias="type", description="Needed only where a source starts several workflows.")
    ] = "",
    time: Annotated[
        datetime | None, Query(description="When it happened, if that was not now.")
    ] = None,
    idempotency_key: Annotated[
        str | None, Header(description="Taken as the id where `id` is not given.")
    ] = None,
    traceparent: Annotated[str | None, Header()] = None,
    wait_s: Wait = 10.0,
) -> Published:
    """Publish a trigger: the body is its payload, as JSON.

    The same source and id can only ever be one run: sending it again is safe, and answered with
    `repeated`. What is refused is kept in the log, with the reason, and can be mended there.
    """
    desk.check_source(source)
    identity = trigger_id or idempotency_key
    if identity is None:
        raise invalid(("query", "id"), "expected the source's own id, here or as Idempotency-Key")
    if time is not None and time.tzinfo is None:
        raise invalid(("query", "time"), "expected a time with its zone")
    answer = await desk.services.publisher.publish_raw(
        source,
        await request.body(),
        trigger_id=identity,
        trigger_type=trigger_type,
        time=time,
        traceparent=traceparent,
        actor=desk.principal.actor,
        wait_s=wait_s or None,
    )
    if answer.status == "rejected":
        raise TriggerRefused(
            answer.reason or "Refused.",
            reason=answer.code or "refused",
            run_id=answer.run_id,
            position=str(answer.decided_at or answer.position),
            errors=[FieldError(pointer=p.pointer, message=p.message) for p in answer.problems],
        )
    return Published(
        status=answer.status,
        repeated=answer.status == "repeated",
        source=answer.source,
        trigger_id=answer.trigger_id,
        run_id=answer.run_id,
        position=str(answer.decided_at or answer.position),
    )


class OneOfMany(Body):
    """A trigger of a batch; see publishing one."""

    id: str = Field(min_length=1)
    payload: Any
    type: str = ""
    time: AwareDatetime | None = None


class Batch(Body):
    """Triggers of one source."""

    triggers: list[OneOfMany] = Field(min_length=1, max_length=BATCH_MAX)


class OneAnswered(BaseModel):
    """What became of one of them; ``code`` and ``reason`` say why it was rejected."""

    status: Literal["appended", "accepted", "repeated", "rejected"]
    trigger_id: str
    run_id: str
    position: str
    code: str | None = None
    reason: str = ""


class BatchAnswered(BaseModel):
    """All of them, in their order."""

    items: list[OneAnswered]


@router.post("/trigger-batches", status_code=202, responses=documented(411, 413, 415, 422))
async def publish_triggers(
    desk: Annotated[Desk, Depends(requires(Permission.PUBLISH, TriggerReceived))],
    source: Annotated[str, Query(description="Where they come from: `web.forms`.")],
    body: Batch,
    wait_s: Wait = 0.0,
) -> BatchAnswered:
    """Publish up to 1,000 triggers of a source at once: much cheaper than one by one.

    Each is answered for itself: one that is refused keeps back no other. If the whole has no
    answer, send the whole again: the same id is the same run.
    """
    desk.check_source(source)
    triggers = (
        Trigger(source, t.payload, t.id, t.type, t.time, actor=desk.principal.actor)
        for t in body.triggers
    )
    answers = desk.services.publisher.publish_many(triggers, wait_s=wait_s or None)
    return BatchAnswered(
        items=[
            OneAnswered(
                status=a.status,
                trigger_id=a.trigger_id,
                run_id=a.run_id,
                position=str(a.decided_at or a.position),
                code=a.code,
                reason=a.reason,
            )
            async for a in answers
        ]
    )


@router.get("/triggers", response_model=list_of(TriggerRow), responses=documented(404, 422))
async def list_triggers(
    desk: Reader,
    least: AtLeast,
    status: Annotated[
        list[Literal["received", "accepted", "repeated", "rejected"]] | None, Query()
    ] = None,
    source: str | None = None,
    trigger_id: Annotated[str | None, Query(alias="id")] = None,
    run_id: str | None = None,
    since: Annotated[
        datetime | None, Query(description="Received then or later (UTC without a zone).")
    ] = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List triggers, the newest first, with what became of each and why."""
    await least.reached(desk, "triggers")
    page = await desk.views.triggers(
        statuses=status, source=source, trigger_id=trigger_id, run_id=run_id,
        since=utc(since), limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "triggers")
