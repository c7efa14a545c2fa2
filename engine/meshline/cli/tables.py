"""Tables for people: aligned and whole in a pipe, coloured and one line a row in a terminal."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from meshline.events.text import UNSEEN, visible

__all__ = [
    "BOLD",
    "STATE_STYLES",
    "Column",
    "harmless",
    "is_rich",
    "plain_table",
    "styled",
    "write_table",
]

BOLD, RED, GREEN, YELLOW, MAGENTA, CYAN, DIM = "1", "31", "32", "33", "35", "36", "2"

STATE_STYLES = {
    "running": CYAN,
    "waiting": YELLOW,
    "held": f"{BOLD};{RED}",
    "paused": MAGENTA,
    "succeeded": GREEN,
    "failed": RED,
    "cancelled": DIM,
    "accepted": GREEN,
    "repeated": YELLOW,
    "rejected": RED,
    "appended": CYAN,
    "received": CYAN,
    "open": RED,
    "acknowledged": YELLOW,
    "in_progress": CYAN,
    "resolved": GREEN,
    "dismissed": GREEN,
    "requested": YELLOW,
    "escalated": f"{BOLD};{YELLOW}",
    "expired": RED,
    "approved": GREEN,
    "denied": RED,
    "withdrawn": DIM,
    "ok": GREEN,
    "warning": YELLOW,
    "error": f"{BOLD};{RED}",
}
"""How words that say a state look in a terminal (parameters of SGR)."""

_STYLE_OR_UNSEEN = re.compile(rf"(\x1b\[[0-9;]{{0,12}}m)|{UNSEEN.pattern}")
GAP = "  "
WIDTH_MIN = 8
"""A column of a terminal is never cut to less."""


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

    @property
    def may_be_cut(self) -> bool:
        return not (self.whole or self.stateful or self.right)


def is_rich(stream: TextIO) -> bool:
    """Return whether the stream is a terminal that a person looks at."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def harmless(text: str) -> str:
    """Return the text so that a terminal shows it and does nothing else that it may say.

    Only styles pass: they may be ours. What comes from outside could move the cursor, name the
    window, or turn words around.
    """
    return _STYLE_OR_UNSEEN.sub(lambda match: match[1] or visible(match[0]), text)


def styled(text: str, style: str) -> str:
    """Return the text as a terminal shows it in this style, if colours are wanted at all."""
    return text if not style or os.environ.get("NO_COLOR") else f"\033[{style}m{text}\033[0m"


def write_table(
    stream: TextIO, columns: Sequence[Column], rows: Sequence[Any], *, indent: int = 0
) -> None:
    """Write the rows, one a line; in a terminal long texts are cut so that each has one line."""
    if is_rich(stream):
        width_max = shutil.get_terminal_size().columns - indent
        table = _table(columns, rows, width_max=width_max, is_coloured=True)
    else:
        table = plain_table(columns, rows)
    stream.write(textwrap.indent(table, " " * indent))


def plain_table(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """Return aligned lines with a line of titles, nothing cut: for pipes and files."""
    return _table(columns, rows, width_max=None, is_coloured=False)


def _table(
    columns: Sequence[Column], rows: Sequence[Any], *, width_max: int | None, is_coloured: bool
) -> str:
    cells = [[visible(" ".join(column.text(row).split())) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    widths = [
        max(_width(line[index]) for line in (titles, *cells)) for index in range(len(columns))
    ]
    if width_max is not None:
        _shrink(widths, columns, width_max)
    lines = [_line(columns, widths, titles, [BOLD] * len(columns) if is_coloured else [])]
    for line in cells:
        styles = [
            STATE_STYLES.get(t, "") if c.stateful else ""
            for c, t in zip(columns, line, strict=True)
        ]
        lines.append(_line(columns, widths, line, styles if is_coloured else []))
    return "".join(f"{line}\n" for line in lines)


def _shrink(widths: list[int], columns: Sequence[Column], width_max: int) -> None:
    """Take from the widest column that may be cut, until all fit or nothing is left to take."""
    room = width_max - len(GAP) * (len(widths) - 1)
    while sum(widths) > room:
        cuttable = [i for i, c in enumerate(columns) if c.may_be_cut and widths[i] > WIDTH_MIN]
        if not cuttable:
            return
        widths[max(cuttable, key=lambda i: widths[i])] -= 1


def _line(
    columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str], styles: Sequence[str]
) -> str:
    cells = []
    for index, (column, width, text) in enumerate(zip(columns, widths, texts, strict=True)):
        cut = text if _width(text) <= width else _cut(text, width)
        padding = " " * (width - _width(cut))
        is_last = index == len(columns) - 1
        shown = styled(cut, styles[index]) if styles and cut else cut
        cells.append(padding + shown if column.right else shown + ("" if is_last else padding))
    line = GAP.join(cells)
    return line if styles else line.rstrip()


def _width(text: str) -> int:
    """Return how many places a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _cut(text: str, width: int) -> str:
    while text and _width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
