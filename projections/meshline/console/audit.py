"""Who asked for what, what came of it, what was refused, who read payloads; also as files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.audit import AuditFilter, ReadingFilter, audited, export, export_readings
from meshline.api.principals import Permission
from meshline.console.reading import PAGE_ROWS
from meshline.console.rendering import rendered
from meshline.console.visit import Visit, sees
from meshline.console.words import moment_of
from meshline.projections.audit_view import ACTIONS

__all__ = ["router"]

router = APIRouter()
Format = Annotated[Literal["csv", "jsonl"], Query(alias="format")]
Auditor = Annotated[Visit, Depends(sees(Permission.AUDIT))]
FIELDS = ("actor", "action", "status", "workflow", "run", "since", "until")
OF_READINGS = ("actor", "workflow", "run", "since", "until")


def _meant(asked: dict[str, str]) -> AuditFilter:
    action, status = asked["action"], asked["status"]
    return AuditFilter(
        actor=asked["actor"] or None,
        actions=[action] if action in ACTIONS else None,
        status=status if status in ("asked", "refused") else None,
        workflow=asked["workflow"] or None,
        run_id=asked["run"] or None,
        since=moment_of(asked["since"]),
        until=moment_of(asked["until"]),
    )


def _read(asked: dict[str, str]) -> ReadingFilter:
    return ReadingFilter(
        actor=asked["actor"] or None,
        workflow=asked["workflow"] or None,
        run_id=asked["run"] or None,
        since=moment_of(asked["since"]),
        until=moment_of(asked["until"]),
    )


def _asked(request: Request, fields: Sequence[str] = FIELDS) -> dict[str, str]:
    return {name: request.query_params.get(name, "").strip()[:300] for name in fields}


@router.get("/audit")
async def list_audit(
    request: Request, visit: Auditor, after: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    """List what was asked for, the newest first."""
    asked = _asked(request)
    items, following = await audited(
        visit.views, _meant(asked), limit=PAGE_ROWS, after=after or None
    )
    definitions = await visit.views.workflows()
    return rendered(
        request,
        "audit.html",
        items=items,
        next=following,
        after=after,
        filters=asked,
        all_actions=ACTIONS,
        workflows=sorted({each.workflow for each in definitions}),
    )


@router.get("/audit/export")
async def export_audit(
    request: Request,
    visit: Auditor,
    form: Format = "csv",
) -> Response:
    """Send all that the filters find as a file."""
    return export(visit.views, _meant(_asked(request)), form)


@router.get("/audit/readings")
async def list_readings(
    request: Request, visit: Auditor, after: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    """List who read payloads, the last first."""
    asked = _asked(request, OF_READINGS)
    page = await visit.views.readings(
        **_read(asked)._asdict(), limit=PAGE_ROWS, after=after or None
    )
    definitions = await visit.views.workflows()
    return rendered(
        request,
        "readings.html",
        page=page,
        after=after,
        filters=asked,
        workflows=sorted({each.workflow for each in definitions}),
    )


@router.get("/audit/readings/export")
async def export_of_readings(request: Request, visit: Auditor, form: Format = "csv") -> Response:
    """Send all that the filters find as a file."""
    return export_readings(visit.views, _read(_asked(request, OF_READINGS)), form)
