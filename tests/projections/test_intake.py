from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events import facts
from meshline.events.codec import decode, encode
from meshline.events.envelope import Event, Recorded
from meshline.events.errors import EventVersionUnknown, PositionLost
from meshline.events.facts import Fact, RunStarted
from meshline.events.fence import Fence
from meshline.events.log import LogRecord
from meshline.events.requests import CancelRequested, Request
from meshline.projections.intake import Intake, Undecodable
from meshline.projections.store import Checkpoint
from tests.projections.streams import Stream, write


def records_of(stream: Stream, partition: int = 0) -> list[LogRecord]:
    values = [(e.key, e.value) for number, e in stream.entries if number == partition]
    return [LogRecord(partition, o, key, value, o) for o, (key, value) in enumerate(values, 1)]


def intake(*wanted: type[Any]) -> Intake:
    return Intake({0: Checkpoint(1), 1: Checkpoint(1)}, wanted or (RunStarted,))


@pytest.mark.parametrize("wanted", [(), (RunStarted,), tuple(Fact.__subclasses__())])
def test_what_counts_is_what_the_fence_admits_whatever_is_wanted(wanted: Any) -> None:
    records = records_of(write(3, 80))
    fence = Fence()
    admitted = []
    for record in records:
        event = decode(record.value)
        if fence.admits(event, record.offset) and type(event.data) in wanted:
            admitted.append(record.offset)

    taken = Intake({0: Checkpoint(1)}, wanted)
    items = taken.take(records)

    assert [item.position.offset for item in items] == admitted
    end = taken.checkpoint(records[-1])
    assert (end.epoch, end.sequence) == (fence.epoch, fence.sequence)
    assert end.event_id == decode(records[-1].value).id


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_reader_that_goes_on_anywhere_admits_the_same(first: int, second: int) -> None:
    records = RECORDS
    cuts = sorted({0, min(first, len(records)), min(second, len(records)), len(records)})
    start, offsets = Checkpoint(1), []
    for begin, end in pairwise(cuts):
        part = Intake({0: start}, ALL)
        offsets += [item.position.offset for item in part.take(records[begin:end])]
        start = part.checkpoint(records[end - 1])

    assert offsets == OFFSETS


ALL = (*Fact.__subclasses__(), *Request.__subclasses__())
RECORDS = records_of(write(4, 60))
OFFSETS = [item.position.offset for item in Intake({0: Checkpoint(1)}, ALL).take(RECORDS)]


def test_a_gap_is_no_way_to_go_on() -> None:
    records = records_of(write(3, 5))

    with pytest.raises(PositionLost, match="goes on at 3"):
        intake().take(records[2:])


def test_an_unknown_version_of_a_fact_counts_in_the_numbering() -> None:
    stream = Stream(0, 1)
    partition = stream.partitions[0]
    event = stream.event("run-1", facts.RunResumed())
    partition.sequence += 1
    newer = encode(event.numbered(partition.epoch, 1, "keeper")).replace(
        b"resumed.v1", b"resumed.v9"
    )
    stream.raw(0, "run-1", newer)
    stream.started(1)

    unknown, *others = intake().take(records_of(stream))

    assert isinstance(unknown, Undecodable)
    assert (unknown.entity, unknown.stops) == ("run-1", True)
    assert "v9" not in unknown.error or "found" in unknown.error
    assert [type(item.event.data) for item in others if isinstance(item, Recorded)] == [RunStarted]


def test_a_void_fact_that_cannot_be_read_is_void() -> None:
    stream = Stream(0, 1)
    event: Event[Any] = stream.event("r", facts.RunResumed())._replace(epoch=0, sequence=9)
    stream.raw(0, "r", encode(event).replace(b"resumed.v1", b"resumed.v9"))

    assert intake().take(records_of(stream)) == []


@pytest.mark.parametrize(
    "value", [b"", b"\xff\x00", b"[]", b"null", b'"x"', b"{}", b'{"type":"x"}', b'{"type":3}']
)
def test_what_is_no_event_at_all_is_shown_and_stops_nothing(value: bytes) -> None:
    stream = Stream(0, 1)
    stream.raw(0, "run-1", value)

    (item,) = intake().take(records_of(stream))

    assert isinstance(item, Undecodable)
    assert (item.entity, item.stops, item.position) == ("run-1", False, (0, 2))


def test_a_claim_that_cannot_be_read_halts() -> None:
    stream = Stream(0, 1)
    claim = encode(stream.event("", facts.PartitionClaimed(keeper="k", reducer_version=1)))
    stream.raw(0, "", claim.replace(b"claimed.v1", b"claimed.v2"))

    with pytest.raises(EventVersionUnknown):
        intake().take(records_of(stream))


def test_attributes_in_another_order_are_read_all_the_same() -> None:
    stream = Stream(0, 1)
    partition = stream.partitions[0]
    event = stream.event("run-1", facts.RunResumed()).numbered(partition.epoch, 1, "k")
    text = encode(event).decode()
    head, _, data = text.partition(',"data":')
    stream.raw(0, "run-1", ('{"data":' + data[:-1] + "," + head[1:] + "}").encode())

    items = intake(facts.RunResumed).take(records_of(stream))

    assert [type(i) for i in items] == [Recorded]
    assert intake().take(records_of(stream)) == []


def test_a_fact_with_the_right_numbers_and_wrong_data_stops_its_run() -> None:
    stream = Stream(0, 1)
    epoch = stream.partitions[0].epoch
    paused = stream.event("run-1", facts.RunPaused(reason="x")).numbered(epoch, 1, "keeper")
    stream.raw(0, "run-1", encode(paused).replace(b'"reason":"x"', b'"reason":7'))

    (item,) = intake(facts.RunPaused).take(records_of(stream))

    assert isinstance(item, Undecodable)
    assert (item.entity, item.stops) == ("run-1", True)


def test_what_only_begins_like_a_request_of_no_interest_is_shown() -> None:
    stream = Stream(0, 1)
    whole = encode(stream.event("run-1", CancelRequested(reason="x")))
    head = whole.index(b'"time":')
    for end in (head, head + 12):
        stream.raw(0, "run-1", whole[:end])
    stream.raw(0, "run-1", whole)

    items = intake().take(records_of(stream))

    assert [(type(item), item.position.offset) for item in items] == [
        (Undecodable, 2),
        (Undecodable, 3),
    ]
