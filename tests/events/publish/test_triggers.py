"""From what a source says to the request that is kept: whatever it says."""

from __future__ import annotations

import base64
import json

import pytest

from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.gate import Gate
from meshline.events.ids import run_id_of
from meshline.events.publish.answer import Trigger
from meshline.events.publish.triggers import Received, receive
from meshline.events.requests import TriggerReceived
from tests.events.publish.doubles import NOW
from tests.hostile import hostile_identifiers, hostile_objects, hostile_payloads

GATE = Gate()
IDENTIFIERS = dict(hostile_identifiers())


def kept(received: Received) -> TriggerReceived:
    """The request as it comes out of the log again."""
    event = Event("id", "s", received.run_id, NOW, received.data, NOW)
    data = decode(encode(event)).data
    assert isinstance(data, TriggerReceived)
    assert received.run_id == run_id_of(data.source, data.trigger_id)
    assert len(encode(event)) < 100_000
    return data


def test_whatever_comes_is_kept_as_it_is_or_as_unreadable() -> None:
    for name, raw in hostile_payloads(seed=2, count=2_000):
        data = kept(receive(Trigger("s", raw, "1"), GATE, raw=raw))

        if data.unreadable is None:
            assert data.payload == json.loads(raw), name
        else:
            assert data.payload is None
            assert raw.startswith(base64.b64decode(data.unreadable.raw_base64))
            assert data.unreadable.size_bytes == len(raw)


def test_objects_are_kept_too() -> None:
    for _, value in hostile_objects():
        kept(receive(Trigger("s", value, "1"), GATE))


@pytest.mark.parametrize("field", ["source", "trigger_id", "trigger_type", "correlation_id"])
@pytest.mark.parametrize("name", IDENTIFIERS)
def test_an_identifier_that_cannot_be_a_key_is_kept_in_words(field: str, name: str) -> None:
    fields = {"source": "s", "trigger_id": "1", field: IDENTIFIERS[name]}
    fine = receive(Trigger("s", {}, "1", IDENTIFIERS["256"]), GATE)
    assert kept(fine).unreadable is None

    received = receive(Trigger(payload={"a": 1}, **fields), GATE)

    data = kept(received)
    if data.unreadable is not None:
        words = {"source": "source", "trigger_id": "trigger id"}.get(field)
        assert words is None or f"The {words} is" in data.unreadable.detail
        assert json.loads(base64.b64decode(data.unreadable.raw_base64)) == {"a": 1}


def test_the_same_unreadable_trigger_is_the_same_again_and_another_is_another() -> None:
    def id_of(source: str, trigger_id: str, payload: object) -> str:
        return kept(receive(Trigger(source, payload, trigger_id), GATE)).trigger_id

    assert id_of("s", "a\n", {"a": 1}) == id_of("s", "a\n", {"a": 1})
    assert id_of("s", "a\n", {"a": 1}) != id_of("s", "a\n", {"a": 2})
    assert id_of("s", "a\n", {"a": 1}) != id_of("s", "b\n", {"a": 1})
    assert id_of("s", "a\n", {}).startswith("unreadable-")
    assert id_of("s\n", "a", {}) == "a"


def test_all_that_is_wrong_is_said_and_the_first_names_the_reason() -> None:
    received = receive(Trigger("s", {"a": "\x00"}, "a\n", time=NOW.replace(tzinfo=None)), GATE)

    unreadable = kept(received).unreadable
    assert unreadable is not None
    assert unreadable.reason == "nul_character"
    assert "U+0000" in unreadable.detail
    assert "trigger id is 'a\\n'" in unreadable.detail
    assert "an offset from UTC" in unreadable.detail
    assert received.time is None


def test_the_text_null_is_a_payload() -> None:
    data = kept(receive(Trigger("s", None, "1"), GATE, raw=b"null"))

    assert (data.payload, data.unreadable) == (None, None)
