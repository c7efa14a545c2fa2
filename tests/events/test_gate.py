"""The gate: what passes can be kept everywhere, as it was sent; the rest is refused quickly."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events.errors import PayloadRefused
from meshline.events.gate import (
    KEPT_BYTES,
    SKETCH_BYTES_MAX,
    Gate,
    check_identifier,
    kept,
    sketched,
)
from tests.hostile import hostile_identifiers, hostile_objects, hostile_payloads

GATE = Gate()
PAYLOADS = dict(hostile_payloads(seed=1, count=0))
OBJECTS = dict(hostile_objects())
IDENTIFIERS = dict(hostile_identifiers())
REASONS = {
    "bad_identifier",
    "duplicate_key",
    "lone_surrogate",
    "not_json",
    "not_utf8",
    "nul_character",
    "number_out_of_range",
    "too_deep",
    "too_large",
}

# What only looks bad.
ACCEPTED = {
    "text that looks like an escaped nul",
    "pair",
    "noncharacter",
    "line separator",
    "bidi marks",
    "byte order mark inside",
    "escaped control character",
    "1e-999",
    "1e308",
    "long fraction",
    "2**63",
    "2**64-1",
    "-2**63",
    "beyond 2**53",
    "minus zero",
    "key that only looks like twice",
    "__proto__",
    "empty key",
    "key with quotes",
    "empty list",
    "empty object",
    "template",
    "envelope in the data",
    "spaces",
    "floats that grow",
    "lists, just not too deep",
    "objects, just not too deep",
    "64 KiB",
    "60 KB text",
    "60 KB of quotes",
    "60 KB of backslashes",
    "many small values",
    "many small objects",
    "many keys",
    "many escapes",
    "long integers",
}
REFUSED_FOR = {
    "overlong slash": "not_utf8",
    "surrogate in utf-8": "not_utf8",
    "latin-1": "not_utf8",
    "utf-16": "not_utf8",
    "nan": "not_json",
    "raw nul": "not_json",
    "escaped nul": "nul_character",
    "escaped nul after backslashes": "nul_character",
    "nul in a key": "nul_character",
    "lone high": "lone_surrogate",
    "lone low": "lone_surrogate",
    "pair the wrong way round": "lone_surrogate",
    "half a pair at the end": "lone_surrogate",
    "lone surrogate in a key": "lone_surrogate",
    "1e999": "number_out_of_range",
    "400 digits": "number_out_of_range",
    "2**64": "number_out_of_range",
    "-2**63-1": "number_out_of_range",
    "key twice": "duplicate_key",
    "key twice, once escaped": "duplicate_key",
    "key twice, deeper": "duplicate_key",
    "many of one key": "duplicate_key",
    "lists, too deep": "too_deep",
    "objects, too deep": "too_deep",
    "deep with a value inside": "too_deep",
    "64 KiB and a byte": "too_large",
    "floats that grow too large": "too_large",
    "10 MB": "too_large",
    "empty": "not_json",
    "byte order mark": "not_json",
    "two values": "not_json",
    "trailing comma": "not_json",
}


def depth_of(value: Any) -> int:
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, list | dict)]:
        depth += 1
        level = [v for c in level for v in (c if isinstance(c, list) else c.values())]
    return depth


def check_kept(value: Any, gate: Gate = GATE) -> None:
    """What every log and view relies on, checked without any code of the gate."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    assert "\\u0000" not in text.replace("\\\\", "")
    assert orjson.loads(orjson.dumps(value)) == value
    assert len(orjson.dumps(value)) <= gate.payload_bytes_max
    assert depth_of(value) <= gate.depth_max


def refusal_of(call: Callable[[], object]) -> str | None:
    try:
        call()
    except PayloadRefused as refusal:
        assert refusal.reason in REASONS
        assert len(refusal.message) < 1_000
        refusal.message.encode()
        assert "\x00" not in refusal.message
        return refusal.reason
    return None


def test_ten_thousand_hostile_payloads_pass_whole_or_are_refused() -> None:
    passed = 0

    for name, raw in hostile_payloads(seed=1, count=10_000):
        if refusal_of(lambda raw=raw: GATE.parse(raw)) is None:  # type: ignore[misc]
            passed += 1
            value = GATE.parse(raw)
            check_kept(value)
            assert value == json.loads(raw, parse_constant=pytest.fail), name
            assert GATE.check(value) == value
            assert GATE.parse(orjson.dumps(value)) == value

    assert 2_000 < passed < 8_000


