"""Events to bytes and back, for every class of the catalogue."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshline.events import codec, upcast
from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.codec import decode, encode, glance
from meshline.events.envelope import Actor, Event, Position
from meshline.events.errors import EventUnreadable, EventVersionUnknown, PayloadRefused
from meshline.events.facts import PartitionClaimed, RunPaused, RunSucceeded, StepStarted
from meshline.events.moments import in_utc
from meshline.events.requests import StepError, TriggerReceived
from tests.events.strategies import events, json_values
from tests.hostile import FRAGMENTS

NOW = datetime.fromisoformat("2026-01-05T09:31:07.250000Z")


def step_started(**changes: Any) -> Event[StepStarted]:
    event = Event(
        id="12-3",
        source="meshline/0",
        subject="run",
        time=NOW,
        data=StepStarted(step="enrich", attempt=1),
        recorded_at=NOW,
        epoch=12,
        sequence=3,
    )
    return event._replace(**changes)


@pytest.mark.parametrize("data_type", CATALOGUE.values(), ids=lambda c: c.__name__)
@given(data=st.data())
@settings(max_examples=15)
def test_every_event_comes_back_as_it_was(data_type: Any, data: st.DataObject) -> None:
    event = data.draw(events(data_type))

    value = encode(event)

    assert decode(value) == event
    assert encode(decode(value)) == value


@given(events())
def test_an_event_keeps_the_rules_of_cloudevents(event: Event[Any]) -> None:
    envelope = json.loads(encode(event))

    assert envelope["specversion"] == "1.0"
    assert {"id", "source", "type", "time"} <= set(envelope)
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in envelope)
    attributes = {name: value for name, value in envelope.items() if name != "data"}
    assert all(isinstance(value, str) and value for value in attributes.values())
    for name in {"time", "recordedtime"} & set(attributes):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", attributes[name])
    assert list(envelope)[-1] == "data"


def test_an_event_looks_like_this() -> None:
    event = step_started(causation_id="3:1041", actor=Actor("system", "keeper"))

    assert json.loads(encode(event)) == {
        "specversion": "1.0",
        "id": "12-3",
        "source": "meshline/0",
        "type": "meshline.step.started.v1",
        "subject": "run",
        "time": "2026-01-05T09:31:07.250000Z",
        "epoch": "12",
        "sequence": "3",
        "causationid": "3:1041",
        "authtype": "system",
        "authid": "keeper",
        "data": {"step": "enrich", "attempt": 1, "why": "ready"},
    }


def test_times_come_back_in_utc() -> None:
    vienna = NOW.astimezone(timezone(timedelta(hours=1)))

    decoded = decode(encode(step_started(time=vienna, recorded_at=vienna)))

    assert decoded.time == NOW
    assert decoded.time.utcoffset() == timedelta(0)


GOOD = encode(step_started())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{}",
        b'{"a":1',
        b"\xff\xfe",
        b"[" * 2_000,
        GOOD[:-1],
        GOOD.replace(b'"step":"enrich",', b""),
        GOOD.replace(b'"attempt":1', b'"attempt":"one"'),
        GOOD.replace(b'"attempt":1', b'"attempt":1,"more":2'),
        GOOD.replace(b'"id":"12-3",', b""),
        GOOD.replace(b'"id":"12-3"', b'"id":12'),
        GOOD.replace(b'"id":"12-3"', b'"id":""'),
        GOOD.replace(b'"source":"meshline/0"', b'"source":null'),
        GOOD.replace(b'"subject":"run"', b'"subject":["run"]'),
        GOOD.replace(b'"time":"2026-01-05T09:31:07.250000Z"', b'"time":"yesterday"'),
        GOOD.replace(b'"time":"2026-01-05T09:31:07.250000Z"', b'"time":1767605467'),
        GOOD.replace(b"07.250000Z", b"07.250000"),
        GOOD.replace(b'"sequence":"3",', b""),
        GOOD.replace(b'"epoch":"12"', b'"epoch":"twelve"'),
        GOOD.replace(b'"epoch":"12"', b'"epoch":"' + b"9" * 5_000 + b'"'),
        GOOD.replace(b'"sequence":"3"', b'"sequence":"3","authtype":"user"'),
        GOOD.replace(b'"sequence":"3"', b'"sequence":"3","causationid":{"a":1}'),
        GOOD.replace(b'"type":"meshline.step.started.v1"', b'"type":["a"]'),
        GOOD.replace(b'"data":{', b'"datum":{'),
        *FRAGMENTS.values(),
    ],
)
def test_bytes_that_are_no_event_say_what_where_and_what_to_do(value: bytes) -> None:
    with pytest.raises(EventUnreadable) as error:
        decode(value, Position(3, 41))

    message = str(error.value)
    assert message.startswith("ML1003 Cannot read b")
    assert "at partition 3, position 41: expected a CloudEvent of Meshline in JSON" in message
    assert message.endswith("find the writer, and give it its own.")
    assert len(message) < 1_500


def read_plainly(value: bytes) -> Event[Any]:
    """What ``decode`` is to do, at leisure: pydantic's public door, and one check for each rule."""
    envelope = orjson.loads(value)
    data_type = CATALOGUE[envelope["type"]]
    time = in_utc(datetime.fromisoformat(envelope["time"]))
    event = Event(
        id=envelope["id"],
        source=envelope["source"],
        subject=envelope.get("subject", ""),
        time=time,
        data=data_type.model_validate(envelope["data"]),
        recorded_at=time,
        causation_id=envelope.get("causationid"),
        correlation_id=envelope.get("correlationid"),
        traceparent=envelope.get("traceparent"),
    )
    if envelope.get("recordedtime") is not None:
        recorded = in_utc(datetime.fromisoformat(envelope["recordedtime"]))
        event = event._replace(recorded_at=recorded)
    if envelope.get("epoch") is not None:
        epoch, sequence = int(envelope["epoch"]), int(envelope["sequence"])
        event = event._replace(epoch=epoch, sequence=sequence)
    if envelope.get("authtype") is not None:
        event = event._replace(actor=Actor(envelope["authtype"], envelope["authid"]))
    required = (event.id, event.source, event.subject)
    optional = [event.causation_id, event.correlation_id, event.traceparent]
    optional += event.actor or []
    if not all(isinstance(text, str) for text in required):
        raise TypeError(required)
    if not all(text is None or isinstance(text, str) for text in optional):
        raise TypeError(optional)
    if not event.id or not event.source:
        raise ValueError(required)
    return event


