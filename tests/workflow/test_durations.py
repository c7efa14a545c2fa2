"""Durations, read and written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.workflow import DefinitionRefused
from meshline.workflow.durations import duration_text, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("4h", 14_400), ("2d", 172_800),
        ("1w", 604_800), ("1h30m", 5_400), ("1 h 30 m", 5_400), ("0.1s", 0.1),
    ],
)  # fmt: skip
def test_a_text_is_so_many_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text, "timeout") == seconds


def test_a_timedelta_will_do() -> None:
    assert seconds_of(timedelta(hours=1), "timeout") == 3_600


def test_nothing_at_all_is_taken_only_where_it_makes_sense() -> None:
    assert seconds_of("0s", "quiet time", zero_allowed=True) == 0
    with pytest.raises(DefinitionRefused):
        seconds_of("0s", "timeout")


@given(st.integers(min_value=1, max_value=10**12).map(lambda milliseconds: milliseconds / 1000))
def test_what_is_written_is_read_back(seconds: float) -> None:
    assert seconds_of(duration_text(seconds), "timeout") == seconds


@given(st.text(max_size=12))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        assert seconds_of(text, "timeout") > 0
    except DefinitionRefused as refused:
        assert refused.code == "ML4005"


def test_the_writing_is_for_people() -> None:
    assert [duration_text(s) for s in (0, 0.25, 90, 5_400, 172_800, 2_592_000)] == [
        "0s", "250ms", "1m30s", "1h30m", "2d", "30d",
    ]  # fmt: skip
