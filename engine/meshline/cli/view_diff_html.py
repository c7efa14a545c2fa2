"""The report of a comparison: one HTML page that needs nothing else, to be sent to someone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from meshline.cli.storytelling import told
from meshline.cli.view_diff import fields_of, percent, positions, value_text
from meshline.cli.words import clock_time

if TYPE_CHECKING:
    from meshline.projections.diff import RowDiff, TableDiff, ViewDiff

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; --text: #1c2330; --soft: #5b6577; --line: #d8dde6;
  --paper: #ffffff; --card: #f5f7fa; --bar: #3b6fd4; --added: #156f3b; --removed: #b3261e;
  --changed: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --soft: #a0a9b8; --line: #343b48;
  --paper: #14181f; --card: #1d232d; --bar: #7aa5f5; --added: #6fd195; --removed: #ff8f85;
  --changed: #f0bd5c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; } p { margin: .25rem 0; }
.soft { color: var(--soft); }
.numbers { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem 1rem; min-width: 8rem; }
.numbers dt { color: var(--soft); font-size: .85rem; }
.numbers dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: .85rem; } td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; } th.name { width: 11rem; }
.bar { display: block; height: .6rem; margin-top: .4rem; min-width: 2px; border-radius: .3rem;
  background: var(--bar); }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .6rem 0;
  padding: .6rem 1rem; } summary { cursor: pointer; overflow-wrap: anywhere; }
.kind { font-weight: 700; } .added { color: var(--added); } .removed { color: var(--removed); }
.changed { color: var(--changed); } code, .events { font: .875rem/1.6 ui-monospace, monospace; }
.events { list-style: none; margin: .75rem 0 0; padding: 0; overflow-wrap: anywhere; }
.events b { color: var(--soft); font-weight: 400; margin-right: .75rem; }
"""


def page(found: ViewDiff, now: datetime) -> str:
    """Return the page. All that comes from the log is escaped; there is no script in it."""
    title = escape(f"View {found.name}: {found.old.label} and {found.new.label}")
    body = "\n".join(_body(found, now, title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n"
        "</html>\n"
    )


def _body(found: ViewDiff, now: datetime, title: str) -> Iterator[str]:
    yield f"<h1>{title}</h1>"
    yield (
        f'<p class="soft">Both at {escape(positions(found))} of the log; compared at '
        f"{clock_time(now)}.</p>"
    )
    if found.is_equal:
        yield "<p>They are equal.</p>"
    for side in (found.old, found.new):
        if side.parked:
            label = escape(side.label)
            yield f"<p>{side.parked:,} events are parked in {label}: its rows lack them.</p>"
    for word, names in (("New", found.tables_added), ("Gone", found.tables_removed)):
        if names:
            yield f"<p>{word}, or with another key: {_codes(names)}.</p>"
    for table in found.tables:
        yield from _table(table)


def _codes(names: Any) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in names)


def _table(table: TableDiff) -> Iterator[str]:
    yield f"<section>\n<h2>{escape(table.table)}</h2>"
    numbers = {
        "rows before": f"{table.rows_old:,}",
        "rows after": f"{table.rows_new:,}",
        "added": f"{table.added:,}",
        "removed": f"{table.removed:,}",
        "changed": f"{table.changed:,}",
        "of all rows": percent(table.share),
    }
    cards = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in numbers.items())
    yield f'<dl class="numbers">{cards}</dl>'
    if table.columns:
        yield from _columns(table)
    for word, names in (("New", table.columns_added), ("Gone", table.columns_removed)):
        if names:
            yield f"<p>{word} columns, not compared: {_codes(names)}.</p>"
    if table.samples:
        yield "<h3>Samples</h3>"
    for place, sample in enumerate(table.samples):
        yield from _sample(sample, is_open=place < 3)
    yield "</section>"


def _columns(table: TableDiff) -> Iterator[str]:
    yield '<table>\n<thead><tr><th class="name">column</th>'
    yield '<th class="n">changed in</th><th></th></tr></thead>\n<tbody>'
    for name, rows in table.columns.items():
        width = 100 * rows / max(table.changed, 1)
        yield (
            f'<tr><th scope="row"><code>{escape(name)}</code></th><td class="n">{rows:,}</td>'
            f'<td style="width:60%"><span class="bar" style="width:{width:.1f}%"></span></td></tr>'
        )
    yield "</tbody>\n</table>"


def _sample(sample: RowDiff, *, is_open: bool) -> Iterator[str]:
    key = " ".join(
        f"{escape(name)} <code>{escape(value_text(value))}</code>"
        for name, value in sample.key.items()
    )
    alike = f' <span class="soft">1 of {sample.alike:,} like it</span>' if sample.alike > 1 else ""
    kind = escape(sample.kind)
    yield f"<details{' open' if is_open else ''}>"
    yield f'<summary><span class="kind {kind}">{kind}</span> {key}{alike}</summary>'
    yield "<table>"
    yield '<thead><tr><th class="name">column</th><th>before</th><th>after</th></tr></thead>'
    yield "<tbody>"
    for name, before, after in fields_of(sample):
        cells = "".join(f"<td>{escape(value_text(value))}</td>" for value in (before, after))
        yield f'<tr><th scope="row"><code>{escape(name)}</code></th>{cells}</tr>'
    yield "</tbody>\n</table>"
    if sample.events:
        yield '<ul class="events">'
        for event in sample.events:
            place = f"{event.partition}:{event.log_offset}"
            yield f"<li><b>{place}</b>{escape(told(event))}</li>"
        yield "</ul>"
    yield "</details>"
