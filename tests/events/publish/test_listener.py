"""Signals from a topic of somebody else: each is in the log before the source hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from meshline.events.codec import decode
from meshline.events.envelope import Actor
from meshline.events.errors import LogUnavailable, PayloadRefused
from meshline.events.log.kafka_signal import SourceSignal
from meshline.events.log.memory import MemoryLog
from meshline.events.publish import Publisher, PublisherSettings
from meshline.events.publish.listener import Listener
from tests.events.publish.doubles import FailingLog, everything, memory_log

ACTOR = Actor("service", "service:kafka/orders")


def signal(number: int, problem: PayloadRefused | None = None) -> SourceSignal:
    raw = f'{{"number": {number}}}'.encode()
    payload = None if problem else raw
    return SourceSignal("shop", str(number), "", payload, problem, raw, f"orders:0:{number}")


class Source:
    """Gives batches, and notes what was in the log when they were committed."""

    def __init__(self, log: MemoryLog, *batches: list[SourceSignal]) -> None:
        self.log = log
        self.batches = list(batches)
        self.committed: list[tuple[list[str], int]] = []
        self.ended = asyncio.Event()
        self.fails = 0

    async def fetch(self, signals_max: int, wait_s: float) -> list[SourceSignal]:
        if self.batches:
            return self.batches.pop(0)
        self.ended.set()
        await asyncio.sleep(wait_s)
        return []

    async def commit(self, signals: Sequence[SourceSignal]) -> None:
        if self.fails:
            self.fails -= 1
            raise LogUnavailable("The brokers are away.")
        in_log = len(await everything(self.log))
        self.committed.append(([signal.trigger_id for signal in signals], in_log))


async def listened(log: MemoryLog, source: Source) -> tuple[Listener, list[Any]]:
    settings = PublisherSettings(append_deadline_s=0.05, retry_delay_s=0.01)
    async with Publisher(log, settings=settings) as publisher:
        listener = Listener(source, publisher, actor=ACTOR)
        running = asyncio.create_task(listener.run())
        async with asyncio.timeout(10):
            await source.ended.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return listener, [decode(record.value) for record in await everything(log)]


async def test_what_is_committed_is_in_the_log() -> None:
    log = await memory_log()
    source = Source(log, [signal(1), signal(2)], [signal(3)])

    listener, events = await listened(log, source)

    assert source.committed == [(["1", "2"], 2), (["3"], 3)]
    assert {event.data.trigger_id for event in events} == {"1", "2", "3"}
    assert {event.actor for event in events} == {ACTOR}
    assert (listener.taken, listener.refused) == (3, 0)


async def test_what_can_not_be_read_is_kept_with_its_problem() -> None:
    log = await memory_log()
    problem = PayloadRefused("no_cloudevent", "The message is no CloudEvent.")
    source = Source(log, [signal(1, problem), signal(2)])

    listener, events = await listened(log, source)

    kept = next(event.data for event in events if event.data.trigger_id == "1")
    assert (kept.unreadable.reason, kept.payload) == ("no_cloudevent", None)
    assert (listener.taken, listener.refused) == (2, 1)
    assert source.committed == [(["1", "2"], 2)]


async def test_a_log_without_an_answer_is_asked_until_it_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshline.events.publish.listener.RETRY_S", 0.01)
    log = FailingLog(*["lost"] * 20)
    await log.open(create_partitions=1)
    source = Source(log, [signal(1)])

    _, events = await listened(log, source)

    assert {event.data.trigger_id for event in events} == {"1"}
    assert [ids for ids, _ in source.committed] == [["1"]]


async def test_what_the_log_refuses_is_kept_as_far_as_it_can_be() -> None:
    log = FailingLog("refused")
    await log.open(create_partitions=1)
    source = Source(log, [signal(1)])

    _, events = await listened(log, source)

    assert [event.data.unreadable.reason for event in events] == ["refused_by_log"]


async def test_a_failed_commit_stops_nothing() -> None:
    log = await memory_log()
    source = Source(log, [signal(1)], [signal(2)])
    source.fails = 1

    _, events = await listened(log, source)

    assert len(events) == 2
    assert [ids for ids, _ in source.committed] == [["2"]]
