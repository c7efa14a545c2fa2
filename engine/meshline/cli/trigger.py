"""``meshline trigger``: what came in and what became of it, and sending it again after a fix."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.asking import json_value
from meshline.cli.call import Call, command, end, group, known_words
from meshline.cli.errors import CommandRefused
from meshline.cli.publish import answer_text, exit_of_answers
from meshline.cli.tables import Column
from meshline.cli.words import ago, clock_time, prompt_name, short
from meshline.events.secrets import MASK, holds_mask

if TYPE_CHECKING:
    from datetime import datetime

    from meshline.projections.queries import Views
    from meshline.projections.triggers_view import TriggerRow

__all__ = ["app"]

app = group("Triggers: what came in, and what became of it.")

Which = Annotated[
    str, typer.Argument(metavar="TRIGGER", help="Its position, such as 3:41, or the source's id.")
]
Source = Annotated[str | None, typer.Option(help="Where several sources have the id.")]

_POSITION = re.compile(r"(\d+):(\d+)")


def _columns(now: datetime) -> list[Column]:
    return [
        Column("position", lambda t: f"{t.partition}:{t.log_offset}", whole=True),
        Column("source", lambda t: t.source),
        Column("id", lambda t: t.trigger_id),
        Column("status", lambda t: t.status, stateful=True),
        Column("run", lambda t: short(t.run_id) if t.status in _OF_A_RUN else "", whole=True),
        Column("workflow", lambda t: t.workflow or ""),
        Column("age", lambda t: ago(t.received_at, now)),
        Column("why", _why),
    ]


_OF_A_RUN = ("accepted", "repeated")


def _why(trigger: TriggerRow) -> str:
    if trigger.code is None:
        return ""
    problems = "; ".join(f"{p['pointer'] or '/'}: {p['message']}" for p in trigger.problems)
    return f"{trigger.code}: {problems or trigger.reason}"


@command(app, "list")
async def list_triggers(
    call: Call,
    status: Annotated[
        list[str] | None, typer.Option(help="received, accepted, repeated or rejected.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only from this source.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
) -> None:
    """List what came in, the newest first; the same one sent twice stands there twice.

    \b
    Examples:
      meshline trigger list --status rejected
      meshline trigger list --source web.forms --output jsonl | jq .problems
    """
    from meshline.projections.triggers_view import TriggerRow

    known_words(status, TriggerRow, "status", "--status")
    async with call.views() as views:
        page = await views.triggers(statuses=status, source=source, limit=limit, after=after)
    call.out.rows(page.rows, _columns(call.clock.now()), empty="There are no such triggers.")
    if page.next is not None:
        call.out.say(f"More: --after {page.next}")


@command(app)
async def show(call: Call, trigger: Which, source: Source = None) -> None:
    """Show a trigger: what came, what became of it, and why.

    \b
    Examples:
      meshline trigger show 3:41
      meshline trigger show F-00012 --source web.forms
    """
    row = await _one(call, trigger, source)
    call.out.thing(row, lambda: _show_text(row))


@command(app, asks=True)
async def resubmit(
    call: Call,
    trigger: Which,
    source: Source = None,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON", help="Instead of what came.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Change a field; may be repeated."),
    ] = None,
    new_id: Annotated[
        str | None, typer.Option("--id", help="Another id, where this one is another run already.")
    ] = None,
) -> None:
    """Publish a rejected trigger again: as it came after the workflow was mended, or mended itself.

    It keeps its source and id, so it can still only ever be one run.

    \b
    Examples:
      meshline trigger resubmit 3:41
      meshline trigger resubmit 3:41 --set country='"SE"'
      meshline trigger resubmit 3:41 --payload '{"form_id": "F-12", "email": "ada@example.org"}'
    """
    row = await _one(call, trigger, source, whole=True)
    if row.status in _OF_A_RUN:
        raise CommandRefused(
            f"Trigger {row.trigger_id!r} of {row.source!r} was {row.status}: it is run "
            f"{short(row.run_id)}. Expected a rejected one. See `meshline run show "
            f"{short(row.run_id)}`."
        )
    async with call.publisher() as publisher:
        answer = await publisher.publish(
            row.source,
            _mended(row, payload, changes or []),
            trigger_id=new_id or row.trigger_id,
            trigger_type=row.trigger_type,
            wait_s=call.wait_s,
        )
    call.out.thing(answer, lambda: answer_text(answer))
    end(exit_of_answers({answer.status}, waited=call.wait_s is not None))


def _mended(row: TriggerRow, payload: str | None, changes: list[str]) -> Any:
    value = json_value(payload, "--payload") if payload is not None else row.payload
    if payload is None and row.unreadable is not None:
        raise CommandRefused(
            f"Trigger {row.trigger_id!r} could not be read ({row.unreadable['reason']}): expected "
            "its payload to be given anew. Look at it with `meshline trigger show`, and add "
            "--payload."
        )
    for change in changes:
        field, equals, new = change.partition("=")
        if not equals or not isinstance(value, dict):
            raise typer.BadParameter(
                f"{change!r} is no change of an object: expected FIELD=JSON", param_hint="--set"
            )
        value = value | {field: json_value(new, "--set")}
    if holds_mask(value):
        raise CommandRefused(
            f"The server shows the payload with {MASK} in place of what is secret, and that would "
            "be sent: expected the true values. Add --set for these fields, or --payload."
        )
    return value


async def _one(call: Call, which: str, source: str | None, *, whole: bool = False) -> TriggerRow:
    """Return the trigger that is meant.

    Args:
        whole: it is not to be shown: with its secrets, where the views are here.
    """
    position = _POSITION.fullmatch(which)
    is_here = whole and call.given.server is None
    async with call.whole_views() if is_here else call.views() as views:
        if position:
            return await _at(call, views, int(position[1]), int(position[2]))
        page = await views.triggers(trigger_id=which, source=source)
    sources = sorted({row.source for row in page.rows})
    if len(sources) == 1:
        # The first one that counted, or else the newest refusal.
        decided = [row for row in page.rows if row.status == "accepted"]
        return (decided or page.rows)[0]
    raise _not_found(which, sources)


async def _at(call: Call, views: Views, partition: int, offset: int) -> TriggerRow:
    from meshline.cli.log_reading import event_at

    async with call.log() as log:
        event = await event_at(log, partition, offset)
    rows = [] if event is None else (await views.triggers(run_id=event.subject, limit=1000)).rows
    for row in rows:
        if (row.partition, row.log_offset) == (partition, offset):
            return row
    raise _not_found(f"{partition}:{offset}", [])


def _not_found(which: str, sources: list[str]) -> Exception:
    from meshline.projections.errors import NotFound

    name = prompt_name()
    if sources:
        return NotFound(
            f"Trigger {which!r} came from {', '.join(sources)}: expected one source. Add --source."
        )
    return NotFound(
        f"There is no trigger {which!r}: expected its position or the source's id. List them with "
        f"`{name} trigger list`."
    )


def _show_text(row: TriggerRow) -> str:
    import orjson

    lines = [
        f"Trigger {row.trigger_id} from {row.source}",
        f"  status     {row.status}",
        f"  type       {row.trigger_type or '(not said)'}",
        f"  position   {row.partition}:{row.log_offset}",
        f"  received   {clock_time(row.received_at)}",
    ]
    if row.status in _OF_A_RUN:
        lines.append(f"  run        {row.run_id}")
    if row.code is not None:
        lines.append(f"  why        {row.code}: {row.reason}")
        lines += [f"               {p['pointer'] or '/'}: {p['message']}" for p in row.problems]
    if row.unreadable is not None:
        raw = row.unreadable["raw_base64"]
        kept = raw if raw == MASK else repr(base64.b64decode(raw)[:2000])
        lines += [
            f"  unreadable {row.unreadable['reason']}, {row.unreadable['size_bytes']} bytes, "
            f"sha256 {row.unreadable['sha256']}",
            f"  kept       {kept}",
        ]
    else:
        payload = orjson.dumps(row.payload, option=orjson.OPT_INDENT_2).decode()
        lines += ["  payload", *(f"    {line}" for line in payload.splitlines())]
    if row.status == "rejected":
        at = f"{row.partition}:{row.log_offset}"
        lines += ["", "  Next", f"    {prompt_name()} trigger resubmit {at}"]
    return "\n".join(lines)
