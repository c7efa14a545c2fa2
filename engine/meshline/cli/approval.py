"""``meshline approval``: what people are asked, and answering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meshline.cli.as_of import looked_at, seen
from meshline.cli.asking import Asked, ask, json_value
from meshline.cli.call import Call, command, group, known_words
from meshline.cli.errors import CommandRefused
from meshline.cli.run_ids import RunId, existing
from meshline.cli.run_text import whose
from meshline.cli.tables import Column
from meshline.cli.words import ago, due, short
from meshline.events.people_requests import TaskActionRequested
from meshline.events.requests import ApprovalSubmitted

if TYPE_CHECKING:
    from datetime import datetime

    from meshline.projections.approvals_view import ApprovalRow

__all__ = ["app"]

app = group("Approvals: what people are asked, and what they said.")

Name = Annotated[
    str | None,
    typer.Argument(metavar="APPROVAL", help="Where the run asks for several at once."),
]


To = Annotated[str, typer.Option(metavar="USER", help="Such as user:bob.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history.")]


def _columns(now: datetime) -> list[Column]:
    return [
        Column("run", lambda a: short(a.run_id), whole=True),
        Column("approval", lambda a: a.approval),
        Column("workflow", lambda a: a.workflow or ""),
        Column("state", lambda a: a.state, stateful=True),
        Column("by", lambda a: a.decided_by or a.by),
        Column("owner", lambda a: a.owner),
        Column("whose", whose),
        Column("priority", lambda a: "" if a.priority == "normal" else a.priority),
        Column("asked", lambda a: ago(a.requested_at, now)),
        Column("due", lambda a: "" if a.decided_at else due(a.due_at, now)),
        Column("form", lambda a: ", ".join((a.form_schema or {}).get("required", ()))),
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
    from meshline.projections.approvals_view import ApprovalRow

    known_words(state, ApprovalRow, "state", "--state")
    chosen: dict[str, Any] = {"states": state} if state else {}
    async with seen(call) as views:
        page = await views.approvals(owner=owner, limit=limit, after=after, **chosen)
    call.out.rows(page.rows, _columns(looked_at(call)), empty="Nobody is asked for anything.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


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


@command(app, asks=True)
async def claim(call: Call, run: RunId, approval: Name = None) -> None:
    """Take what a run asks for: nobody else decides it, until it is released or goes on.

    \b
    Examples:
      meshline approval claim web.forms/F-1 --as user:ada
    """
    await _act(call, run, approval, "claim")


@command(app, asks=True)
async def release(call: Call, run: RunId, approval: Name = None, reason: Reason = "") -> None:
    """Give it back to all who may decide it.

    \b
    Examples:
      meshline approval release web.forms/F-1 --reason "I am off to lunch"
    """
    await _act(call, run, approval, "release", reason=reason)


@command(app, asks=True)
async def assign(
    call: Call, run: RunId, approval: Name = None, *, to: To, reason: Reason = ""
) -> None:
    """Give it to one of those who may decide it; with a directory, only role:admin may.

    \b
    Examples:
      meshline approval assign web.forms/F-1 --to user:bob --reason "he knows them"
    """
    await _act(call, run, approval, "assign", to=to, reason=reason)


@command(app, asks=True)
async def delegate(
    call: Call, run: RunId, approval: Name = None, *, to: To, reason: Reason = ""
) -> None:
    """Let somebody else decide what you have; it stays yours, and both names are kept.

    \b
    Examples:
      meshline approval delegate web.forms/F-1 --to user:bob --reason "he has the numbers"
    """
    await _act(call, run, approval, "delegate", to=to, reason=reason)


@command(app, asks=True)
async def comment(
    call: Call,
    run: RunId,
    approval: Name = None,
    *,
    text: Annotated[str, typer.Option(help="What to say; it stands in the history.")],
) -> None:
    """Say something about what a run asks for.

    \b
    Examples:
      meshline approval comment web.forms/F-1 --text "I wait for their answer"
    """
    await _act(call, run, approval, "comment", reason=text)


async def _act(
    call: Call,
    run: str,
    approval: str | None,
    action: Literal["claim", "release", "assign", "delegate", "comment"],
    *,
    to: str | None = None,
    reason: str = "",
) -> None:
    run_id, name = await _asked_for(call, run, approval)
    request = TaskActionRequested(task=name, action=action, to=to, reason=reason)
    await ask(call, [Asked(run_id, request, f"{name} of run {short(run_id)}")])


async def _submit(
    call: Call,
    run: str,
    approval: str | None,
    decision: Literal["approved", "denied"],
    form: Any,
    reason: str,
) -> None:
    run_id, name = await _asked_for(call, run, approval)
    request = ApprovalSubmitted(approval=name, decision=decision, form=form, reason=reason)
    await ask(call, [Asked(run_id, request, f"{name} of run {short(run_id)}")])


async def _asked_for(call: Call, run: str, approval: str | None) -> tuple[str, str]:
    async with call.views() as views:
        run_id = await existing(views, run)
        if approval is not None:
            return run_id, approval
        rows: list[ApprovalRow] = (await views.approvals(run_id=run_id)).rows
    if len(rows) == 1:
        return run_id, rows[0].approval
    asked = ", ".join(row.approval for row in rows)
    raise CommandRefused(
        f"Run {short(run_id)} asks for {asked or 'nothing'} now: expected one approval. "
        + ("Name the one that is meant." if rows else "See `meshline approval list`.")
    )
