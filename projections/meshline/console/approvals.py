"""Approvals and tasks: what people are asked for, and what they do about it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.commands import task_act_typed, task_typed
from meshline.console.form_fields import fields_of, value_of
from meshline.console.reading import (
    PAGE_ROWS,
    Reader,
    moment_asked,
    reached,
    seen_of,
    values_of,
)
from meshline.console.rendering import rendered
from meshline.console.visit import Act, Visit, acts, tag_of
from meshline.events.clock import SystemClock
from meshline.events.people_requests import TaskActionRequested, TaskCompletionRequested
from meshline.events.requests import ApprovalSubmitted
from meshline.projections.errors import NotFound
from meshline.projections.pages import LIMIT_MAX
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow
from meshline.projections.work import WorkRow

__all__ = ["address_of", "after_it", "router"]

router = APIRouter()
_clock = SystemClock()
STATES = [*OPEN_TASKS, "approved", "denied", "withdrawn"]
Text = Annotated[str, Query(max_length=300)]
_HANDS = {
    "release": ("Release", "Give it back to all who may do it."),
    "assign": ("Assign", "Give it to one of those who may do it; only admins may."),
    "delegate": ("Delegate", "Let somebody else do it; it stays whose it is, and both are kept."),
    "comment": ("Comment", "Say something about it; it changes nothing."),
}


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
    moment = moment_asked(request)
    views = await visit.desk.at(moment)
    page = await views.approvals(
        states=states, owner=owner or None, limit=PAGE_ROWS, after=after or None
    )
    return rendered(
        request,
        "approvals.html",
        page=page,
        after=after,
        all_states=STATES,
        states=states,
        filters={
            "state": state or [],
            "owner": owner,
            "as_of": request.query_params.get("as_of"),
        },
        moment=moment,
    )


@router.get("/runs/{run}/approvals/{approval}")
async def show_approval(request: Request, visit: Reader, run: str, approval: str) -> Response:
    """Show one question, the run that asks it, and the form for the answer."""
    return await _shown(request, visit, run, approval, "approval")


@router.get("/runs/{run}/tasks/{task}")
async def show_task(request: Request, visit: Reader, run: str, task: str) -> Response:
    """Show one task, the run that it is for, and the form that ends it; an approval is one."""
    return await _shown(request, visit, run, task, None)


async def _shown(request: Request, visit: Visit, run: str, task: str, kind: str | None) -> Response:
    shows_all = await reached(request, visit, "tasks", "runs")
    row, moment = await visit.desk.task(run, task, kind), moment_asked(request)
    then = await seen_of(visit, row.run_id, moment)
    if moment is not None:
        asked = (await then.tasks(states=None, run_id=row.run_id, limit=LIMIT_MAX)).rows
        found = [each for each in asked if each.task == row.task]
        if not found:
            raise NotFound(f"The run {row.run_id[:8]} had not asked for {row.task[:60]!r} then.")
        row = found[0]
    origin = str(request.base_url).rstrip("/")
    ends = ("approved", "denied") if row.kind == "approval" else ("completed",)
    return rendered(
        request,
        "task.html",
        task=row,
        form=(await values_of(visit, row, f"{row.kind} {row.task} of run {row.run_id}"))["form"],
        run=await then.run(row.run_id),
        moment=moment,
        trigger=await _trigger(visit, row.run_id),
        fields=fields_of(row.form_schema),
        tag=tag_of(row),
        shows_all=shows_all,
        may=moment is None and visit.may(Permission.APPROVE) and row.state in OPEN_TASKS,
        is_next=request.query_params.get("next") == "1",
        hands=[
            {
                "name": name,
                "title": title,
                "about": about,
                "typed": task_act_typed(origin, row.run_id, row.task, name),
            }
            for name, (title, about) in _HANDS.items()
            if row.assignee or name not in ("release", "delegate")
        ],
        claim_typed=task_act_typed(origin, row.run_id, row.task, "claim"),
        typed={
            end: task_typed(origin, row.run_id, row.task, end, bool(row.form_schema))
            for end in ends
        },
    )


async def _trigger(visit: Visit, run_id: str) -> Any:
    """Return the payload that the run began with, for who is to decide; None if hidden."""
    found = (await visit.views.triggers(run_id=run_id, statuses=["accepted"], limit=1)).rows
    return (await values_of(visit, found[0], f"run {run_id}"))["payload"] if found else None


@router.post("/runs/{run}/approvals/{approval}/{decision}")
async def decide(
    run: str,
    approval: str,
    decision: Literal["approved", "denied"],
    act: Annotated[Act, Depends(acts(Permission.APPROVE, {"": ApprovalSubmitted}))],
) -> Response:
    """Answer an approval."""
    row = await act.visit.desk.approval(run, approval)
    form = _filled(act, row) if decision == "approved" else None
    asked = ApprovalSubmitted(approval=row.task, decision=decision, form=form, reason=act.reason)
    answered = await act.ask(row, asked)
    return act.shown(await after_it(act, row), decision, answered)


@router.post("/runs/{run}/tasks/{task}/completed")
async def complete(
    run: str,
    task: str,
    act: Annotated[Act, Depends(acts(Permission.APPROVE, {"": TaskCompletionRequested}))],
) -> Response:
    """Complete a task with what was filled in."""
    row = await act.visit.desk.task(run, task, "task")
    form = None if row.form_schema is None else _filled(act, row)
    asked = TaskCompletionRequested(task=row.task, form=form, reason=act.reason)
    answered = await act.ask(row, asked)
    return act.shown(await after_it(act, row), "completed", answered)


@router.post("/runs/{run}/tasks/{task}/actions/{action}")
async def act_on_task(
    run: str,
    task: str,
    action: Literal["claim", "release", "assign", "delegate", "comment"],
    act: Annotated[Act, Depends(acts(Permission.APPROVE, {"": TaskActionRequested}))],
) -> Response:
    """Claim, release, assign, delegate or comment on a task or an approval."""
    row = await act.visit.desk.task(run, task)
    to = act.text("to")[:300] or None
    asked = TaskActionRequested(task=row.task, action=action, to=to, reason=act.reason)
    answered = await act.ask(row, asked)
    return act.shown(address_of(row, is_next=bool(act.text("next"))), action, answered)


def _filled(act: Act, row: TaskRow) -> Any:
    fields = fields_of(row.form_schema)
    return act.json("form") if fields is None else value_of(fields, act.form)


async def after_it(act: Act, row: TaskRow) -> str:
    """Return where to go when it is ended: to the next of one's own work, or to its page."""
    if not act.text("next"):
        return address_of(row)
    visit = act.visit
    mine = await visit.views.work(visit.principal.actor.id, _clock.now(), limit=2)
    others = (each for each in mine.rows if (each.run_id, each.task) != (row.run_id, row.task))
    following = next(others, None)
    return "/work" if following is None else address_of(following, is_next=True)


def address_of(row: TaskRow | WorkRow, *, is_next: bool = False) -> str:
    """Return the page of a task or an approval; with ``is_next`` one's work goes on behind it."""
    path = f"/runs/{row.run_id}/{row.kind}s/{quote(row.task, safe='')}"
    return f"{path}?next=1" if is_next else path
