"""``meshline view diff``: what a change of a view changes, before anybody sees it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshline.cli.call import Call, end, seconds
from meshline.cli.exits import Exit
from meshline.cli.own_views import known_projections
from meshline.cli.storytelling import told

if TYPE_CHECKING:
    from meshline.projections.build_choice import Sides
    from meshline.projections.diff import RowDiff, TableDiff, ViewDiff

__all__ = ["diff", "diff_lines", "fields_of", "percent", "positions", "value_text"]

VALUE_LENGTH_MAX = 200
_LIMIT = re.compile(r"(\d+(?:\.\d+)?)(%?)")


async def diff(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The view.")],
    old: Annotated[
        str | None,
        typer.Option("--from", metavar="VERSION", help="Not the live one: 2, or 2.1 for a build."),
    ] = None,
    new: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Not the one that is being built.")
    ] = None,
    last_swap: Annotated[
        bool, typer.Option("--last-swap", help="What the last swap or rollback changed.")
    ] = False,
    max_changed: Annotated[
        str | None,
        typer.Option(
            metavar="0.1%", help="Fail if more rows of a table differ; a share or a count."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=0, max=1000, help="Rows shown of each table.")] = 20,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report that can be sent to someone."),
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="30s", help="For the one that is behind.")
    ] = "30s",
) -> None:
    """Compare two versions of a view at the same positions of the log, row by row.

    Without --from and --to it is the live version and the newest that is built beside it. Columns
    that only one of them has are named, and not compared. With --max-changed the exit code is 1 if
    the part of the rows that were added, removed or changed is above it in any table, or a table
    is there on one side only.

    \b
    Examples:
      meshline view diff ownership
      meshline view diff ownership --html ownership.html
      meshline view diff ownership --max-changed 0.1% --output json
      meshline view diff ownership --from 2 --to 1
      meshline view diff ownership --last-swap
    """
    limit = None if max_changed is None else _limit(max_changed)
    from meshline.events.catalogue import CATALOGUE
    from meshline.projections.diff import as_data, diff_view
    from meshline.projections.masked_tables import masked_diff

    if last_swap:
        old, new = await _last_swap(call, name)
    handled = next((p.handles for p in known_projections() if p.name == name), None)
    found = await diff_view(
        call.place.views,
        name,
        old=old,
        new=new,
        samples_max=samples,
        types=None if handled is None else {n for n, c in CATALOGUE.items() if c in handled},
        wait_s=seconds(wait, "--wait"),
    )
    found = masked_diff(found, await call.definitions())
    if html is not None:
        from meshline.cli.view_diff_html import page

        html.write_text(page(found, call.clock.now()), "utf-8")
        call.out.say(f"Wrote {html}.")
    call.out.thing(as_data(found), lambda: "\n".join(diff_lines(found)))
    above = [
        f"{t.table}, {t.differing:,} rows ({percent(t.share)})"
        for t in found.tables
        if limit is not None and _exceeds(t, *limit)
    ]
    one_sided = [*found.tables_added, *found.tables_removed] if limit is not None else []
    if above or one_sided:
        alone = [f"{table}, which one side lacks" for table in one_sided]
        call.out.say(f"More than {max_changed} differs: {'; '.join([*above, *alone])}.")
        end(Exit.FAILED)


async def _last_swap(call: Call, name: str) -> Sides:
    from meshline.projections.build_choice import both_of, sides_of_last_swap
    from meshline.projections.postgres_builds import Builds

    books = Builds(call.place.views)
    try:
        return both_of(name, await sides_of_last_swap(books, name))
    finally:
        await books.aclose()


def _limit(text: str) -> tuple[float, bool]:
    found = _LIMIT.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no limit: expected a share as in 0.1%, or a number of rows",
            param_hint="--max-changed",
        )
    return float(found[1]), found[2] == "%"


def _exceeds(table: TableDiff, limit: float, is_share: bool) -> bool:
    return (table.share * 100 if is_share else table.differing) > limit


# -- text --------------------------------------------------------------------------------------


def diff_lines(found: ViewDiff) -> Iterator[str]:
    """Yield the comparison for people, line by line."""
    yield f"View {found.name}: {found.old.label} and {found.new.label}, both at {positions(found)}"
    if found.is_equal:
        yield "They are equal."
    for side in (found.old, found.new):
        if side.parked:
            yield f"  {side.parked:,} events are parked in {side.label}: its rows lack them"
    for name, tables in (("new", found.tables_added), ("gone", found.tables_removed)):
        if tables:
            yield f"  {name}, or with another key: {', '.join(tables)}"
    for table in found.tables:
        yield from _table_lines(table)


def positions(found: ViewDiff) -> str:
    return ", ".join(f"{p}:{offset}" for p, offset in found.old.offsets.items())


def percent(share: float) -> str:
    """Return a share with enough digits that a small one is not told as none."""
    return f"{share:.2%}" if share == 0 or share >= 0.0001 else f"{share:.6%}"


def _table_lines(table: TableDiff) -> Iterator[str]:
    yield ""
    yield f"{table.table}: {table.rows_old:,} rows, then {table.rows_new:,}"
    yield (
        f"  {table.added:,} added, {table.removed:,} removed, {table.changed:,} changed "
        f"({percent(table.share)})"
    )
    if table.columns:
        by_column = ", ".join(f"{name} in {rows:,}" for name, rows in table.columns.items())
        yield f"  changed: {by_column}"
    for word, names in (("new", table.columns_added), ("gone", table.columns_removed)):
        if names:
            yield f"  {word} columns, not compared: {', '.join(names)}"
    for sample in table.samples:
        yield from _sample_lines(sample)


def _sample_lines(sample: RowDiff) -> Iterator[str]:
    key = ", ".join(f"{name} {value_text(value)}" for name, value in sample.key.items())
    alike = f"  (1 of {sample.alike:,} like it)" if sample.alike > 1 else ""
    yield ""
    yield f"  {sample.kind}  {key}{alike}"
    for name, before, after in fields_of(sample):
        said = f"{value_text(before)} → {value_text(after)}" if sample.kind == "changed" else ""
        yield f"    {name:<14} {said or value_text(before if after is None else after)}"
    for event in sample.events or ():
        yield f"      {event.partition}:{event.log_offset}  {told(event)}"


def fields_of(sample: RowDiff) -> list[tuple[str, Any, Any]]:
    """Return what is shown of a sample: columns that differ, or all of a row that came or went."""
    old, new = sample.old or {}, sample.new or {}
    if sample.kind == "changed":
        return [(name, old.get(name), new.get(name)) for name in sample.columns]
    return [(name, old.get(name), new.get(name)) for name in (new or old) if name not in sample.key]


def value_text(value: Any) -> str:
    """Return a value in a line; times to the second where they have no more."""
    if value is None:
        return "–"
    if not isinstance(value, str):
        import orjson

        value = orjson.dumps(value).decode()
    elif len(value) >= len("2026-01-01T00:00:00") and value[4:5] == "-":
        with contextlib.suppress(ValueError):
            value = f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S}"
    text: str = value
    return text if len(text) <= VALUE_LENGTH_MAX else text[:VALUE_LENGTH_MAX] + "…"
