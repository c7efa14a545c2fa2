"""Approvals: what people are asked, and their answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.commands import decision_typed
from meshline.console.form_fields import fields_of, value_of
from meshline.console.reading import PAGE_ROWS, Reader, reached, values_of
from meshline.console.rendering import rendered
from meshline.console.visit import Act, Visit, acts, tag_of
from meshline.events.requests import ApprovalSubmitted
from meshline.projections.tasks_view import OPEN_TASKS

__all__ = ["router"]

router = APIRouter()
STATES = [*OPEN_TASKS, "approved", "denied", "withdrawn"]
Text = Annotated[str, Query(max_length=300)]


@router.get("/approvals")
async def list_approvals(
    request: Request,
    visit: Reader,
    state: Annotated[list[str] | None, Query()] = None,
    owner: Text = "",
    after: Text = "",
) -> Response:
    """List what people are asked, the newest first; the undecided unless asked otherwise."""
    states = [each for each in STATES if each in (state or ())] or OPEN_TASKS
    page = await visit.views.approvals(
        states=states, owner=owner or None, limit=PAGE_ROWS, after=after or None
    )
    return rendered(
        request,
        "approvals.html",
        page=page,
        after=after,
        all_states=STATES,
        states=states,
        filters={"state": state or [], "owner": owner},
    )


@router.get("/runs/{run}/approvals/{approval}")
async def show_approval(request: Request, visit: Reader, run: str, approval: str) -> Response:
    """Show one question, the run that asks it, and the form for the answer."""
    shows_all = await reached(request, visit, "tasks", "runs")
    row = await visit.desk.approval(run, approval)
    origin = str(request.base_url).rstrip("/")
    return rendered(
        request,
        "approval.html",
        approval=row,
        form=values_of(visit, row, f"approval {row.task} of run {row.run_id}")["form"],
        run=await visit.views.run(row.run_id),
        trigger=await _trigger(visit, row.run_id),
        fields=fields_of(row.form_schema),
        tag=tag_of(row),
        shows_all=shows_all,
        may=visit.may(Permission.APPROVE) and row.state in OPEN_TASKS,
        typed={
            decision: decision_typed(origin, row.run_id, row.task, decision, bool(row.form_schema))
            for decision in ("approved", "denied")
        },
    )


async def _trigger(visit: Visit, run_id: str) -> Any:
    """Return the payload that the run began with, for who is to decide; None if hidden."""
    found = (await visit.views.triggers(run_id=run_id, statuses=["accepted"], limit=1)).rows
    return values_of(visit, found[0], f"run {run_id}")["payload"] if found else None


@router.post("/runs/{run}/approvals/{approval}/{decision}")
async def decide(
    run: str,
    approval: str,
    decision: Literal["approved", "denied"],
    act: Annotated[Act, Depends(acts(Permission.APPROVE, {"": ApprovalSubmitted}))],
) -> Response:
    """Answer an approval."""
    row = await act.visit.desk.approval(run, approval)
    form = None
    if decision == "approved":
        fields = fields_of(row.form_schema)
        form = act.json("form") if fields is None else value_of(fields, act.form)
    asked = ApprovalSubmitted(approval=row.task, decision=decision, form=form, reason=act.reason)
    answered = await act.ask(row, asked)
    return act.shown(f"/runs/{row.run_id}/approvals/{row.task}", decision, answered)