@pytest.mark.parametrize("name", list(PAYLOADS))
def test_what_only_looks_bad_is_let_through_and_the_rest_has_its_reason(name: str) -> None:
    raw = PAYLOADS[name]

    reason = refusal_of(lambda: GATE.parse(raw))

    assert (reason is None) == (name in ACCEPTED), reason
    assert reason == REFUSED_FOR.get(name, reason)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_no_object_comes_through_that_is_not_plain(name: str) -> None:
    value = OBJECTS[name]
    started = time.perf_counter()

    if refusal_of(lambda: GATE.check(value)) is None:
        check_kept(GATE.check(value))
    sketch = sketched(value)

    assert len(sketch) <= SKETCH_BYTES_MAX
    assert time.perf_counter() - started < 10, "bounded: without a limit, years"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, [2.5, None, True]), [1, [2.5, None, True]]),
        (OBJECTS["enum"], "red"),
        (OBJECTS["int enum"], 1),
        (OBJECTS["int subclass"], 5),
        (OBJECTS["text subclass"], "x"),
        (OBJECTS["dict subclass"], {"a": 1}),
        (OBJECTS["endless list subclass"], [1]),
        (OBJECTS["uuid"], "00000000-0000-0000-0000-000000000005"),
        (OBJECTS["date"], "2026-01-01"),
        (OBJECTS["data"], {"inner": [1]}),
        (
            OBJECTS["model"],
            {"name": "x", "at": "2026-01-01T00:00:00", "anything": None},
        ),
    ],
)
def test_what_json_has_a_word_for_becomes_it(value: Any, plain: Any) -> None:
    assert GATE.check(value) == plain


def test_what_was_checked_is_a_copy() -> None:
    payload = {"a": [1]}

    checked = GATE.check(payload)
    payload["a"].append(2)

    assert checked == {"a": [1]}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), inner)
    ),
)


@given(json_values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_all_that_json_can_say_passes_unchanged_however_it_is_written(
    value: Any, ascii_only: bool, indent: int | str | None
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()

    assert GATE.parse(raw) == value
    assert GATE.check(value) == value


@given(st.binary())
def test_any_bytes_pass_or_are_refused(raw: bytes) -> None:
    if refusal_of(lambda: GATE.parse(raw)) is None:
        check_kept(GATE.parse(raw))


@pytest.mark.parametrize("depth", range(6))
def test_depth_counts_lists_and_objects_also_empty_ones(depth: int) -> None:
    gate = Gate(depth_max=3)
    shapes: list[Any] = [[], {}, [1], {"a": 1}]
    for _ in range(depth - 1):
        shapes = [[s] for s in shapes] + [{"a": s, "b": 1} for s in shapes]
    shapes = shapes if depth else [1, "x", None]

    for shape in shapes:
        expected = "too_deep" if depth > 3 else None
        assert refusal_of(lambda shape=shape: gate.check(shape)) == expected  # type: ignore[misc]
        raw = json.dumps(shape).encode()
        assert refusal_of(lambda raw=raw: gate.parse(raw)) == expected  # type: ignore[misc]


def test_a_payload_is_measured_as_it_will_be_written() -> None:
    gate = Gate(payload_bytes_max=100)

    assert gate.parse(b"[" + b" " * 50 + b"1e15]") == [1e15]
    with pytest.raises(PayloadRefused, match="bytes: expected at most 100"):
        gate.parse(b"[" + b",".join([b"1e15"] * 10) + b"]")
    with pytest.raises(PayloadRefused, match="bytes: expected at most 100"):
        gate.check(["\x01" * 30])


@pytest.mark.parametrize("name", list(PAYLOADS))
def test_no_payload_takes_long(name: str) -> None:
    raw = PAYLOADS[name]
    best_s = math.inf

    for _ in range(5):
        started = time.perf_counter()
        refusal_of(lambda: GATE.parse(raw))
        best_s = min(best_s, time.perf_counter() - started)

    # Measured: the worst takes 4 ms on a slow machine. Quadratic would be seconds.
    assert best_s < 0.05


@pytest.mark.parametrize("name", list(IDENTIFIERS))
def test_an_identifier_can_be_a_key_everywhere(name: str) -> None:
    value = IDENTIFIERS[name]
    good = {
        *(
            "256",
            "128 of four bytes",
            "128 different",
            "text subclass",
            "quotes",
            "path",
            "percent",
            "slash",
        ),
        *("combining", "inner space", "markup"),
    }

    reason = refusal_of(lambda: check_identifier("source", value))

    assert reason == (None if name in good else "bad_identifier")
    if reason is None:
        assert type(check_identifier("source", value)) is str


def test_an_identifier_that_is_refused_says_what_to_do() -> None:
    with pytest.raises(PayloadRefused) as refusal:
        check_identifier("trigger id", "a\x00")

    assert str(refusal.value) == (
        "ML1001 The trigger id is 'a\\x00': expected 1 to 256 printable characters without space "
        "at the ends, of at most 512 bytes in UTF-8. Choose another."
    )


def test_the_beginning_of_what_is_refused_is_kept() -> None:
    raw = bytes(range(256)) * 1_000

    unreadable = kept(raw, PayloadRefused("not_utf8", "It is no UTF-8."))

    assert base64.b64decode(unreadable.raw_base64) == raw[:KEPT_BYTES]
    assert (unreadable.size_bytes, unreadable.reason) == (256_000, "not_utf8")
    assert unreadable.detail == "It is no UTF-8."


def test_a_refused_object_is_kept_as_far_as_it_can_be_told() -> None:
    assert sketched({"a": [1, float("nan")]}) == b'{"a": [1, NaN]}'
    assert sketched({"a": {1, 2}}) == b'{"a": "<set>"}'
    assert sketched("x" * 3_000_000)[:5] == b'"xxxx'
    cycle: list[Any] = [1]
    cycle.append(cycle)
    assert sketched(cycle).startswith(b"[1")