hostile = st.one_of(
    json_values,
    st.sampled_from(
        [0, "1", 1.0, "x" * 70_000, [[]], {}, "2026-01-05T09:31:07Z", "ready", "\ud7ff"]
    ).map(deepcopy),  # what is put in may be put into itself next
)


@pytest.mark.parametrize("data_type", CATALOGUE.values(), ids=lambda c: c.__name__)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_what_decode_takes_is_what_is_valid_and_as_it_is(
    data_type: Any, data: st.DataObject
) -> None:
    envelope = orjson.loads(encode(data.draw(events(data_type))))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.sampled_from([envelope, envelope["data"]]), label="place")
        if not isinstance(place, dict):
            continue
        fields = [*data_type.model_fields, *envelope, "more"]
        field = data.draw(st.sampled_from(fields), label="field")
        if data.draw(st.booleans()) and field not in ("type", "data"):
            place.pop(field, None)
        elif field != "type":
            place[field] = data.draw(hostile, label="value")
    value = orjson.dumps(envelope)

    try:
        expected = read_plainly(value)
    except (KeyError, TypeError, ValueError):
        with pytest.raises(EventUnreadable):
            decode(value)
        return

    found = decode(value)
    assert found == expected
    assert repr(found) == repr(expected)
    assert found.data.model_fields_set == expected.data.model_fields_set
    assert type(found.actor) is type(expected.actor)


