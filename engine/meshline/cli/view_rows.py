"""``meshline view rows``: what stands in a table of a view, now or as of a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from meshline.cli.call import Call
from meshline.cli.tables import Column
from meshline.cli.view_diff import value_text
from meshline.cli.view_rebuild import declared

__all__ = ["rows"]


async def rows(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The view.")],
    table: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Not the one that is called as the view.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many rows.")] = 50,
) -> None:
    """Show the rows of any view, also of one's own, in the order of their keys.

    Now they are those of the build that is live. As of a moment they are what the code at hand
    makes of the log: of views of one's own it has to be named in MESHLINE_PROJECTIONS.

    \b
    Examples:
      meshline view rows ownership --table ownership_periods
      meshline view rows breaches --as-of "2026-11-17 14:05"
      meshline view rows runs --as-of-position 3:1234 --output jsonl
    """
    found = await (_rows_now if call.moment is None else _rows_then)(call, name, table, limit + 1)
    columns = [_column(field) for field in (found[0] if found else ())]
    call.out.rows(found[:limit], columns, empty="There are no rows.")
    if len(found) > limit:
        call.out.say(f"There are more than these {limit:,}: see --limit, or query the table.")


async def _rows_now(call: Call, name: str, table: str | None, limit: int) -> list[dict[str, Any]]:
    from meshline.projections.masked_tables import masked_columns

    async with call.views() as views:
        tables = await views.tables(name)
        chosen = _chosen(name, table, tables)
        rows = await views.table_rows(chosen, tables[chosen], limit=limit)
    definitions = await call.definitions()
    return [masked_columns(chosen, row, definitions) for row in rows]


async def _rows_then(call: Call, name: str, table: str | None, limit: int) -> list[dict[str, Any]]:
    from meshline.projections.as_of import fold_as_of
    from meshline.projections.masked_tables import masked_columns
    from meshline.projections.queries import as_json

    assert call.moment is not None, "without a moment it is now"
    projection = declared(name)
    tables = {each.name: each for each in projection.tables}
    chosen = tables[_chosen(name, table, tables)]
    async with call.log() as log, call.kept() as kept:
        store = await fold_as_of(log, [projection], call.moment, kept)
    definitions = await call.definitions()
    rows = (await store.rows(chosen))[:limit]
    return [masked_columns(chosen.name, as_json(row), definitions) for row in rows]


def _chosen(view: str, table: str | None, tables: Iterable[str]) -> str:
    names = sorted(tables)
    chosen = table or (names[0] if len(names) == 1 else view)
    if chosen not in names:
        raise typer.BadParameter(
            f"the view {view!r} has no table {chosen!r}: expected one of {', '.join(names)}",
            param_hint="--table",
        )
    return chosen


def _column(field: str) -> Column:
    def text(row: dict[str, Any]) -> str:
        value = row[field]
        if value is None:
            return ""
        return value_text(value.isoformat() if isinstance(value, datetime) else value)

    return Column(field, text)
