"""Who asked for what, when and why, what was refused, and who read payloads: lists and files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from meshline.api.access import requires
from meshline.api.answers import ListOf, item_of, list_of
from meshline.api.context import After, AtLeast, Limit, invalid, utc
from meshline.api.desk import Desk
from meshline.api.exports import MEDIA_TYPES, as_csv, as_jsonl
from meshline.api.principals import Permission
from meshline.api.problems import documented
from meshline.projections.audit_view import ACTIONS, AuditRow
from meshline.projections.pages import LIMIT_MAX
from meshline.projections.queries import Views
from meshline.projections.readings import ReadingRow

__all__ = ["AuditFilter", "ReadingFilter", "audited", "export", "export_readings", "router"]

router = APIRouter(prefix="/v1/audit", tags=["looking after"])
Auditor = Annotated[Desk, Depends(requires(Permission.AUDIT))]
Text = Annotated[str | None, Query(max_length=300)]
COLUMNS = (
    *("recorded_at", "time", "actor_kind", "actor", "action", "what", "about", "run_id", "reason"),
    *("status", "led_to", "code", "refusal", "partition", "log_offset", "event_id"),
)
Items = list[Mapping[str, Any]]


class AuditFilter(NamedTuple):
    """Which of it is meant; all that is given must hold."""

    actor: str | None = None
    actions: Sequence[str] | None = None
    status: str | None = None
    workflow: str | None = None
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class ReadingFilter(NamedTuple):
    """Which readings of payloads are meant; all that is given must hold."""

    actor: str | None = None
    workflow: str | None = None
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditItem(item_of(AuditRow)):  # type: ignore[misc]  # a model that is made of the row
    """``led_to`` is the type of the first fact that answers it; None: none yet, or a refusal."""

    led_to: str | None


async def audited(
    views: Views, meant: AuditFilter, *, limit: int, after: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of what was asked for, with what it led to, and what the next begins after."""
    page = await views.audit(**meant._asdict(), limit=limit, after=after)
    answers = await views.led_to(page.rows)
    items = [
        row._asdict() | {"led_to": answers.get((row.run_id, f"{row.partition}:{row.log_offset}"))}
        for row in page.rows
    ]
    return items, page.next


def export(views: Views, meant: AuditFilter, kind: Literal["csv", "jsonl"]) -> StreamingResponse:
    """Return all of it as a file, sent as it is read."""

    async def some(after: str | None) -> tuple[Items, str | None]:
        items, following = await audited(views, meant, limit=LIMIT_MAX, after=after)
        return [*items], following

    return _file("audit", COLUMNS, some, kind)


def export_readings(
    views: Views, meant: ReadingFilter, kind: Literal["csv", "jsonl"]
) -> StreamingResponse:
    """Return who read payloads as a file, sent as it is read."""

    async def some(after: str | None) -> tuple[Items, str | None]:
        page = await views.readings(**meant._asdict(), limit=LIMIT_MAX, after=after)
        items: Items = [row._asdict() for row in page.rows]
        if kind == "csv":
            lists = ("run_ids", "positions")
            items = [{**each, **{name: " ".join(each[name]) for name in lists}} for each in items]
        return items, page.next

    return _file("payload-readings", ReadingRow._fields, some, kind)


def _file(
    name: str,
    columns: Sequence[str],
    some_of: Callable[[str | None], Awaitable[tuple[Items, str | None]]],
    kind: Literal["csv", "jsonl"],
) -> StreamingResponse:
    async def all_of_it() -> AsyncIterator[Items]:
        after = None
        while True:
            items, after = await some_of(after)
            yield items
            if after is None:
                return

    body = as_csv(columns, all_of_it()) if kind == "csv" else as_jsonl(all_of_it())
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{kind}"', "Cache-Control": "no-store"
    }  # fmt: skip
    return StreamingResponse(body, media_type=MEDIA_TYPES[kind], headers=headers)


_Run = Annotated[str | None, Query(max_length=300, description="Its whole id.")]
_Since = Annotated[
    datetime | None, Query(description="Recorded then or later (UTC without a zone).")
]
_Until = Annotated[datetime | None, Query(description="Recorded before then.")]
_Format = Annotated[Literal["csv", "jsonl"], Query(alias="format")]


async def _meant(
    actor: Text = None,
    action: Annotated[list[str] | None, Query(description=f"Some of {', '.join(ACTIONS)}.")] = None,
    status: Literal["asked", "refused"] | None = None,
    workflow: Text = None,
    run: _Run = None,
    since: _Since = None,
    until: _Until = None,
) -> AuditFilter:
    for each in action or ():
        if each not in ACTIONS:
            raise invalid(
                ("query", "action"),
                f"{each[:60]!r} is nothing that is asked for: expected some of "
                f"{', '.join(ACTIONS)}",
            )
    return AuditFilter(actor, action, status, workflow, run, utc(since), utc(until))


async def _readings_meant(
    actor: Text = None,
    workflow: Text = None,
    run: _Run = None,
    since: _Since = None,
    until: _Until = None,
) -> ReadingFilter:
    return ReadingFilter(actor, workflow, run, utc(since), utc(until))


Meant = Annotated[AuditFilter, Depends(_meant)]
ReadingsMeant = Annotated[ReadingFilter, Depends(_readings_meant)]


@router.get("", response_model=ListOf[AuditItem], responses=documented(404, 422))
async def list_audit(
    desk: Auditor, least: AtLeast, meant: Meant, limit: Limit = 50,
    after: After = None,
) -> Any:  # fmt: skip
    """Tell who asked for what, when and why, what came of it, and what was refused.

    The newest first. Triggers, and what programs report of steps, stand here only where they were
    refused.
    """
    await least.reached(desk, "audit")
    items, following = await audited(desk.views, meant, limit=limit, after=after)
    return {"items": items, "next": following}


_FILES: Any = {
    200: {
        "description": "All of it, as it is read.",
        "content": {media: {"schema": {"type": "string"}} for media in MEDIA_TYPES.values()},
    }
}


@router.get("/export", response_class=StreamingResponse, responses=documented(422) | _FILES)
async def export_audit(desk: Auditor, meant: Meant, form: _Format) -> StreamingResponse:
    """Send the whole list as a file; a cell that begins like a formula is quoted in CSV."""
    return export(desk.views, meant, form)


@router.get("/readings", response_model=list_of(ReadingRow), responses=documented(404, 422))
async def list_readings(
    desk: Auditor, meant: ReadingsMeant, limit: Limit = 50, after: After = None
) -> Any:
    """Tell who read payloads, of which runs and events and when: one line for each answer."""
    page = await desk.views.readings(**meant._asdict(), limit=limit, after=after)
    return await desk.page(page, "readings")


@router.get(
    "/readings/export", response_class=StreamingResponse, responses=documented(422) | _FILES
)
async def export_payload_readings(
    desk: Auditor, meant: ReadingsMeant, form: _Format
) -> StreamingResponse:
    """Send the whole list as a file, as of the audit."""
    return export_readings(desk.views, meant, form)
