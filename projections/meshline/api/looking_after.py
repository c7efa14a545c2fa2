"""Workflows and views over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from meshline.api.answers import item_of, list_of
from meshline.api.context import After, Limit, Reader
from meshline.api.problems import documented
from meshline.projections.errors import NotFound
from meshline.projections.lag import ViewLag
from meshline.projections.pages import page_of_all
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["looking after"])


@router.get("/workflows", response_model=list_of(WorkflowRow), responses=documented(404, 422))
async def list_workflows(desk: Reader, limit: Limit = 50, after: After = None) -> Any:
    """List every registered definition, with its five answers and its graph."""
    page = page_of_all(
        await desk.views.workflows(), lambda w: [w.workflow, w.version, w.spec_hash],
        kinds=[str, int, str], limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "workflows")


@router.get(
    "/workflows/{workflow}", response_model=item_of(WorkflowRow), responses=documented(404, 422)
)
async def show_workflow(
    desk: Reader, workflow: str, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Any:
    """Show a definition with its graph (`spec`): the newest version, or the one that is named."""
    found = [
        row
        for row in await desk.views.workflows()
        if row.workflow == workflow and version in (None, row.version)
    ]
    if not found:
        raise NotFound(
            f"There is no workflow {workflow[:60]!r}{f' v{version}' if version else ''}: expected "
            "one that a worker has registered. GET /v1/workflows lists them."
        )
    newest = max(found, key=lambda row: (row.version, row.registered_at))
    return await desk.shown(newest, f"workflow {workflow}")


@router.get("/views", response_model=list_of(ViewLag), responses=documented(404, 422))
async def list_views(desk: Reader, limit: Limit = 50, after: After = None) -> Any:
    """Tell how far each view is behind the log, in events and seconds."""
    lags = await desk.views.lag(desk.services.log)
    page = page_of_all(
        lags, lambda v: [v.name, v.version, v.build], kinds=[str, int, int],
        limit=limit, after=after,
    )  # fmt: skip
    return await desk.page(page, "views")
