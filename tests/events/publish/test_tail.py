"""Waiting for answers: which facts are believed, and what reading costs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from meshline.events import Answer, Publisher, PublisherSettings
from meshline.events.codec import decode
from meshline.events.errors import LogUnavailable
from meshline.events.facts import RunStarted, TriggerAccepted, TriggerRejected
from meshline.events.ids import causation_of
from meshline.events.log import AppendResult, Entry, LogReader, LogRecord, Unknown
from meshline.events.log.memory import MemoryLog
from meshline.events.requests import TriggerReceived
from tests.events.publish.doubles import FailingLog, Keeper, event, everything, memory_log

ACCEPTED = TriggerAccepted(
    source="s", trigger_id="1", trigger_type="", payload_hash="0", workflow="w", version=1
)
REJECTED = TriggerRejected(
    source="s", trigger_id="1", trigger_type="", code="invalid", reason="From a stale keeper."
)
QUICK = PublisherSettings(fetch_wait_s=0.02, idle_s=0.02)


class Spied(MemoryLog):
    """Remembers its readers, and what they were asked to read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[SpiedReader] = []
        self.fail = False

    # What it returns is a reader of the protocol, which is all that callers may know.
    def reader(self, start: Mapping[int, int]) -> LogReader:  # type: ignore[override]
        reader = SpiedReader(self, super().reader(start), set(start))
        self.readers.append(reader)
        return reader


@dataclass
class SpiedReader:
    log: Spied
    reader: LogReader
    partitions: set[int]
    is_closed: bool = False

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        if self.log.fail:
            raise LogUnavailable("Gone.")
        return await self.reader.fetch(records_max, wait_s)

    def add(self, partition: int, offset: int) -> None:
        self.partitions.add(partition)
        self.reader.add(partition, offset)

    def remove(self, partition: int) -> None:
        self.partitions.discard(partition)
        self.reader.remove(partition)

    def advance(self, partition: int, offset: int) -> None:
        self.reader.advance(partition, offset)

    def wake(self) -> None:
        self.reader.wake()

    async def aclose(self) -> None:
        self.is_closed = True
        await self.reader.aclose()


async def spied(partitions: int = 1) -> Spied:
    log = Spied()
    await log.open(create_partitions=partitions)
    return log


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


async def waiting(publisher: Publisher, log: MemoryLog) -> tuple[asyncio.Task[Answer], str]:
    """A publish that waits for its answer, and the cause by which that must name it."""
    task = asyncio.create_task(publisher.publish("s", {}, trigger_id="1", wait_s=30))
    async with asyncio.timeout(90):
        reader = log.reader({0: 1})
        while True:
            for record in (await reader.fetch(1, 5)).get(0, ()):
                if isinstance(decode(record.value).data, TriggerReceived):
                    await reader.aclose()
                    return task, causation_of(record.partition, record.offset)


async def test_what_a_replaced_keeper_says_is_not_the_answer() -> None:
    log = await memory_log(partitions=1)
    keeper = Keeper(log)
    old = await keeper.claim(0)

    async with Publisher(log, settings=QUICK) as publisher:
        task, cause = await waiting(publisher, log)
        await keeper.claim(0)
        await keeper.put(0, event(REJECTED, subject="r", cause=cause), epoch=old, sequence=1)
        await keeper.state(0, event(ACCEPTED, subject="r", cause=cause))

        assert (await task).status == "accepted"


class Tardy(FailingLog):
    """Says that nobody knows what came of an append, when its readers have long read it."""

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        result = await super().append(partition, entries, deadline_s=deadline_s)
        if isinstance(result, Unknown):
            await asyncio.sleep(0.05)
        return result


async def test_a_claim_is_not_forgotten_where_reading_begins_once_more() -> None:
    log = Tardy("well", "well", "unanswered")
    await log.open(create_partitions=1)
    keeper = Keeper(log)
    old = await keeper.claim(0)

    async with Publisher(log, settings=QUICK) as publisher:
        task, cause = await waiting(publisher, log)
        await keeper.claim(0)
        await publisher.publish("s", {}, trigger_id="2")
        # From here on what was read already is read again, for an append in doubt.
        doubted = asyncio.create_task(publisher.publish("s", {}, trigger_id="3", wait_s=30))
        await until(lambda: len(log.appends) == 4)
        await keeper.put(0, event(REJECTED, subject="r", cause=cause), epoch=old, sequence=1)
        await keeper.state(0, event(ACCEPTED, subject="r", cause=cause))

        assert (await task).status == "accepted"
        doubted.cancel()


async def test_what_stands_behind_a_lost_fact_is_not_the_answer() -> None:
    log = await memory_log(partitions=1)
    keeper = Keeper(log)

    async with Publisher(log, settings=QUICK) as publisher:
        task, cause = await waiting(publisher, log)
        epoch = await keeper.claim(0)
        await keeper.put(0, event(REJECTED, subject="r", cause=cause), epoch=epoch, sequence=2)
        await keeper.claim(0)
        await keeper.state(0, event(ACCEPTED, subject="r", cause=cause))

        assert (await task).status == "accepted"


