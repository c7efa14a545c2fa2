"""Who asked for what, when and why, what came of it, and what was refused; also as a file."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.audit import AuditFilter, audited, export
from meshline.api.principals import Permission
from meshline.console.reading import PAGE_ROWS
from meshline.console.rendering import rendered
from meshline.console.visit import Visit, sees
from meshline.console.words import moment_of
from meshline.projections.audit_view import ACTIONS

__all__ = ["router"]

router = APIRouter()
Auditor = Annotated[Visit, Depends(sees(Permission.AUDIT))]
FIELDS = ("actor", "action", "status", "workflow", "run", "since", "until")


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


def _asked(request: Request) -> dict[str, str]:
    return {name: request.query_params.get(name, "").strip()[:300] for name in FIELDS}


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
    form: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
) -> Response:
    """Send all that the filters find as a file."""
    return export(visit.views, _meant(_asked(request)), form)
