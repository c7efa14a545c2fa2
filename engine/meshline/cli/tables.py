"""Tables for people: aligned plain text, and colour and wrapping where a terminal shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

__all__ = ["STATE_STYLES", "Column", "is_rich", "write_table"]

STATE_STYLES = {
    "running": "cyan",
    "waiting": "yellow",
    "held": "bold red",
    "paused": "magenta",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "accepted": "green",
    "repeated": "yellow",
    "rejected": "red",
    "appended": "cyan",
    "received": "cyan",
    "open": "red",
    "acknowledged": "yellow",
    "resolved": "green",
    "requested": "yellow",
    "escalated": "bold yellow",
    "expired": "red",
    "approved": "green",
    "denied": "red",
    "withdrawn": "dim",
    "ok": "green",
    "warning": "yellow",
    "error": "bold red",
}
"""How words that say a state look in a terminal."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and the text of a row in it.

    ``right`` aligns numbers; ``stateful`` colours the words of ``STATE_STYLES``; ``whole`` is
    never cut, however narrow the terminal is: ids, which people copy.
    """

    title: str
    text: Callable[[Any], str]
    right: bool = False
    stateful: bool = False
    whole: bool = False


def is_rich(stream: TextIO) -> bool:
    """Return whether the stream is a terminal that a person looks at."""
    return stream.isatty()


def write_table(
    stream: TextIO, columns: Sequence[Column], rows: Sequence[Any], *, indent: int = 0
) -> None:
    """Write the rows, one a line; in a terminal long texts are wrapped to its width."""
    if is_rich(stream):
        _write_rich(stream, columns, rows, indent)
    else:
        stream.write(textwrap.indent(plain_table(columns, rows), " " * indent))


def plain_table(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """Return aligned lines with a line of titles, nothing cut: for pipes and files."""
    lines = [[column.title for column in columns]]
    lines += [[_one_line(column.text(row)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "".join(
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _write_rich(
    stream: TextIO, columns: Sequence[Column], rows: Sequence[Any], indent: int
) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=column.whole or column.stateful or column.right,
            overflow="fold",
        )
    for row in rows:
        cells = []
        for column in columns:
            text = _one_line(column.text(row))
            cells.append(Text(text, STATE_STYLES.get(text, "") if column.stateful else ""))
        table.add_row(*cells)
    Console(file=stream).print(Padding(table, (0, 0, 0, indent), expand=False))
