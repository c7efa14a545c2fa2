"""Moments and texts as pages show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from meshline.console import words
from meshline.events.errors import SettingsInvalid

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (9, "9 s"),
        (125, "2 m 5 s"),
        (3_600, "1 h"),
        (183_600, "2 d 3 h"),
        (458_964_000, "14 y 202 d"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds: float, said: str) -> None:
    assert words.age(timedelta(seconds=seconds)).replace("\u00a0", " ") == said


def test_what_is_past_is_late_and_what_comes_is_in_a_while() -> None:
    hour = timedelta(hours=1)

    assert words.due(NOW - hour, NOW) == "1\u00a0h late"
    assert words.due(NOW + hour, NOW) == "in 1\u00a0h"
    assert words.ago(NOW + hour, NOW) == "in 1\u00a0h"
    assert words.ago(NOW - hour, NOW) == "1\u00a0h ago"
    assert words.ago(NOW - timedelta(minutes=12, seconds=5), NOW) == "12\u00a0m ago"
    assert words.ago(NOW - timedelta(days=2, hours=4), NOW) == "2\u00a0d 4\u00a0h ago"
    long_past = NOW - timedelta(days=5_000)
    assert words.ago(long_past, NOW) == long_past.date().isoformat()


def test_marks_that_hide_or_turn_text_are_shown_by_their_number() -> None:
    assert words.visible("a\u202egnp.exe\u0000") == "a⟨U+202E⟩gnp.exe⟨U+0000⟩"
    assert words.visible("Zoë, 東京, مرحبا\n") == "Zoë, 東京, مرحبا\n"


def test_long_texts_and_values_are_cut_and_say_so() -> None:
    assert words.shortened("x" * 60_000, 10) == "x" * 9 + "…"
    assert words.shortened("two\n  lines", 10) == "two lines"
    assert words.pretty("x" * 60_000, 100).endswith("more characters")


def test_a_moment_without_a_zone_is_in_utc() -> None:
    assert words.moment_of("2026-01-05T12:00") == NOW
    assert words.moment_of("2026-01-05T13:00+01:00") == NOW
    assert words.moment_of(" ") is None
    with pytest.raises(SettingsInvalid, match="is no moment"):
        words.moment_of("noon")
