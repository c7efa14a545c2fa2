"""What a message of a source topic says: CloudEvents in both modes, plain JSON, broken ones."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events.gate import Gate
from meshline.events.log.kafka_signal import JsonMapping, Message, SourceSignal, signal_of

GATE = Gate()
MAPPING = JsonMapping(id_field="order.number", source="shop", type_field="kind")

Headers = list[tuple[str, bytes | None]]

CE_HEADERS: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"a-1"),
    ("ce_source", b"web.forms"),
    ("ce_type", b"form.submitted"),
    ("content-type", b"application/json; charset=utf-8"),
]
STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def read(
    value: bytes | None,
    headers: Headers | None = None,
    *,
    key: bytes | None = None,
    mapping: JsonMapping | None = None,
) -> SourceSignal:
    return signal_of(Message("t", 3, 7, key, value, headers or []), mapping, GATE)


def reason(signal: SourceSignal) -> str | None:
    return signal.problem.reason if signal.problem else None


def test_binary_mode_takes_the_attributes_from_the_headers() -> None:
    trace: Headers = [("ce_traceparent", b"00-ab"), ("ce_time", b"2026-01-02T03:04:05Z")]

    signal = read(b'{"email": "ada@example.org"}', CE_HEADERS + trace)

    assert signal == SourceSignal(
        source="web.forms",
        trigger_id="a-1",
        trigger_type="form.submitted",
        payload=b'{"email": "ada@example.org"}',
        problem=None,
        raw=b'{"email": "ada@example.org"}',
        address="t:3:7",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        traceparent="00-ab",
    )


def test_structured_mode_takes_everything_from_the_value() -> None:
    event = {
        "specversion": "1.0",
        "id": "a-1",
        "source": "web.forms",
        "type": "form.submitted",
        "data": {"email": "ada@example.org"},
    }

    signal = read(orjson.dumps(event), STRUCTURED)

    assert signal.problem is None
    assert (signal.source, signal.trigger_id) == ("web.forms", "a-1")
    assert signal.payload == b'{"email":"ada@example.org"}'


def test_structured_data_may_be_in_base64() -> None:
    event = {"id": "1", "source": "s", "type": "t", "data_base64": "eyJhIjogMX0="}

    assert read(orjson.dumps(event), STRUCTURED).payload == b'{"a": 1}'


def test_plain_json_is_read_by_the_mapping() -> None:
    value = b'{"order": {"number": 17}, "kind": "paid"}'

    signal = read(value, mapping=MAPPING)

    assert (signal.source, signal.trigger_id, signal.trigger_type) == ("shop", "17", "paid")
    assert signal.payload == value


def test_the_key_can_be_the_id() -> None:
    signal = read(b"{}", key=b"k-1", mapping=JsonMapping(source="shop"))

    assert (signal.trigger_id, signal.problem) == ("k-1", None)


@pytest.mark.parametrize(
    ("value", "headers", "expected"),
    [
        (b"{}", [], "no_cloudevent"),
        (b"{}", [h for h in CE_HEADERS if h[0] != "ce_id"], "no_identifier"),
        (b"{}", [("ce_id", None), *CE_HEADERS[2:]], "no_cloudevent"),
        (b"{}", [("ce_id", b" padded "), *CE_HEADERS[2:]], "bad_identifier"),
        (b"{}", [("ce_id", b"\xff"), *CE_HEADERS[2:]], "not_utf8"),
        (b"{", CE_HEADERS, "not_json"),
        (b'"\xff"', CE_HEADERS, "not_utf8"),
        (b'"' + b"x" * 70_000 + b'"', CE_HEADERS, "too_large"),
        (
            b"\x00avro",
            [*CE_HEADERS[:4], ("content-type", b"avro/binary")],
            "unsupported_content_type",
        ),
        (b"[]", STRUCTURED, "not_json"),
        (b'{"id": 1, "source": "s"}', STRUCTURED, "bad_identifier"),
        (b'{"source": "s"}', STRUCTURED, "no_identifier"),
        (b'{"id":"1","source":"s","data_base64":"%"}', STRUCTURED, "not_json"),
        (
            b"[]",
            [("content-type", b"application/cloudevents-batch+json")],
            "unsupported_content_type",
        ),
    ],
)
def test_what_is_broken_has_a_problem_and_an_identity(
    value: bytes, headers: Headers, expected: str
) -> None:
    signal = read(value, headers)

    assert reason(signal) == expected
    assert signal.payload is None
    assert signal.raw == value
    assert signal.source in ("web.forms", "s", "t")
    assert signal.trigger_id in ("a-1", "1", "t:3:7")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"kind": "paid"}', "no_identifier"),
        (b'{"order": {"number": true}}', "no_identifier"),
        (b'{"order": []}', "no_identifier"),
        (b"17", "no_identifier"),
        (b"{", "not_json"),
        (None, "empty_message"),
    ],
)
def test_plain_json_that_the_mapping_does_not_fit_has_a_problem(
    value: bytes | None, expected: str
) -> None:
    assert reason(read(value, mapping=MAPPING)) == expected


@given(
    value=st.none() | st.binary(max_size=200),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_source", "ce_specversion", "content-type", "x"]),
            st.none() | st.binary(max_size=20) | st.sampled_from([b"application/cloudevents+json"]),
        ),
        max_size=5,
    ),
    mapping=st.none() | st.just(MAPPING),
)
def test_no_message_raises(
    value: bytes | None, headers: Headers, mapping: JsonMapping | None
) -> None:
    signal = read(value, headers, mapping=mapping)

    assert (signal.payload is None) == (signal.problem is not None)
    assert signal.source and signal.trigger_id
