"""Which facts count, whatever is sent twice, late, or by a keeper that was replaced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshline.events.envelope import Event
from meshline.events.facts import Fact, LogCreated, PartitionClaimed, StepStarted
from meshline.events.fence import Fence
from meshline.events.requests import CancelRequested, Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    data: Fact | Request, epoch: int | None = None, sequence: int | None = None
) -> Event[Any]:
    return Event("id", "s", "run", NOW, data, NOW, epoch=epoch, sequence=sequence)


CREATED = event(LogCreated(log_id="l", partition=0, partitions=1))
CLAIM = event(PartitionClaimed(keeper="a", reducer_version=1))
REQUEST = event(CancelRequested())


def fact(epoch: int | None, sequence: int | None) -> Event[Any]:
    return event(StepStarted(step="a", attempt=1), epoch, sequence)


def counted(*records: Event[Any]) -> list[bool]:
    fence = Fence()
    return [fence.admits(record, offset) for offset, record in enumerate(records)]


def test_the_facts_of_an_epoch_count_in_their_order() -> None:
    assert counted(CREATED, CLAIM, fact(1, 1), REQUEST, fact(1, 2)) == [True] * 5


def test_a_fact_that_was_sent_twice_counts_once() -> None:
    assert counted(CLAIM, fact(0, 1), fact(0, 1), fact(0, 2), fact(0, 1)) == [
        *(True, True, False, True, False),
    ]


def test_what_stands_behind_a_lost_fact_is_void_until_the_next_claim() -> None:
    assert counted(CLAIM, fact(0, 1), fact(0, 3), fact(0, 4), CLAIM, fact(4, 1)) == [
        *(True, True, False, False, True, True),
    ]


def test_a_lost_fact_that_comes_late_counts_then() -> None:
    assert counted(CLAIM, fact(0, 2), fact(0, 1), fact(0, 2)) == [True, False, True, True]


def test_a_keeper_that_was_replaced_is_not_heard() -> None:
    assert counted(CLAIM, fact(0, 1), CLAIM, fact(0, 2), fact(2, 1), fact(0, 3)) == [
        *(True, True, True, False, True, False),
    ]


def test_the_numbers_begin_again_in_every_epoch() -> None:
    assert counted(CLAIM, fact(0, 1), fact(0, 2), CLAIM, fact(3, 3), fact(3, 1)) == [
        *(True, True, True, True, False, True),
    ]


def test_no_fact_counts_before_the_first_claim_or_without_an_epoch() -> None:
    assert counted(CREATED, fact(-1, 1), fact(0, 1), fact(None, None), fact(-1, 0)) == [
        *(True, False, False, False, False),
    ]
    assert counted(CLAIM, fact(None, None)) == [True, False]


def test_a_request_with_an_epoch_is_only_a_request() -> None:
    request = event(CancelRequested(), epoch=0, sequence=1)

    assert counted(CLAIM, request, fact(0, 1)) == [True, True, True]


records = st.lists(
    st.just(CLAIM)
    | st.just(REQUEST)
    | st.builds(fact, st.none() | st.integers(-1, 12), st.integers(0, 5)),
    max_size=30,
)


@given(records, st.data())
def test_any_split_into_batches_gives_the_same(log: list[Event[Any]], data: st.DataObject) -> None:
    epoch, sequence, found, start = -1, 0, list[bool](), 0

    while start < len(log):
        end = data.draw(st.integers(start + 1, len(log)))
        fence = Fence(epoch, sequence)  # as after a restart from a checkpoint
        found += [fence.admits(log[offset], offset) for offset in range(start, end)]
        epoch, sequence, start = fence.epoch, fence.sequence, end

    assert found == counted(*log)


@given(records)
def test_what_counts_is_in_order_without_gap_or_repeat(log: list[Event[Any]]) -> None:
    epoch, sequence = -1, 0

    for offset, (record, counts) in enumerate(zip(log, counted(*log), strict=True)):
        if record is CLAIM:
            epoch, sequence = offset, 0
        elif isinstance(record.data, StepStarted) and counts:
            assert (record.epoch, record.sequence) == (epoch, sequence + 1)
            sequence += 1
