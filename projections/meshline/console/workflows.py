"""Workflows: each definition with its five answers, its graph, and what its runs are at."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from meshline.console.drawing import drawn, drawn_down
from meshline.console.reading import Reader
from meshline.console.rendering import rendered
from meshline.console.versions import differences
from meshline.projections.errors import NotFound
from meshline.projections.queries import OPEN_RUNS

__all__ = ["router"]

router = APIRouter()
STATES = [*OPEN_RUNS, "succeeded", "failed", "cancelled"]


@router.get("/workflows")
async def list_workflows(request: Request, visit: Reader) -> Response:
    """List the newest version of every workflow, with its five answers."""
    newest = {row.workflow: row for row in await visit.views.workflows()}
    runs: dict[str, dict[str, int]] = {}
    for count in await visit.views.version_counts():
        of_workflow = runs.setdefault(count.workflow, {})
        of_workflow[count.state] = of_workflow.get(count.state, 0) + count.runs
    return rendered(
        request, "workflows.html", workflows=newest.values(), runs=runs, all_states=STATES
    )


@router.get("/workflows/{workflow}")
async def show_workflow(
    request: Request,
    visit: Reader,
    workflow: str,
    version: int | None = None,
    against: int | None = None,
) -> Response:
    """Show a definition: five answers, graph, what it changed, and runs by version and state.

    Args:
        against: the version that it is compared with; the one before, unless it is given.
    """
    rows = [row for row in await visit.views.workflows() if row.workflow == workflow]
    chosen = [row for row in rows if version in (None, row.version)]
    if not chosen:
        raise NotFound(
            f"There is no workflow {workflow[:100]!r} in this version: expected one that a worker "
            "has registered. The page Workflows lists them."
        )
    shown = chosen[-1]
    earlier = [row for row in rows if row.version < shown.version]
    others = earlier if against is None else [row for row in rows if row.version == against]
    other = others[-1] if others else None
    counts: dict[int, dict[str, int]] = {}
    for count in await visit.views.version_counts():
        if count.workflow == workflow:
            counts.setdefault(count.version, {})[count.state] = count.runs
    return rendered(
        request,
        "workflow.html",
        workflow=shown,
        versions=sorted({row.version for row in rows} | counts.keys(), reverse=True),
        registered={row.version: row for row in rows},
        counts=counts,
        all_states=STATES,
        other=other,
        changes=[] if other is None else differences(other.spec, shown.spec),
        drawing=None if shown.observed else drawn(shown.spec, None),
        drawing_down=None if shown.observed else drawn_down(shown.spec, None),
    )
