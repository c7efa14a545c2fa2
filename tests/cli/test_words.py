"""Ages and moments as people read them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshline.cli.words import age, ago, clock_time, due, prompt_name

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10.0s"),
        (59, "59s"),
        (60, "1m"),
        (61, "1m1s"),
        (3_600, "1h"),
        (3_661, "1h1m"),
        (86_400, "1d"),
        (90_061, "1d1h"),
        (86_460, "1d"),
    ],
)
def test_an_age_has_two_units_at_most(seconds: float, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


def test_what_is_due_says_whether_it_is_late() -> None:
    assert due(NOW + timedelta(hours=3, minutes=20), NOW) == "in 3h20m"
    assert due(NOW - timedelta(days=2), NOW) == "2d late"
    assert due(None, NOW) == ""


def test_what_is_to_come_is_no_age() -> None:
    assert ago(NOW - timedelta(minutes=5), NOW) == "5m"
    assert ago(NOW + timedelta(minutes=5), NOW) == "-5m"
    assert ago(None, NOW) == ""


def test_a_moment_is_in_utc() -> None:
    assert clock_time(NOW) == "2026-01-01 12:00:00Z"
    assert clock_time(None) == ""


def test_hints_are_typed_as_this_command_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/meshline")])
    assert prompt_name() == ".venv/bin/meshline"

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/meshline").touch()
    assert prompt_name() == "meshline"
