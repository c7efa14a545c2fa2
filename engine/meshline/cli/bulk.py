"""``meshline bulk``: act on many exceptions at once, after a look at what that will do."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meshline.cli.asking import json_value
from meshline.cli.call import Call, command, end, group, seconds
from meshline.cli.corrections import corrections_of, differences_text, json_text
from meshline.cli.exception_text import cut
from meshline.cli.exits import Exit
from meshline.cli.tables import Column
from meshline.cli.words import ago

if TYPE_CHECKING:
    from meshline.client import RemoteBulks
    from meshline.projections.bulk import Bulks
    from meshline.projections.bulk_list import BulkItem, BulkList, Effect
    from meshline.projections.queries import Views

__all__ = ["app"]

app = group("Many exceptions or runs at once: a list to be looked at, then applied item by item.")

SAMPLES = 5
WAIT_S = 30.0

Action = Literal[
    "acknowledge", "start", "assign", "resolve", "dismiss", "retry", "skip", "cancel", "hand_over"
]
Name = Annotated[str, typer.Argument(metavar="LIST", help="As `bulk preview` named it.")]


@command(app)
async def preview(
    call: Call,
    action: Annotated[Action, typer.Argument(help="What is to be done with each.")],
    cause: Annotated[str | None, typer.Option(help="As `exception groups` names it.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    route: Annotated[str | None, typer.Option(help="Only of this route.")] = None,
    severity: Annotated[str | None, typer.Option(help="low, medium, high or critical.")] = None,
    older: Annotated[
        str | None, typer.Option(metavar="2h", help="Only those that are open for so long.")
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    source: Annotated[
        str | None, typer.Option(help="cancel, hand_over: only of this source.")
    ] = None,
    waiting_on: Annotated[
        str | None, typer.Option(help="cancel, hand_over: only those that wait on this.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="OWNER", help="assign, hand_over: user:, team: or queue:NAME"),
    ] = None,
    value: Annotated[
        str | None, typer.Option(metavar="JSON", help="skip: what stands in for the result.")
    ] = None,
    corrections: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PLACE=JSON",
            help="retry: set a value of each right first, such as trigger/company.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in every history.")] = "",
    second_person_above: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="At most 1000: a longer list must be confirmed by another."
        ),
    ] = 1_000,
) -> None:
    """Freeze a list of the open exceptions or runs that fit, and say what applying it will do.

    cancel and hand_over are done to runs, everything else to exceptions. Nothing is done yet. The
    list stays, with who made it; what changes until it is applied is left out then, and said.

    With --set, what was wrong in each is set right before it is tried again. What that changes is
    shown; where it can't be made it is left out, and said. A place is `trigger` or the name of a
    step or message, and behind a slash the path into its value.

    \b
    Examples:
      meshline bulk preview retry --cause 3fa94c01b2d7 --reason "the directory is back"
      meshline bulk preview assign --workflow lead-intake --older 2h --to team:platform
      meshline bulk preview retry --cause 3fa94c01b2d7 --set trigger/company='"Acme"'
      meshline bulk preview cancel --workflow lead-intake --waiting-on message --older 30d
    """
    from meshline.projections.bulk_list import Chosen

    opened_before = None
    if older is not None:
        opened_before = call.clock.now() - timedelta(seconds=seconds(older, "--older"))
    chosen = Chosen(
        cause, workflow, step, kind, owner, route, severity, opened_before, state, source,
        waiting_on,
    )  # fmt: skip
    if chosen.is_everything:
        raise typer.BadParameter("say which: --cause, --workflow, --step, --owner or the like")
    more = _more(action, to, value, corrections)
    async with _bulks(call) as bulks, _whole_views(call) as views:
        made = await bulks.freeze(
            views, action, chosen, actor=call.actor.id, reason=reason, more=more,
            confirmed_above=second_person_above,
        )  # fmt: skip
        effect = await bulks.effect(made.name)
        samples = await bulks.items(made.name, limit=SAMPLES)
        out = await bulks.items(made.name, results=["left_out"], limit=SAMPLES)
    made = await _list_shown(call, made)
    samples, out = await _items_shown(call, samples), await _items_shown(call, out)
    data = _as_data(made, effect, samples, out)
    call.out.thing(data, lambda: "\n".join(_preview_lines(made, effect, samples, out)))
    if made.is_unconfirmed:
        call.out.say(f"A second person has to agree: meshline bulk confirm {made.name}")
    call.out.say(f"Do it: meshline bulk apply {made.name}")


def _more(
    action: Action, to: str | None, value: str | None, corrections: list[str] | None
) -> dict[str, Any]:
    if (action in ("assign", "hand_over")) != (to is not None):
        raise typer.BadParameter(
            "goes with assign and hand_over, and only with them", param_hint="--to"
        )
    if value is not None and action != "skip":
        raise typer.BadParameter("goes with skip only", param_hint="--value")
    if corrections and action != "retry":
        raise typer.BadParameter("goes with retry only", param_hint="--set")
    if corrections:
        return {"corrections": [each.model_dump() for each in corrections_of(corrections)]}
    if to is not None:
        return {"owner": to}
    return {} if value is None else {"value": json_value(value, "--value")}


@command(app)
async def apply(call: Call, name: Name) -> None:
    """Do what a list says, item by item; typed again, it goes on where it was ended.

    Each item is done, skipped (it has changed since the preview), refused (the reason is said), or
    unanswered (no worker has decided yet). The exit code is 1 if any was refused.

    \b
    Examples:
      meshline bulk apply bulk-1f0c2a9b44
    """
    counts: Counter[str] = Counter()
    async with _bulks(call) as bulks:
        applying = _applying(call, bulks, name)
        with call.out.stream() as emit:
            async with aclosing(applying):
                async for item in applying:
                    counts[str(item.result)] += 1
                    if item.corrected:
                        [item] = await _items_shown(call, [item])
                    emit(item._asdict(), _line(item))
        total = await bulks.counts(name)
    call.out.say(f"{name}: {_counted(total)}.")
    if counts["unanswered"]:
        call.out.say("What is unanswered is in the log: type it again once a worker runs.")
        end(Exit.UNANSWERED)
    if counts["refused"]:
        end(Exit.FAILED)


async def _applying(call: Call, bulks: Bulks | RemoteBulks, name: str) -> AsyncGenerator[BulkItem]:
    """Apply it here, or let the server do it and follow what comes of it."""
    from meshline.client import RemoteBulks

    if isinstance(bulks, RemoteBulks):
        applying = bulks.apply(name)
        async with aclosing(applying):
            async for item in applying:
                yield item
        return
    from meshline.projections.bulk_apply import applied

    async with call.whole_views() as views, call.log() as log, call.publisher() as publisher:
        applying = applied(
            bulks, name, views, publisher, log, actor=call.actor, wait_s=call.wait_s or WAIT_S
        )
        async with aclosing(applying):
            async for item in applying:
                yield item


@command(app)
async def confirm(call: Call, name: Name) -> None:
    """Agree, as a second person, that a long list is applied.

    \b
    Examples:
      meshline bulk confirm bulk-1f0c2a9b44
    """
    async with _bulks(call) as bulks:
        made = await bulks.confirm(name, actor=call.actor.id)
    call.out.say(f"{name} is confirmed by {made.confirmed_by}.")


@command(app, "list")
async def list_bulks(
    call: Call,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List the lists that there were, the newest first.

    \b
    Examples:
      meshline bulk list
    """
    async with _bulks(call) as bulks:
        found = [await _list_shown(call, each) for each in (await bulks.all(limit)).rows]
    now = call.clock.now()
    columns = [
        Column("list", lambda b: b.name, whole=True),
        Column("action", lambda b: b.action),
        Column("items", lambda b: str(b.items), right=True),
        Column("made", lambda b: ago(b.made_at, now)),
        Column("by", lambda b: b.made_by),
        Column("confirmed", lambda b: b.confirmed_by or ("needed" if b.is_unconfirmed else "")),
        Column("reason", lambda b: cut(b.reason)),
    ]
    call.out.rows(found, columns, empty="There was no bulk operation yet.")


