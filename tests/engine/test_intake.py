"""Signals of others on their way into the log: each at least once, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from meshline.engine.intake import Intake, IntakeSettings
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.errors import AppendRefused, LogUnavailable
from meshline.events.gate import Gate
from meshline.events.ids import run_id_of
from meshline.events.log import AppendResult, Entry, Refused, Unknown
from meshline.events.log.kafka_signal import JsonMapping, Message, SourceSignal, signal_of
from meshline.events.log.memory import MemoryLog
from tests.events.publish.doubles import NOW, everything
from tests.hostile import hostile_payloads

QUICK = IntakeSettings(fetch_signals_max=3, fetch_wait_s=0.01, retry_s=0.001, retry_s_max=0.004)
PATIENT = IntakeSettings(fetch_wait_s=0.01, retry_s=0.1, retry_s_max=0.1)
MAPPING = JsonMapping(id_field="id", source="shop")


def signal(number: int, value: bytes | None = None) -> SourceSignal:
    value = b'{"id":"%d"}' % number if value is None else value
    return signal_of(Message("topic", 0, number, None, value), MAPPING, Gate())


class Topic:
    """Messages that others wrote, and how far they were read; sources are made by calling it."""

    def __init__(self, *signals: SourceSignal) -> None:
        self.signals = list(signals)
        self.committed = 0
        self.starts = 0
        self.failures: list[Exception] = []

    def __call__(self) -> Reader:
        self.starts += 1
        return Reader(self)


class Reader:
    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self._next = topic.committed

    async def start(self) -> None:
        self._fail()

    def _fail(self) -> None:
        if self._topic.failures:
            raise self._topic.failures.pop(0)

    async def fetch(self, signals_max: int, wait_s: float) -> list[SourceSignal]:
        found = self._topic.signals[self._next : self._next + signals_max]
        self._next += len(found)
        if not found:
            await asyncio.sleep(wait_s)
        return found

    async def commit(self, signals: Sequence[SourceSignal]) -> None:
        self._fail()
        self._topic.committed += len(signals)

    async def aclose(self) -> None:
        return None


class Forgetful(Reader):
    """Its commits never arrive."""

    async def commit(self, signals: Sequence[SourceSignal]) -> None:
        raise LogUnavailable("no broker")


class ScriptedLog(MemoryLog):
    """Answers appends as scripted, by partition or alone; well when the script is over."""

    def __init__(self, *script: AppendResult) -> None:
        super().__init__()
        self.script = list(script)
        self.refused_bytes: bytes | None = None

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        if self.script:
            return self.script.pop(0)
        if self.refused_bytes and any(self.refused_bytes in entry.value for entry in entries):
            return Refused("One of them is bad.")
        return await super().append(partition, entries)

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        return {p: await self.append(p, some) for p, some in entries.items()}


async def log_with(*script: AppendResult) -> ScriptedLog:
    log = ScriptedLog()
    await log.open(create_partitions=2)
    log.script = list(script)
    return log


async def taken(log: MemoryLog, topic: Topic, **options: Any) -> dict[str, list[Event[Any]]]:
    """Let an intake run until all is committed; return the requests by event id."""
    intake = Intake(log, topic, name="topic", settings=QUICK, **options)
    await reading(intake, lambda: topic.committed >= len(topic.signals))
    found: dict[str, list[Event[Any]]] = {}
    for record in await everything(log):
        event = decode(record.value)
        found.setdefault(event.id, []).append(event)
    return found


async def reading(intake: Intake, done: Callable[[], bool]) -> None:
    running = asyncio.create_task(intake.run())
    try:
        async with asyncio.timeout(90):
            while not done() and not running.done():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.002)
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_each_signal_is_a_trigger_with_an_id_of_its_own() -> None:
    log, topic = await log_with(), Topic(*(signal(n) for n in range(7)))

    found = await taken(log, topic)

    assert sorted(found) == [f"topic:0:{n}" for n in range(7)]
    first = found["topic:0:0"][0]
    assert (first.data.source, first.data.trigger_id) == ("shop", "0")
    assert (first.data.payload, first.subject) == ({"id": "0"}, run_id_of("shop", "0"))
    assert first.actor is not None
    assert first.actor.id == "service:topic"


async def test_the_topic_may_say_whose_the_signals_are() -> None:
    found = await taken(await log_with(), Topic(signal(1), signal(2, b"\xff")), counts_as="web")

    good, bad = found["topic:0:1"][0], found["topic:0:2"][0]
    assert (good.data.source, good.subject) == ("web", run_id_of("web", "1"))
    assert (bad.data.source, bad.data.unreadable.reason) == ("web", "not_utf8")
    assert bad.subject == run_id_of("web", bad.data.trigger_id)


async def test_what_cannot_be_read_is_kept_and_stops_nothing() -> None:
    values = [value for _, value in hostile_payloads(seed=3, count=300)]
    topic = Topic(*(signal(number, value) for number, value in enumerate(values)), signal(999))

    found = await taken(await log_with(), topic)

    assert len(found) == len(topic.signals)
    assert found["topic:0:999"][0].data.payload == {"id": "999"}
    for each, value in zip(topic.signals, values, strict=False):
        data = found[each.address][0].data
        assert (data.unreadable is None) == (each.problem is None)
        if data.unreadable is not None:
            assert data.unreadable.size_bytes == len(value)


async def test_without_an_answer_it_is_appended_again_and_only_then_read() -> None:
    log, topic = await log_with(Unknown("?"), Unknown("?")), Topic(signal(1))

    found = await taken(log, topic)

    assert len(found["topic:0:1"]) == 1
    assert topic.starts == 1


async def test_one_that_the_log_refuses_is_noted_as_unreadable_and_the_others_go_in() -> None:
    log = await log_with()
    log.refused_bytes = b'"payload":{"id":"2"}'

    found = await taken(log, Topic(*(signal(n) for n in range(4))))

    assert sorted(found) == [f"topic:0:{n}" for n in range(4)]
    assert found["topic:0:2"][0].data.unreadable.reason == "refused_by_log"
    assert found["topic:0:3"][0].data.unreadable is None


async def test_a_log_that_refuses_even_that_ends_the_intake() -> None:
    log, topic = await log_with(), Topic(signal(1))
    log.refused_bytes = b"meshline.trigger.received"

    with pytest.raises(AppendRefused):
        await taken(log, topic)

    assert topic.committed == 0


@pytest.mark.parametrize("failure", [LogUnavailable("no broker"), RuntimeError("a bug in it")])
async def test_a_source_that_fails_is_tried_again_from_what_was_committed(
    failure: Exception,
) -> None:
    log, topic = await log_with(), Topic(signal(1), signal(2))
    topic.failures = [failure, failure]

    found = await taken(log, topic)

    assert sorted(found) == ["topic:0:1", "topic:0:2"]
    assert topic.starts == 3


async def test_what_was_appended_and_not_committed_comes_again_with_the_same_id() -> None:
    log, topic = await log_with(), Topic(signal(1))
    readers = iter([Forgetful(topic), topic()])
    intake = Intake(log, lambda: next(readers), name="topic", settings=QUICK)
    await reading(intake, lambda: topic.committed == 1)

    first, second = [decode(record.value) for record in await everything(log)]
    assert first.id == second.id == "topic:0:1"
    assert first.subject == second.subject


async def test_it_says_how_it_fares() -> None:
    topic = Topic(signal(1), signal(2, b"{"))
    topic.failures = [LogUnavailable("no broker")]
    intake = Intake(await log_with(), topic, name="topic", settings=PATIENT)
    running = asyncio.create_task(intake.run())
    async with asyncio.timeout(90):
        while (standing := intake.status()).error is None:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0)
        while intake.status().taken < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
    going = intake.status()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert (standing.taken, standing.error) == (0, "ML2002 no broker")
    assert (going.taken, going.unreadable, going.name) == (2, 1, "topic")


async def test_a_signal_with_a_time_and_a_trace_keeps_them() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    good = replace(signal(1), time=NOW, traceparent=trace)
    found = await taken(await log_with(), Topic(good, replace(signal(2), traceparent="\x00")))

    assert (found["topic:0:1"][0].time, found["topic:0:1"][0].traceparent) == (NOW, trace)
    assert found["topic:0:2"][0].traceparent is None
    assert found["topic:0:2"][0].data.unreadable is None
