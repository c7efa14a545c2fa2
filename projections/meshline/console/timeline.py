"""A run's time to scale: what was done when, what was waited for, and whose it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meshline.console.painting import Painting
from meshline.console.words import age
from meshline.projections.ownership_view import PeriodRow

__all__ = ["Bar", "Row", "Tick", "Timeline", "timeline_of"]

WIDTH_MIN = 0.5
"""Per cent: what takes no time can still be seen."""

ROWS_MAX = 60
_STEPS_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600),
    *(900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600),
    *(2_592_000, 7_776_000, 15_552_000, 31_536_000, 63_072_000, 157_680_000, 315_360_000),
)
_TICKS_MAX = 6


@dataclass(frozen=True)
class Bar:
    """A stretch; ``x`` and ``width`` in per cent of the whole."""

    kind: str
    how: str
    x: float
    width: float
    start: datetime
    end: datetime | None
    text: str


@dataclass(frozen=True)
class Row:
    """What happened about one node."""

    name: str
    bars: list[Bar]
    tries: int
    total: timedelta


@dataclass(frozen=True)
class Tick:
    """A mark on the scale."""

    x: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """All rows on one scale; ``left_out``: how many more there are."""

    rows: list[Row]
    ticks: list[Tick]
    start: datetime
    end: datetime
    left_out: int


def timeline_of(
    painting: Painting,
    periods: Sequence[PeriodRow],
    start: datetime,
    end: datetime,
) -> Timeline:
    """Return the timeline from the run's start to its end, or to now."""
    end = max([end, *(s.end or s.start for s in painting.spans)])
    start = min([start, *(s.start for s in painting.spans)])
    whole = max(end - start, timedelta(milliseconds=1))

    def bar(kind: str, how: str, since: datetime, until: datetime | None, text: str) -> Bar:
        x = min(100 - WIDTH_MIN, max(0.0, (since - start) / whole * 100))
        width = max(WIDTH_MIN, ((until or end) - since) / whole * 100)
        return Bar(kind, how, round(x, 3), round(min(width, 100 - x), 3), since, until, text)

    owners = [
        bar("owner", "", max(p.since, start), p.until, p.assignee or p.owner)
        for p in periods
        if p.since <= end
    ]
    rows = [Row("owner", owners, 0, timedelta(0))] if owners else []
    names = list(dict.fromkeys(span.node for span in painting.spans))
    for name in names[:ROWS_MAX]:
        spans = [span for span in painting.spans if span.node == name]
        bars = [bar(s.kind, s.how, s.start, s.end, _text(s.kind, s.attempt, s.how)) for s in spans]
        last = max((s.end or end) for s in spans)
        tries = sum(span.kind == "try" for span in spans)
        rows.append(Row(name, bars, tries, last - min(s.start for s in spans)))
    return Timeline(rows, _ticks(whole), start, end, max(0, len(names) - ROWS_MAX))


def _text(kind: str, attempt: int, how: str) -> str:
    said = {
        "try": f"try {attempt}",
        "retry": f"waiting for try {attempt}",
        "approval": "waiting for an answer",
        "task": "waiting for somebody to do it",
        "timer": "waiting for a time",
        "message": "waiting for a message",
        "exception": "held by an exception",
        "outside": "waiting outside",
    }[kind]
    return f"{said}: {how}" if how else said


def _ticks(whole: timedelta) -> list[Tick]:
    whole_s = whole.total_seconds()
    step_s = next((s for s in _STEPS_S if whole_s / s <= _TICKS_MAX), whole_s / _TICKS_MAX)
    count = int(whole_s / step_s)
    return [
        Tick(round(n * step_s / whole_s * 100, 3), _tick_text(n * step_s))
        for n in range(count + 1)
        if n * step_s / whole_s <= 0.96
    ]


def _tick_text(seconds: float) -> str:
    if seconds == 0:
        return "0"
    return f"{seconds * 1000:g}\u00a0ms" if seconds < 1 else age(timedelta(seconds=seconds))
