"""Exceptions, approvals and owners over HTTP: the work of people."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from meshline.api.answers import item_of, list_of, page_of, shown
from meshline.api.context import (
    After,
    Answered,
    Approver,
    AsOf,
    Least,
    Limit,
    Operator,
    Reader,
    Using,
    Wait,
    ask,
)
from meshline.api.problems import documented
from meshline.api.runs import whole_id
from meshline.events.requests import ApprovalSubmitted, ExceptionActionRequested
from meshline.projections.approvals_view import ApprovalRow
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.queries import OPEN_APPROVALS, ExceptionGroup, OwnerLoad

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["people"])

ExceptionState = Literal["open", "acknowledged", "resolved"]
ApprovalState = Literal["requested", "escalated", "approved", "denied", "expired", "withdrawn"]


class Action(BaseModel):
    """What to do about an exception.

    ``retry`` tries the failed step again; ``skip`` goes on with ``value`` as its result; ``assign``
    gives it to ``owner``; ``resolve`` closes one that holds nothing up.
    """

    action: Literal["acknowledge", "assign", "resolve", "retry", "skip"]
    owner: str | None = None
    value: Any = None
    reason: str = Field("", max_length=2_000)


class Decision(BaseModel):
    """An answer to an approval; a denial needs a reason."""

    decision: Literal["approved", "denied"]
    form: Any = None
    reason: str = Field("", max_length=2_000)


@router.get("/exceptions", response_model=list_of(ExceptionRow), responses=documented(404, 422))
async def list_exceptions(
    services: Using,
    principal: Reader,
    past: Annotated[AsOf, Depends()],
    state: Annotated[list[ExceptionState] | None, Query()] = None,
    route: str | None = None,
    owner: str | None = None,
    kind: str | None = None,
    severity: str | None = None,
    cause: str | None = None,
    workflow: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List exceptions, the newest first; those that are not resolved unless `state` says so."""
    async with past.seen(services, "exceptions") as views:
        page = await views.exceptions(
            states=state or ("open", "acknowledged"), route=route, owner=owner, kind=kind,
            severity=severity, cause=cause, workflow=workflow, limit=limit, after=after,
        )  # fmt: skip
    return page_of(page, principal, "exceptions")


@router.get("/exception-groups", response_model=list_of(ExceptionGroup), responses=documented(422))
async def exception_groups(
    services: Using,
    principal: Reader,
    everything: Annotated[bool, Query(alias="all", description="Also without open ones.")] = False,
    limit: Limit = 50,
) -> Any:
    """List exceptions by cause: what has one reason can be dealt with at once."""
    found = await services.views.exception_groups(open_only=not everything, limit=limit)
    return page_of(found, principal, "exceptions")


@router.get(
    "/exceptions/{exception}", response_model=item_of(ExceptionRow), responses=documented(404)
)
async def show_exception(
    services: Using, principal: Reader, least: Annotated[Least, Depends()], exception: str
) -> Any:
    """Show an exception by its id, or by enough of its beginning."""
    await least.reached(services, "exceptions")
    row = await services.views.exception(exception)
    return shown(row, principal, f"exception {row.exception_id}")


@router.post(
    "/exceptions/{exception}/actions", status_code=202, responses=documented(404, 409, 422)
)
async def act_on_exception(
    services: Using, principal: Operator, exception: str, body: Action, wait_s: Wait = 10.0
) -> Answered:
    """Do something about an exception."""
    row = await services.views.exception(exception)
    asked = ExceptionActionRequested(
        exception_id=row.exception_id, action=body.action, owner=body.owner, value=body.value,
        reason=body.reason,
    )  # fmt: skip
    return await ask(services, principal, row.run_id, asked, wait_s)


@router.get("/approvals", response_model=list_of(ApprovalRow), responses=documented(404, 422))
async def list_approvals(
    services: Using,
    principal: Reader,
    past: Annotated[AsOf, Depends()],
    state: Annotated[list[ApprovalState] | None, Query()] = None,
    owner: str | None = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List what people are asked, the newest first; the undecided unless `state` says so."""
    async with past.seen(services, "approvals") as views:
        page = await views.approvals(
            states=state or OPEN_APPROVALS, owner=owner, limit=limit, after=after
        )
    return page_of(page, principal, "approvals")


@router.post(
    "/runs/{run}/approvals/{approval}", status_code=202, responses=documented(404, 409, 422)
)
async def decide_approval(
    services: Using,
    principal: Approver,
    run: str,
    approval: str,
    body: Decision,
    wait_s: Wait = 10.0,
) -> Answered:
    """Approve or deny what a run asks for, in the name of the key's owner."""
    run_id = await whole_id(services, run)
    asked = ApprovalSubmitted(
        approval=approval, decision=body.decision, form=body.form, reason=body.reason
    )
    return await ask(services, principal, run_id, asked, wait_s)


@router.get("/owners", response_model=list_of(OwnerLoad), responses=documented())
async def list_owners(services: Using, principal: Reader, past: Annotated[AsOf, Depends()]) -> Any:
    """Tell who has something open, those with the most first."""
    async with past.seen(services, "ownership") as views:
        return page_of(await views.owners(), principal, "owners")
