"""Workflows and views over HTTP, and whether this server is well."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from meshline.api.answers import list_of, page_of
from meshline.api.context import Reader, Using, services_of
from meshline.api.problems import documented, problem
from meshline.events.errors import MeshlineError
from meshline.projections.lag import ViewLag
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["health", "router"]

router = APIRouter(prefix="/v1", tags=["looking after"])
health = APIRouter(tags=["health"])


@router.get("/workflows", response_model=list_of(WorkflowRow), responses=documented())
async def list_workflows(services: Using, principal: Reader) -> Any:
    """List every registered definition, with its five answers and its graph."""
    return page_of(await services.views.workflows(), principal, "workflows")


@router.get("/views", response_model=list_of(ViewLag), responses=documented())
async def list_views(services: Using, principal: Reader) -> Any:
    """Tell how far each view is behind the log, in events and seconds."""
    return page_of(await services.views.lag(services.log), principal, "views")


@health.get("/livez", include_in_schema=False)
async def livez() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@health.get("/readyz", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Log and views answer too."""
    services = services_of(request)
    try:
        await services.log.ends()
        await services.views.status()
    except MeshlineError as error:
        # Open to all: the error's code and no address.
        return problem(503, error.code, "The log or the views do not answer.")
    return JSONResponse({"status": "ok"})