async def test_other_facts_with_the_same_cause_are_not_the_answer_to_a_trigger() -> None:
    log = await memory_log(partitions=1)
    keeper = Keeper(log)
    await keeper.claim(0)
    started = RunStarted(
        workflow="w",
        version=1,
        trigger_id="t",
        trigger_type="",
        source="s",
        owner="team:a",
        exception_route="queue:b",
        expected_outcome="x",
    )

    async with Publisher(log, settings=QUICK) as publisher:
        task, cause = await waiting(publisher, log)
        await keeper.state(
            0,
            event(started, subject="r", cause=cause),
            event(REJECTED, subject="r", cause="0:99"),
            event(ACCEPTED, subject="r", cause=cause),
        )

        assert (await task).status == "accepted"


async def test_an_answer_that_is_there_before_the_append_returns_is_found() -> None:
    log = await spied()
    append = log.append

    async def slow(partition: int, entries, **rest):  # type: ignore[no-untyped-def]
        result = await append(partition, entries, **rest)
        await asyncio.sleep(0.03)
        return result

    async with Keeper(log), Publisher(log, settings=QUICK) as publisher:
        first = asyncio.create_task(publisher.publish("s", {}, trigger_id="1", wait_s=30))
        await first
        log.append = slow  # type: ignore[method-assign]
        # Several at a time, so that the reader is past each when its append returns.
        answers = await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i), wait_s=30) for i in range(2, 6))
        )

    assert {answer.status for answer in answers} == {"accepted"}


async def test_all_who_wait_share_one_reader_which_ends_when_nobody_does() -> None:
    log = await spied(partitions=4)

    async with Keeper(log), Publisher(log, settings=QUICK) as publisher:
        await asyncio.sleep(0)
        readers = len(log.readers)
        await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i), wait_s=30) for i in range(200))
        )
        assert len(log.readers) == readers + 1
        reader = log.readers[-1]
        assert reader.partitions == set(), "no partition is read for nobody"

        await until(lambda: publisher._tail._task is None and reader.is_closed)
        again = await publisher.publish("s", {}, trigger_id="0", wait_s=30)

    assert again.status == "repeated"


async def test_only_the_partitions_of_those_who_wait_are_read() -> None:
    log = await spied(partitions=8)

    async with Publisher(log, settings=QUICK) as publisher:
        await asyncio.gather(*(publisher.publish("s", {}, trigger_id=str(i)) for i in range(50)))
        assert log.readers == []
        task = asyncio.create_task(publisher.publish("s", {}, trigger_id="1", wait_s=60))
        await until(lambda: log.readers and log.readers[0].partitions)
        read = set(log.readers[0].partitions)
        await publisher.aclose()

    assert read == {(await task).position.partition}


async def test_when_the_log_can_no_longer_be_read_the_answer_is_appended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = await spied()
    log.fail = True

    async with Publisher(log, settings=QUICK) as publisher:
        with caplog.at_level(logging.WARNING):
            answer = await publisher.publish("s", {}, trigger_id="1", wait_s=60)
        log.fail = False
        async with Keeper(log):
            again = await publisher.publish("s", {}, trigger_id="2", wait_s=30)

    assert (answer.status, again.status) == ("appended", "accepted")
    assert "No answers can be read: ML2002 Gone." in caplog.text


async def test_nothing_is_kept_of_those_who_stopped_waiting() -> None:
    log = await memory_log()

    async with Publisher(log, settings=QUICK) as publisher:
        await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i), wait_s=0.01) for i in range(50))
        )

        assert publisher._tail._followed == {}


WORDS = ["well", "well", "lost", "unanswered", "late", "scattered"]


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_happens_to_appends_a_trigger_published_once_is_never_a_repeat(
    seed: int,
) -> None:
    random = Random(seed)
    log = FailingLog(*random.choices(WORDS, k=100))
    await log.open(create_partitions=2)
    settings = PublisherSettings(
        retry_delay_s=0.0005, fetch_wait_s=0.01, idle_s=0.01, batch_records_max=3
    )

    async def publish(number: int) -> Answer:
        await asyncio.sleep(random.random() * 0.02)
        return await publisher.publish("s", {}, trigger_id=str(number), wait_s=30)

    async with Keeper(log), Publisher(log, settings=settings) as publisher:
        answers = await asyncio.gather(*map(publish, range(40)))
        await until(lambda: not publisher._tail._followed)

    assert {answer.status for answer in answers} == {"accepted"}
    records = {(r.partition, r.offset): decode(r.value) for r in await everything(log)}
    for answer in answers:
        assert records[answer.position].subject == answer.run_id
