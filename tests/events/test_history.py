"""The running hash of a partition, and seals on it."""

from __future__ import annotations

import orjson
import pytest

from meshline.events.clock import SystemClock
from meshline.events.errors import SealInvalid
from meshline.events.history import MARK_EVERY, History, PartitionSeal, Seal, SealCheck, read_seal
from meshline.events.log import Entry
from meshline.events.log.memory import MemoryLog
from meshline.events.log.protocol import LogRecord
from meshline.events.log.reading import seal_log
from meshline.events.violations import Violation


def records(count: int, changed: int = -1) -> list[LogRecord]:
    return [
        LogRecord(0, n, f"run-{n}", b"changed" if n == changed else b"said", n)
        for n in range(count)
    ]


def history_of(some: list[LogRecord]) -> History:
    history = History()
    for record in some:
        history.add(record)
    return history


def seal_of(some: list[LogRecord]) -> PartitionSeal:
    history = history_of(some)
    return PartitionSeal(history.next_offset, history.digest.hex(), history.marks)


def held_against(seal: PartitionSeal, some: list[LogRecord]) -> list[Violation]:
    check, history = SealCheck("s", 0, seal), History()
    found: list[Violation] = []
    for record in some:
        history.add(record)
        found += check.passed(history)
    return [*found, *check.missing(history)]


COUNT = 2 * MARK_EVERY + 500


@pytest.mark.parametrize("changed", [1, MARK_EVERY - 1, MARK_EVERY, COUNT - 1])
def test_a_change_is_found_to_within_a_thousand_records(changed: int) -> None:
    seal = seal_of(records(COUNT))

    (found,) = held_against(seal, records(COUNT + 10, changed))

    first = changed // MARK_EVERY * MARK_EVERY
    last = min(first + MARK_EVERY, COUNT) - 1
    assert (found.code, found.at) == ("history_changed", f"0:{first}")
    assert f"the records {first} to {last} " in found.expected


def test_what_comes_after_the_seal_is_free() -> None:
    seal = seal_of(records(COUNT))

    assert held_against(seal, records(COUNT)) == []
    assert held_against(seal, records(COUNT + 10, changed=COUNT)) == []


@pytest.mark.parametrize("count", [0, 1, MARK_EVERY, COUNT - 1])
def test_a_log_that_ends_before_the_seal_is_cut_off(count: int) -> None:
    (found,) = held_against(seal_of(records(COUNT)), records(count))

    assert (found.code, found.at) == ("log_cut_off", f"0:{count}")


def test_the_same_bytes_divided_otherwise_are_another_history() -> None:
    head = LogRecord(0, 0, "", b"", 0)
    one, other = LogRecord(0, 1, "ab", b"c", 0), LogRecord(0, 1, "a", b"bc", 0)

    assert history_of([head, one]).digest != history_of([head, other]).digest


async def test_a_copy_of_a_log_has_the_same_seal_whatever_it_is_called() -> None:
    seals: list[Seal] = []
    for _ in range(2):
        log = MemoryLog()
        await log.open(create_partitions=2)
        await log.append(1, [Entry("run", b"said")])
        seals.append(await seal_log(log, SystemClock().now()))

    one, other = seals
    assert one.log_id != other.log_id
    assert one.partitions == other.partitions
    assert (one.partitions[0].records, one.partitions[1].records) == (1, 2)


def test_a_seal_is_read_as_it_was_written() -> None:
    seal = Seal.of("log", "2026-01-01T00:00:00+00:00", {0: history_of(records(COUNT))})
    written = orjson.dumps(seal, option=orjson.OPT_NON_STR_KEYS)

    assert read_seal(written, "s") == seal


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{}", b'{"format":"meshline-seal-9"}', b'{"format":"meshline-seal-1"}']
)
def test_what_is_no_seal_is_refused_with_what_would_be(value: bytes) -> None:
    with pytest.raises(SealInvalid, match="meshline log seal"):
        read_seal(value, "old.json")
