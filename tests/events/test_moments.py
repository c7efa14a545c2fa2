"""Times at the ends of what can be said: they come from outside, and must stop nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from pydantic import ValidationError

from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.errors import EventUnreadable, PayloadRefused
from meshline.events.gate import Gate, check_time
from meshline.events.log.kafka_signal import Message, signal_of
from meshline.events.moments import TIME_MAX, TIME_MIN, in_utc
from meshline.events.publish.answer import Trigger
from meshline.events.publish.triggers import receive
from meshline.events.requests import CancelRequested, PauseRequested, TriggerReceived

NOW = datetime(2026, 1, 5, tzinfo=UTC)
EXTREME = [
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999+00:00",
    "9999-12-31T23:59:59-12:00",
]


class Broken(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("hostile")

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        raise RuntimeError("hostile")


def event(time: datetime) -> Event[CancelRequested]:
    return Event("e", "s", "r", time, CancelRequested(), NOW)


@pytest.mark.parametrize("text", EXTREME)
def test_an_extreme_time_is_refused_on_its_way_in(text: str) -> None:
    time = datetime.fromisoformat(text)

    data = receive(Trigger("s", {}, "1", time=time), Gate()).data

    assert isinstance(data, TriggerReceived)
    assert data.unreadable is not None
    assert data.unreadable.reason == "bad_time"
    with pytest.raises(PayloadRefused):
        encode(event(time))
    with pytest.raises(ValidationError):
        PauseRequested(until=time)


@pytest.mark.parametrize("text", EXTREME)
def test_an_event_with_an_extreme_time_is_unreadable_and_no_error_of_ours(text: str) -> None:
    value = encode(event(NOW)).replace(b"2026-01-05T00:00:00Z", text.encode())

    with pytest.raises(EventUnreadable):
        decode(value)


@pytest.mark.parametrize("text", [*EXTREME, "2026-01-05T00:00:00", "yesterday", ""])
def test_a_source_that_writes_no_real_time_has_said_none(text: str) -> None:
    headers = [
        ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_type", b"t"),
        ("ce_time", text.encode()),
    ]  # fmt: skip

    signal = signal_of(Message("topic", 0, 0, None, b"{}", headers), None, Gate())

    assert (signal.time, signal.problem) == (None, None)


@pytest.mark.parametrize("value", [NOW.replace(tzinfo=None), NOW.replace(tzinfo=Broken()), "now"])
def test_what_says_no_moment_is_refused(value: Any) -> None:
    with pytest.raises(PayloadRefused):
        check_time(value)


def test_every_other_time_comes_as_the_same_moment_in_utc() -> None:
    sweden = timezone(timedelta(hours=2))

    assert in_utc(datetime(2011, 4, 4, 16, tzinfo=sweden)) == datetime(2011, 4, 4, 14, tzinfo=UTC)
    assert in_utc(TIME_MIN) is TIME_MIN
    with pytest.raises(ValueError, match="out of range"):
        in_utc(TIME_MAX)
