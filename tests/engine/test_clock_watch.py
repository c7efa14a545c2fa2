"""A worker whose clock does not go as the log's: it ends before it says anything by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.engine.clock_watch import ClockWatch
from meshline.engine.errors import ClockOff
from meshline.engine.settings import WorkerSettings
from meshline.engine.worker import Worker
from meshline.events.clock import SystemClock
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.facts import (
    Fact,
    LogCreated,
    PartitionClaimed,
    RunSucceeded,
    TimerFired,
    TimerSet,
)
from meshline.events.log import EventLog, open_log
from meshline.events.log.memory import MemoryLog
from meshline.events.publish import Publisher
from meshline.workflow import Registry, Workflow

QUICK = WorkerSettings(sweep_s=0.01, reclaim_s=0.05, drain_s=2.0)
DAY = timedelta(days=1)


class Order(BaseModel):
    number: int


class Shipped(BaseModel):
    number: int


flow = Workflow(
    "orders", trigger=Order, source="shop", owner="team:shop", exceptions="queue:shop",
    outcome=Shipped,
)  # fmt: skip
flow.sleep("rest", "300ms")


@flow.step(after="rest")
async def ship(trigger: Order) -> Shipped:
    return Shipped(number=trigger.number)


class OffClock:
    """The machine's clock, and so much more."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return SystemClock().now() + self.by


def worker(log: EventLog, clock: OffClock, name: str = "w") -> Worker:
    return Worker(log, Registry(flow), name=name, settings=QUICK, clock=clock)


async def facts_in(log: EventLog) -> list[Event[Any]]:
    reader = log.reader(dict.fromkeys(range(log.identity.partitions), 0))
    ends = sum((await log.ends()).values())
    found: list[Event[Any]] = []
    read = 0
    while read < ends:
        for records in (await reader.fetch(10_000, 1.0)).values():
            read += len(records)
            found += [decode(record.value) for record in records]
    await reader.aclose()
    return [event for event in found if isinstance(event.data, Fact)]


async def until_said(log: EventLog, kind: type[Fact], times: int = 1) -> None:
    async with asyncio.timeout(90):
        while sum(isinstance(e.data, kind) for e in await facts_in(log)) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
async def log(request: pytest.FixtureRequest) -> AsyncIterator[EventLog]:
    name = f"clock_{id(request)}"
    match request.param:
        case "memory":
            opened: EventLog = MemoryLog()
        case "postgres":
            dsn = request.getfixturevalue("postgres_dsn")
            mark = "&" if "?" in dsn else "?"
            opened = open_log(f"{dsn}{mark}meshline_namespace={name}")
        case _:
            opened = open_log(f"kafka://{request.getfixturevalue('kafka_servers')}/{name}")
    await opened.open(create_partitions=1)
    yield opened
    await opened.aclose()


async def publish(log: EventLog, trigger_id: str = "1") -> None:
    async with Publisher(log) as publisher:
        await publisher.publish("shop", {"number": 1}, trigger_id=trigger_id)


@pytest.mark.parametrize(("by", "word"), [(DAY, "ahead of"), (-DAY, "behind")])
async def test_a_worker_a_day_off_ends_and_says_nothing_but_its_claim(
    log: EventLog, by: timedelta, word: str
) -> None:
    await publish(log)
    async with asyncio.timeout(90):
        with pytest.raises(ClockOff, match=f"is 86,... s {word} the log's"):
            await worker(log, OffClock(by)).run()
    created, *said = await facts_in(log)
    assert isinstance(created.data, LogCreated)
    assert said and all(isinstance(event.data, PartitionClaimed) for event in said)


@pytest.mark.parametrize("by", [DAY, -DAY])
async def test_a_clock_that_jumps_sets_no_timer_and_fires_none(by: timedelta) -> None:
    log = MemoryLog()
    await log.open(create_partitions=1)
    clock = OffClock(timedelta(0))
    first = worker(log, clock)
    running = asyncio.create_task(first.run())
    await first.ready()
    await publish(log)
    await until_said(log, TimerSet)
    clock.by = by
    await publish(log, "2")
    async with asyncio.timeout(90):
        with pytest.raises(ClockOff):
            await running
    now = SystemClock().now()
    said = await facts_in(log)
    assert not [e for e in said if isinstance(e.data, TimerFired)]
    assert all(e.data.at - now < timedelta(minutes=1) for e in said if isinstance(e.data, TimerSet))

    heir = worker(log, OffClock(timedelta(0)), "heir")
    ending = asyncio.create_task(heir.run())
    await until_said(log, RunSucceeded, times=2)
    heir.stop()
    await ending


class SlowReader:
    """The worker looks at its clock once more before it reads what it has claimed."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def fetch(self, *arguments: Any) -> Any:
        records = await self._reader.fetch(*arguments)
        await asyncio.sleep(0.05)
        return records


async def test_a_clock_that_jumps_while_a_claim_is_on_its_way_says_nothing_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The claim was made by the clock as it was, and taken as it should be: it looks right."""
    log, clock = MemoryLog(), OffClock(timedelta(0))
    await log.open(create_partitions=1)
    await publish(log)
    appended = log.append

    async def and_then_it_jumps(*arguments: Any, **more: Any) -> Any:
        result = await appended(*arguments, **more)
        clock.by = DAY
        return result

    monkeypatch.setattr(log, "append", and_then_it_jumps)
    read = log.reader
    monkeypatch.setattr(log, "reader", lambda start: SlowReader(read(start)))
    async with asyncio.timeout(90):
        with pytest.raises(ClockOff):
            await worker(log, clock).run()

    monkeypatch.undo()
    _created, *said = await facts_in(log)
    assert len(said) >= 2
    assert all(isinstance(event.data, PartitionClaimed) for event in said)


async def test_a_clock_that_is_set_right_goes_on() -> None:
    """A jump alone is no fault: it is what correcting a clock looks like."""
    log = MemoryLog()
    await log.open(create_partitions=1)
    clock = OffClock(timedelta(seconds=-20))
    only = worker(log, clock)
    running = asyncio.create_task(only.run())
    await only.ready()
    clock.by = timedelta(seconds=20)
    await publish(log)
    await until_said(log, RunSucceeded)
    only.stop()
    await running
    assert sum(isinstance(e.data, PartitionClaimed) for e in await facts_in(log)) == 2


def test_time_that_passes_is_no_jump() -> None:
    passed = 0.0
    watch = ClockWatch(30.0, lambda: passed)
    now = SystemClock().now()
    assert not watch.has_jumped(now)
    passed = 3600.0
    assert not watch.has_jumped(now + timedelta(hours=1, seconds=29))
    assert watch.has_jumped(now + timedelta(hours=1, seconds=31))
    assert not watch.has_jumped(now + timedelta(hours=1, seconds=31))


def test_a_claim_that_was_long_on_its_way_is_no_wrong_clock() -> None:
    watch = ClockWatch(30.0, lambda: 0.0)
    now = SystemClock().now()
    an_hour_ago = now - timedelta(hours=1)
    watch.compare(an_hour_ago, int(now.timestamp() * 1000), now)
    watch.compare(an_hour_ago, int(an_hour_ago.timestamp() * 1000), now)