def test_a_newer_version_says_to_upgrade() -> None:
    with pytest.raises(EventVersionUnknown) as error:
        decode(GOOD.replace(b"started.v1", b"started.v2"), Position(3, 41))

    assert str(error.value) == (
        "ML1004 Cannot read event 'meshline.step.started' at partition 3, position 41: expected "
        "version 1 or older, found 2. This program is older than the writer: upgrade it, then "
        "restart."
    )


@pytest.mark.parametrize(
    "name", ["com.example.order.v1", "meshline.step.exploded.v1", "x", 7, None]
)
def test_an_unknown_type_says_so(name: object) -> None:
    value = GOOD.replace(b'"meshline.step.started.v1"', json.dumps(name).encode())

    with pytest.raises(EventVersionUnknown, match=r"expected one of the \d+ types") as error:
        decode(value)

    assert repr(str(name)) in str(error.value)


def test_an_older_version_is_brought_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    old, middle, new = "meshline.step.began.v1", "meshline.step.began.v2", type_name(StepStarted)
    monkeypatch.setitem(upcast.UPCASTS, old, (middle, lambda data: {**data, "attempt": 1}))
    monkeypatch.setitem(
        upcast.UPCASTS, middle, (new, lambda data: {"step": data["name"], "attempt": 1})
    )
    value = GOOD.replace(new.encode(), old.encode()).replace(
        b'{"step":"enrich","attempt":1,"why":"ready"}', b'{"name":"enrich"}'
    )

    assert decode(value) == step_started()


def test_what_no_view_could_store_is_never_written() -> None:
    with pytest.raises(PayloadRefused, match=r"meshline.run.succeeded.v1 '12-3'.*U\+0000"):
        encode(step_started(data=RunSucceeded(outcome={"a": ["\x00"]})))
    with pytest.raises(TypeError):
        encode(step_started(data=RunSucceeded(outcome="\ud800")))
    with pytest.raises(TypeError):
        encode(step_started(data=RunSucceeded(outcome={1, 2})))
    with pytest.raises(AssertionError):
        encode(step_started(time=NOW.replace(tzinfo=None)))


def test_the_models_take_no_time_without_a_zone_and_no_number_that_is_none() -> None:
    with pytest.raises(ValueError, match="timezone"):
        RunPaused(until=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="finite"):
        StepError(type="X", message="", retry_after_s=float("inf"))


def test_the_error_of_a_step_can_always_be_kept() -> None:
    error = StepError(type="OSError", message="caf\udce9 \x00", stack="x" * 100_000)

    assert (error.message, len(error.stack or "")) == ("caf\ufffd \ufffd", 16_000)


@given(events())
def test_a_glance_sees_what_decoding_sees(event: Event[Any]) -> None:
    seen = glance(encode(event))

    in_range = event.epoch is not None and max(event.epoch, event.sequence or 0) < 10**19
    if event.epoch is None:
        assert seen.epoch is None
        assert seen.is_claim == isinstance(event.data, PartitionClaimed)
    elif in_range:
        assert (seen.epoch, seen.sequence) == (event.epoch, event.sequence)


def test_a_glance_is_not_deceived_by_data() -> None:
    payload = {"epoch": "1", "sequence": "2", "causationid": "0:1", "data": {"epoch": "1"}}
    trigger = TriggerReceived(
        source='","epoch":"9","sequence":"9","data":{', trigger_id="1", payload=payload
    )
    request = Event("a", 'x","epoch":"5","sequence":"5",', '","data":', NOW, trigger, NOW)

    assert glance(encode(request)) == (None, 0, None, False)
    assert glance(encode(step_started(causation_id="3:7"))) == (12, 3, b"3:7", False)
    assert glance(b"\xff") == (None, 0, None, False)


def test_the_content_type_is_that_of_structured_cloudevents() -> None:
    assert codec.CONTENT_TYPE == "application/cloudevents+json"


def test_the_example_of_the_guide_is_an_event() -> None:
    guide = (Path(codec.__file__).parents[2] / "README.md").read_text("utf-8")
    [example] = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)

    value = orjson.dumps(orjson.loads(example))

    assert encode(decode(value)) == value
