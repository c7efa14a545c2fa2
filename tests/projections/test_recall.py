"""Parked events are read again at their places, however far apart these are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from meshline.events.codec import encode
from meshline.events.envelope import Event, Position, Recorded
from meshline.events.facts import LogCreated, OwnerAssigned, PartitionClaimed
from meshline.events.log import Entry, EventLog, LogReader, open_log
from meshline.events.requests import CancelRequested
from meshline.projections.intake import Undecodable
from meshline.projections.recall import SPAN_RECORDS, recall_from, records_at
from meshline.projections.store import Parked
from tests.projections.streams import new_log

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def value(data: Any, epoch: int | None = None) -> bytes:
    sequence = None if epoch is None else 1
    return encode(Event("e", "test", "run", NOW, data, NOW, epoch=epoch, sequence=sequence))


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
async def log(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        yield await new_log()
    else:
        opened = open_log(request.getfixturevalue(f"{request.param}_address"))
        await opened.open(create_partitions=2)
        yield opened
        await opened.aclose()


@pytest.mark.parametrize(
    "offsets",
    [[0], [1, 2, 3], [5, 5 + SPAN_RECORDS - 1, 5 + SPAN_RECORDS, 999], [*range(0, 999, 7)]],
)
async def test_the_records_asked_for_are_given(log: EventLog, offsets: list[int]) -> None:
    for _ in range(2):
        await log.append(1, [Entry("", b"%d" % number) for number in range(500)])

    found = await records_at(log, 1, offsets)

    assert [record.offset for record in found] == offsets


async def test_places_far_apart_are_not_read_between(monkeypatch: pytest.MonkeyPatch) -> None:
    log = await new_log()
    await log.append(0, [Entry("", b"x")] * 5_000)
    read = 0
    make = log.reader

    def counting(start: Any) -> LogReader:
        reader = make(start)
        fetch = reader.fetch

        async def counted(records_max: int, wait_s: float) -> Any:
            nonlocal read
            fetched = await fetch(records_max, wait_s)
            read += sum(map(len, fetched.values()))
            return fetched

        monkeypatch.setattr(reader, "fetch", counted)
        return reader

    monkeypatch.setattr(log, "reader", counting)

    await records_at(log, 0, [10, 12, 4_000])

    assert read == 4


async def test_what_stands_there_is_read_with_the_eyes_of_this_program() -> None:
    log = await new_log()
    values = [
        value(OwnerAssigned(owner="team:a"), epoch=0),
        value(CancelRequested()),
        value(PartitionClaimed(keeper="k", reducer_version=1)),
        value(LogCreated(log_id="l", partition=0, partitions=1)),
        value(OwnerAssigned(owner="team:a")),  # Has no number: nobody's fact.
        b"no event",
        value(OwnerAssigned(owner="team:a"), epoch=0).replace(b"assigned.v1", b"assigned.v9"),
    ]
    await log.append(0, [Entry("run", each) for each in values])
    parked = [
        Parked(Position(0, offset), "run", "t", "unreadable", offset == 7)
        for offset in range(1, 8)
    ]  # fmt: skip

    items = await recall_from(log)(parked)

    assert [item.position.offset for item in items] == [1, 2, 3, 4, 6, 7]
    assert [isinstance(item, Recorded) for item in items] == [True] * 4 + [False] * 2
    assert [i.stops for i in items if isinstance(i, Undecodable)] == [False, True]
    assert await recall_from(log)([]) == []


async def test_what_this_older_program_no_longer_reads_stops_its_run() -> None:
    log = await new_log()
    await log.append(0, [Entry("run", b"no event")])

    (item,) = await recall_from(log)(
        [Parked(Position(0, 1), "run", "t", "failed", True, "KeyError")]
    )

    assert isinstance(item, Undecodable) and item.stops
