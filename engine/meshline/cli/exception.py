"""``meshline exception``: what people must see, by itself or by cause, and acting on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meshline.cli import exception_group
from meshline.cli.as_of import looked_at, seen
from meshline.cli.asking import Asked, ask, json_value
from meshline.cli.call import Call, command, group, known_words
from meshline.cli.corrections import CHANGES, changes_of, corrections_of
from meshline.cli.exception_text import exception_columns, group_columns, show_text
from meshline.events.corrections import Correction
from meshline.events.requests import ExceptionActionRequested

if TYPE_CHECKING:
    from meshline.projections.exception_view import ExceptionRow

__all__ = ["app"]

app = group("Exceptions: what a person must see, whose it is, and what to do about it.")
app.add_typer(exception_group.app, name="group")

Action = Literal["acknowledge", "start", "assign", "resolve", "retry", "skip", "dismiss", "reopen"]

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="EXCEPTION...", help="Ids, or enough of their beginnings."),
]
Cause = Annotated[
    str | None, typer.Option(help="All open ones of this cause, as `exception groups` names it.")
]
Reason = Annotated[str, typer.Option(help="Why; it stands in the history.")]

GROUP_MAX = 1_000
"""Exceptions that one command acts on."""


@command(app, "list", past=True)
async def list_exceptions(
    call: Call,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="open, acknowledged, in_progress, resolved or dismissed; else those that are open."
        ),
    ] = None,
    route: Annotated[str | None, typer.Option(help="Only of this route.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    code: Annotated[
        str | None, typer.Option(help="Only what a step says on purpose, with this code.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="low, medium, high or critical.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only of this cause.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List exceptions, the newest first.

    \b
    Examples:
      meshline exception list
      meshline exception list --route queue:revops-triage --severity high
      meshline exception list --state resolved --output jsonl
      meshline exception list --as-of "2026-11-17 14:05"
    """
    from meshline.projections.exception_view import ExceptionRow

    known_words(state, ExceptionRow, "state", "--state")
    chosen: dict[str, Any] = {"states": state} if state else {}
    async with seen(call) as views:
        page = await views.exceptions(
            route=route, owner=owner, kind=kind, code=code, severity=severity, cause=cause,
            workflow=workflow, limit=limit, after=after, **chosen,
        )  # fmt: skip
    call.out.rows(
        page.rows, exception_columns(looked_at(call)), empty="There are no such exceptions."
    )
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app, past=True)
async def groups(
    call: Call,
    everything: Annotated[bool, typer.Option("--all", help="Those with none open too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List exceptions by cause: what has one reason can be dealt with at once.

    \b
    Examples:
      meshline exception groups
      meshline exception groups --as-of "2026-11-17 14:05"
      meshline exception retry --cause 3fa94c01b2d7 --reason "the directory is back"
    """
    async with seen(call) as views:
        found = await views.exception_groups(open_only=not everything, limit=limit)
    call.out.rows(found, group_columns(looked_at(call)), empty="No exception is open.")


@command(app)
async def show(
    call: Call,
    exception: Annotated[
        str, typer.Argument(metavar="EXCEPTION", help="Its id, or enough of its beginning.")
    ],
) -> None:
    """Show an exception: what happened, whose it is, the error, and what can be done.

    \b
    Examples:
      meshline exception show ex-1f0c2a9b
    """
    async with call.views() as views:
        row = await views.exception(exception)
    call.out.thing(row, lambda: show_text(row, call.clock.now()))


@command(app, asks=True)
async def acknowledge(
    call: Call, ids: Ids = None, cause: Cause = None, reason: Reason = ""
) -> None:
    """Say that somebody looks at it.

    \b
    Examples:
      meshline exception acknowledge ex-1f0c2a9b
    """
    await _act(call, ids, cause, "acknowledge", reason)


@command(app, asks=True)
async def start(call: Call, ids: Ids = None, cause: Cause = None, reason: Reason = "") -> None:
    """Say that you work on it: it is in progress, and everybody sees by whom.

    \b
    Examples:
      meshline exception start ex-1f0c2a9b --reason "I ask the supplier"
    """
    await _act(call, ids, cause, "start", reason)


@command(app, asks=True)
async def retry(
    call: Call,
    ids: Ids = None,
    cause: Cause = None,
    corrections: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PLACE=JSON",
            help="Set a value right first: of the trigger or a step, such as trigger/company.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what --set would change, and ask for nothing.")
    ] = False,
    reason: Reason = "",
) -> None:
    """Try the failed step again, in the same run.

    With --set it is tried with what was wrong set right. Whatever begins from then on reads it so;
    what came in stays in the history, with who corrected it. A place is `trigger` or the name of a
    step or message, and behind a slash the path into its value.

    \b
    Examples:
      meshline exception retry ex-1f0c2a9b
      meshline exception retry --cause 3fa94c01b2d7 --reason "the directory is back"
      meshline exception retry ex-1f0c2a9b --set trigger/company='"Acme"' --dry-run
      meshline exception retry ex-1f0c2a9b --set enrich/lines/0/amount=12 --set trigger/vat=null
    """
    made = corrections_of(corrections)
    if dry_run:
        await _show_changes(call, ids, made)
    else:
        await _act(call, ids, cause, "retry", reason, corrections=made)


async def _show_changes(
    call: Call, ids: list[str] | None, corrections: tuple[Correction, ...]
) -> None:
    if not corrections or not ids:
        raise typer.BadParameter(
            "it shows what --set would change in the runs of exceptions that are named",
            param_hint="--dry-run",
        )
    async with call.views() as views:
        for begins in ids:
            row = await views.exception(begins)
            found = await changes_of(views, row.run_id, corrections)
            call.out.rows(found, CHANGES, empty=f"{row.exception_id}: nothing would change.")


@command(app, asks=True)
async def skip(
    call: Call,
    ids: Ids = None,
    value: Annotated[
        str | None, typer.Option(metavar="JSON", help="What stands in for the step's result.")
    ] = None,
    cause: Cause = None,
    reason: Reason = "",
) -> None:
    """Go on without the failed step, with a value in place of its result.

    \b
    Examples:
      meshline exception skip ex-1f0c2a9b --reason "done by hand" --value '{"crm_id": "L-1"}'
    """
    await _act(call, ids, cause, "skip", reason, value=json_value(value, "--value"))


@command(app, asks=True)
async def assign(
    call: Call,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="user:, team: or queue:NAME")],
    ids: Ids = None,
    cause: Cause = None,
    reason: Reason = "",
) -> None:
    """Give exceptions to another owner.

    \b
    Examples:
      meshline exception assign user:ada ex-1f0c2a9b
      meshline exception assign team:platform --cause 3fa94c01b2d7
    """
    await _act(call, ids, cause, "assign", reason, owner=owner)


@command(app, asks=True)
async def resolve(call: Call, ids: Ids = None, cause: Cause = None, reason: Reason = "") -> None:
    """Close exceptions that hold nothing up.

    \b
    Examples:
      meshline exception resolve ex-1f0c2a9b --reason "seen, and harmless"
    """
    await _act(call, ids, cause, "resolve", reason)


@command(app, asks=True)
async def dismiss(
    call: Call,
    reason: Annotated[str, typer.Option(help="Why it was no problem; it stands in the history.")],
    ids: Ids = None,
    cause: Cause = None,
) -> None:
    """Close exceptions that were no problem, with a reason.

    What holds a step is not dismissed: retry it, skip it, or cancel the run.

    \b
    Examples:
      meshline exception dismiss ex-1f0c2a9b --reason "the supplier is always late in August"
    """
    await _act(call, ids, cause, "dismiss", reason)


@command(app, asks=True)
async def reopen(
    call: Call,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="EXCEPTION...", help="Ids, or enough of their beginnings."),
    ],
    reason: Reason = "",
) -> None:
    """Open again what a person dismissed or resolved, as long as its run is open.

    \b
    Examples:
      meshline exception reopen ex-1f0c2a9b --reason "it came back"
    """
    await _act(call, ids, None, "reopen", reason)


async def _act(
    call: Call,
    ids: list[str] | None,
    cause: str | None,
    action: Action,
    reason: str,
    **more: Any,
) -> None:
    if bool(ids) == bool(cause):
        raise typer.BadParameter("give the ids of exceptions, or --cause", param_hint="EXCEPTION")
    rows: list[ExceptionRow] = []
    async with call.views() as views:
        if cause:
            rows = (await views.exceptions(cause=cause, limit=GROUP_MAX)).rows
        for begins in ids or ():
            rows.append(await views.exception(begins))
    if not rows:
        call.out.say(f"No exception of cause {cause} is open.")
    requests = [
        Asked(
            row.run_id,
            ExceptionActionRequested(
                exception_id=row.exception_id, action=action, reason=reason, **more
            ),
            row.exception_id,
        )
        for row in rows
    ]
    await ask(call, requests)
