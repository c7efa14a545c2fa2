"""Clocks tell the time in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from meshline.events.clock import ManualClock, SystemClock, unix_ms


def test_the_machines_clock_is_in_utc() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert abs(now.timestamp() * 1000 - unix_ms()) < 60_000


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock()
    before = clock.now()

    clock.set(before + timedelta(hours=1))

    assert before == datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now() == clock.now() == before + timedelta(hours=1)