@command(app)
async def show(call: Call, name: Name) -> None:
    """Show a list: what it does, who made it, and what came of each item.

    \b
    Examples:
      meshline bulk show bulk-1f0c2a9b44
    """
    async with _bulks(call) as bulks:
        made, items = await bulks.one(name), await bulks.items(name)
        effect, counts = await bulks.effect(name), await bulks.counts(name)
        out = await bulks.items(name, results=["left_out"], limit=SAMPLES)
    made = await _list_shown(call, made)
    items, out = await _items_shown(call, items), await _items_shown(call, out)
    samples = items[:SAMPLES]
    data = _as_data(made, effect, samples, out)
    data |= {"counts": counts, "items": [item._asdict() for item in items]}

    def lines() -> Iterator[str]:
        yield from _preview_lines(made, effect, samples, out)
        yield ""
        yield _counted(counts)
        yield from (_line(item) for item in items if item.result not in (None, "done"))

    call.out.thing(data, lambda: "\n".join(lines()))


@asynccontextmanager
async def _bulks(call: Call) -> AsyncIterator[Bulks | RemoteBulks]:
    if call.given.server is not None:
        from meshline.client import RemoteBulks

        async with call.connection() as connection:
            yield RemoteBulks(connection)
        return
    from meshline.projections.bulk import Bulks

    bulks = Bulks(call.place.views, clock=call.clock)
    try:
        await bulks.open()
        yield bulks
    finally:
        await bulks.aclose()


