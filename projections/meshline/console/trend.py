"""How many there were in each of some stretches of time, drawn on the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshline.console.words import number
from meshline.projections.cause_queries import Opened, Unit

__all__ = ["HEIGHT", "Column", "Trend", "trend_of"]

HEIGHT = 96
"""Of the highest column, in pixels."""

HEIGHT_MIN = 3
GAP = 0.25
"""Between two columns, as a part of their place."""

_FORMATS = {"hour": "%d %b %H:00", "day": "%d %b"}
_NOW = {"hour": "this hour", "day": "today"}
_TICKS = {"hour": 12, "day": 7}


@dataclass(frozen=True)
class Column:
    """One stretch; ``x`` and ``width`` in per cent, ``height`` in pixels. ``tick``: it is named."""

    x: float
    width: float
    height: float
    count: int
    text: str
    tick: bool


@dataclass(frozen=True)
class Trend:
    """All columns, and in words what they show."""

    columns: list[Column]
    unit: Unit
    words: str


def trend_of(opened: Sequence[Opened], unit: Unit) -> Trend:
    """Return the drawing of what was opened, the oldest first."""
    most = max(each.exceptions for each in opened)
    place = 100 / len(opened)
    columns = []
    for index, (at, count) in enumerate(opened):
        height = max(HEIGHT_MIN, count / most * HEIGHT) if count else 0
        # Names are counted from the end: the last stretch, which is now, has one.
        is_named = (len(opened) - 1 - index) % _TICKS[unit] == 0
        columns.append(
            Column(
                round(place * (index + GAP / 2), 3), round(place * (1 - GAP), 3), round(height, 1),
                count, at.strftime(_FORMATS[unit]), is_named,
            )
        )  # fmt: skip
    return Trend(columns, unit, _words(opened, columns, unit))


def _words(opened: Sequence[Opened], columns: Sequence[Column], unit: Unit) -> str:
    total = sum(each.exceptions for each in opened)
    span = f"the last {len(opened)} {unit}s"
    if not total:
        return f"None in {span}."
    highest = max(columns, key=lambda column: column.count)
    now = f"{number(columns[-1].count)} {_NOW[unit]}"
    return (
        f"{number(total)} in {span}; the most, {number(highest.count)}, on {highest.text}; {now}."
    )
