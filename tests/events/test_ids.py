"""Ids are for ever: the same input gives the same id in every version."""

from __future__ import annotations

import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events import ids

NEVER = "never change this: history would fall apart. Take the change to ids.py back."


@pytest.mark.parametrize(
    ("source", "trigger_id", "run_id"),
    [
        ("web.forms", "7", "86195ad4-9b80-5272-b3f0-b3c231a9db54"),
        ("web.forms", "f-2026-000001", "9b06f8bc-a3bb-5caf-8176-6c37964f2c65"),
        ("Zürich", "株式会社 1", "72b5a52f-7537-5ea9-89db-8b25ac80f934"),
    ],
)
def test_a_run_id_is_the_same_for_ever(source: str, trigger_id: str, run_id: str) -> None:
    assert ids.run_id_of(source, trigger_id) == run_id, NEVER
    assert uuid.UUID(run_id).version == 5


@pytest.mark.parametrize(
    ("key", "partitions", "partition"),
    [
        ("", 1, 0),
        ("", 12, 0),
        ("86195ad4-9b80-5272-b3f0-b3c231a9db54", 8, 5),
        ("86195ad4-9b80-5272-b3f0-b3c231a9db54", 12, 9),
        ("9b06f8bc-a3bb-5caf-8176-6c37964f2c65", 64, 59),
        ("株式会社", 1000, 875),
    ],
)
def test_a_partition_is_the_same_for_ever(key: str, partitions: int, partition: int) -> None:
    assert ids.partition_of(key, partitions) == partition, NEVER


def test_a_payloads_hash_is_the_same_for_ever_and_for_every_order_of_keys() -> None:
    payload = {"b": [1, 2.5, None], "a": {"ü": "x", "a": True}}

    assert ids.payload_hash_of(payload) == "7b65e96f3f5ce9cc", NEVER
    assert (
        ids.payload_hash_of({"a": {"a": True, "ü": "x"}, "b": [1, 2.5, None]}) == "7b65e96f3f5ce9cc"
    )
    assert ids.payload_hash_of({"a": 1}) != ids.payload_hash_of({"a": "1"})


def test_an_exception_id_is_the_same_for_ever() -> None:
    found = ids.exception_id_of("86195ad4-9b80-5272-b3f0-b3c231a9db54", "step_failed", "enrich", 1)

    assert found == "ex-86195ad4-eee8af946b", NEVER


def test_exception_ids_of_one_run_are_all_different() -> None:
    found = {
        ids.exception_id_of("86195ad4-9b80-5272-b3f0-b3c231a9db54", "step_failed", f"item-{i}", 1)
        for i in range(20_000)
    }

    assert len(found) == 20_000


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_triggers_are_one_run(a: str, b: str, c: str, d: str) -> None:
    if (a, b) != (c, d) and "\x1f" not in a + b + c + d:
        assert ids.run_id_of(a, b) != ids.run_id_of(c, d)


@pytest.mark.parametrize("partitions", [1, 3, 12, 64])
def test_keys_are_spread_evenly(partitions: int) -> None:
    counts = [0] * partitions
    for number in range(20_000):
        counts[ids.partition_of(ids.run_id_of("s", str(number)), partitions)] += 1

    assert min(counts) > 0.75 * 20_000 / partitions
    assert max(counts) < 1.25 * 20_000 / partitions


def test_event_ids_are_uuids_that_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1_767_225_600_000, 1_767_225_600_500))
    monkeypatch.setattr(ids, "unix_ms", lambda: next(moments))

    found = [ids.new_event_id() for _ in range(500)]

    assert all(earlier < later for earlier, later in pairwise(found))
    assert {(uuid.UUID(i).version, uuid.UUID(i).variant) for i in found} == {(7, uuid.RFC_4122)}
    assert found[0].startswith("019b76da-a800-7")


def test_event_ids_of_one_moment_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "unix_ms", lambda: 1_767_225_600_000)

    assert len({ids.new_event_id() for _ in range(10_000)}) == 10_000


def test_a_cause_is_a_position() -> None:
    assert ids.causation_of(3, 1041) == "3:1041"