@asynccontextmanager
async def _whole_views(call: Call) -> AsyncIterator[Views]:
    """What a list is frozen of: not shown, and so with its secrets; a server does it itself."""
    async with call.views() if call.given.server else call.whole_views() as views:
        yield views


async def _list_shown(call: Call, made: BulkList) -> BulkList:
    """Return the list as it may be shown here; a server shows it so already."""
    if call.given.server is not None or not {"value", "corrections"} & made.more.keys():
        return made
    from meshline.projections.masking import Definitions, masked_more

    async with call.whole_views() as views:
        definitions = Definitions(await views.workflows())
    return made._replace(more=masked_more(made, definitions))


async def _items_shown(call: Call, items: list[BulkItem]) -> list[BulkItem]:
    if call.given.server is not None or not any(item.corrected for item in items):
        return items
    from meshline.projections.masking import masked_rows

    async with call.whole_views() as views:
        return await masked_rows(views, items)


# -- text --------------------------------------------------------------------------------------


def _as_data(
    made: BulkList, effect: Effect, samples: list[BulkItem], out: list[BulkItem]
) -> dict[str, Any]:
    return {
        **made._asdict(),
        "needs_second_person": made.is_unconfirmed,
        "effect": effect._asdict(),
        "samples": [item._asdict() for item in samples],
        "samples_left_out": [item._asdict() for item in out],
    }


def _preview_lines(
    made: BulkList, effect: Effect, samples: list[BulkItem], out: list[BulkItem]
) -> Iterator[str]:
    from meshline.projections.bulk_list import acts_on_runs

    runs = _many(effect.runs, "run")
    what = runs if acts_on_runs(made.action) else f"{_many(made.items, 'exception')} of {runs}"
    yield f"List {made.name}: {made.action}{_with(made.more)}, {what}"
    why = f": {made.reason}" if made.reason else ""
    yield f"  made by {made.made_by} at {made.made_at:%Y-%m-%d %H:%M:%S} UTC{why}"
    yield f"  as seen at {', '.join(f'{p}:{offset}' for p, offset in made.seen_at.items())}"
    for step, count in list(effect.by_step.items())[:SAMPLES]:
        yield f"  {count:>8,}  {step}"
    if len(effect.by_step) > SAMPLES:
        yield f"            and {len(effect.by_step) - SAMPLES} steps more"
    for reason, count in made.left_out.items():
        yield f"  {count:>8,}  left out: {reason}"
    yield "  for example:"
    for item in samples:
        named = item.exception_id or f"{item.run_id}  {item.about}"
        yield f"    {named}  {item.state}, {item.owner}  {cut(item.message)}".rstrip()
        yield from (f"      {line}" for line in differences_text(item.corrected or ()))
    if out:
        yield "  left out, for example:"
    for item in out:
        yield f"    {item.exception_id or item.run_id}  {item.detail}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _with(more: Mapping[str, Any]) -> str:
    if "corrections" not in more:
        return "".join(f" {word} {said}" for word, said in more.items())
    made = (
        f"{each['of']}{each['path']}={json_text(each['value'])}" for each in more["corrections"]
    )
    return f" with {', '.join(made)}"


def _line(item: BulkItem) -> str:
    said = f"{item.result or 'left':<10}  {item.exception_id or item.run_id}"
    return f"{said}  {item.detail}" if item.detail else said


def _counted(counts: dict[str, int]) -> str:
    order = ("done", "skipped", "refused", "unanswered", "left")
    return ", ".join(f"{counts[word]:,} {word}" for word in order if counts.get(word)) or "none"
