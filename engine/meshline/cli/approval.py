"""``meshline approval``: what people are asked, and answering."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from meshline.cli.asking import Asked, ask, json_value
from meshline.cli.call import Call, command, group
from meshline.cli.run_ids import RunId
from meshline.cli.task import asked_for, assign, claim, comment, delegate, list_work, release
from meshline.cli.words import short
from meshline.events.requests import ApprovalSubmitted

__all__ = ["app"]

app = group("Approvals: what people are asked, and what they said.")

Name = Annotated[
    str | None,
    typer.Argument(metavar="APPROVAL", help="Where the run asks for several at once."),
]


@command(app, "list", past=True)
async def list_approvals(
    call: Call,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="requested, escalated, expired, approved, denied, withdrawn; else the undecided."
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List what people are asked, the newest first.

    \b
    Examples:
      meshline approval list
      meshline approval list --state denied --output jsonl
      meshline approval list --as-of "2026-11-17 14:05"
    """
    await list_work(call, "approval", "approval", state, owner, limit, after)


@command(app, asks=True)
async def approve(
    call: Call,
    run: RunId,
    approval: Name = None,
    form: Annotated[
        str | None, typer.Option(metavar="JSON", help="What the approver fills in.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")] = "",
) -> None:
    """Approve what a run asks for.

    \b
    Examples:
      meshline approval approve web.forms/F-1
      meshline approval approve 1f0c2a9b big_deal --form '{"discount_percent": 10}' --as user:ada
    """
    await _submit(call, run, approval, "approved", json_value(form, "--form"), reason)


@command(app, asks=True)
async def deny(
    call: Call,
    run: RunId,
    approval: Name = None,
    reason: Annotated[str, typer.Option(help="Why; a denial needs a reason.")] = "",
) -> None:
    """Deny what a run asks for; a reason is needed.

    \b
    Examples:
      meshline approval deny 1f0c2a9b --reason "no budget left this quarter"
    """
    await _submit(call, run, approval, "denied", None, reason)


for action in (claim, release, assign, delegate, comment):
    command(app, asks=True)(action)


async def _submit(
    call: Call,
    run: str,
    approval: str | None,
    decision: Literal["approved", "denied"],
    form: Any,
    reason: str,
) -> None:
    run_id, name = await asked_for(call, run, approval, "approval")
    request = ApprovalSubmitted(approval=name, decision=decision, form=form, reason=reason)
    await ask(call, [Asked(run_id, request, f"{name} of run {short(run_id)}")])
