"""Time to scale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meshline.console.painting import Painting, Span
from meshline.console.timeline import WIDTH_MIN, timeline_of
from meshline.projections.ownership_view import PeriodRow

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def period(owner: str, since: float, until: float | None) -> PeriodRow:
    end = None if until is None else at(until)
    return PeriodRow("r", 1, "w", owner, None, at(since), end, None, None, "")


def test_bars_stand_where_and_as_long_as_they_took() -> None:
    painting = Painting(spans=[Span("ship", "try", at(25), at(50), attempt=1, how="succeeded")])

    [row] = timeline_of(painting, [], START, at(100)).rows

    assert [(bar.x, bar.width, bar.text) for bar in row.bars] == [(25, 25, "try 1: succeeded")]


def test_what_goes_on_reaches_to_the_end_and_what_took_no_time_is_seen() -> None:
    spans = [Span("a", "try", at(99.99), at(99.99)), Span("b", "approval", at(60))]

    first, second = timeline_of(Painting(spans=spans), [], START, at(100)).rows

    assert first.bars[0].width == WIDTH_MIN
    assert first.bars[0].x + first.bars[0].width <= 100
    assert second.bars[0].x + second.bars[0].width == 100


def test_whose_it_was_stands_above() -> None:
    periods = [period("team:a", 0, 40), period("team:b", 40, None)]

    [row] = timeline_of(Painting(), periods, START, at(100)).rows

    assert row.name == "owner"
    assert [(bar.text, bar.x, bar.width) for bar in row.bars] == [
        ("team:a", 0, 40),
        ("team:b", 40, 60),
    ]


@pytest.mark.parametrize("seconds", [0, 0.004, 0.7, 42, 5_000, 400_000, 9e7, 3e9])
def test_the_scale_has_a_few_even_marks_however_long_it_is(seconds: float) -> None:
    ticks = timeline_of(Painting(), [], START, at(seconds)).ticks

    assert ticks[0].text == "0"
    assert 1 <= len(ticks) <= 7
    assert all(0 <= tick.x <= 96 for tick in ticks)
