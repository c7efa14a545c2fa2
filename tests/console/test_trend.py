"""A trend is drawn to scale, and says in words what it shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from meshline.console.trend import HEIGHT, HEIGHT_MIN, trend_of
from meshline.projections.cause_queries import Opened

MIDNIGHT = datetime(2026, 11, 17, tzinfo=UTC)


def hours(*counts: int) -> list[Opened]:
    return [Opened(MIDNIGHT + timedelta(hours=index), count) for index, count in enumerate(counts)]


def test_columns_are_as_high_as_what_they_count_and_what_is_not_nothing_is_seen() -> None:
    trend = trend_of(hours(0, 1, 1000, 500), "hour")

    assert [column.height for column in trend.columns] == [0, HEIGHT_MIN, HEIGHT, HEIGHT / 2]
    assert [column.x for column in trend.columns] == [3.125, 28.125, 53.125, 78.125]
    assert all(c.x >= 0 and c.x + c.width <= 100 for c in trend.columns)
    assert [column.tick for column in trend.columns] == [False, False, False, True]


def test_it_says_in_words_how_many_when_the_most_and_how_many_now() -> None:
    assert trend_of(hours(2, 7, 1), "hour").words == (
        "10 in the last 3 hours; the most, 7, on 17 Nov 01:00; 1 this hour."
    )
    assert trend_of(hours(1200, 3), "day").words == (
        "1\u202f203 in the last 2 days; the most, 1\u202f200, on 17 Nov; 3 today."
    )


def test_where_there_was_none_it_says_so() -> None:
    trend = trend_of(hours(0, 0), "day")

    assert trend.words == "None in the last 2 days."
    assert {column.height for column in trend.columns} == {0}
