"""The log in Kafka, against a real broker: what the conformance suite cannot ask of every log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.structs import TopicPartition

from meshline.events.errors import (
    LogIdentityChanged,
    LogLayoutMismatch,
    LogNotFound,
    LogUnavailable,
    PositionLost,
    SettingsInvalid,
)
from meshline.events.log import Accepted, Entry, LogRecord, LogSettings, Refused
from meshline.events.log.kafka import KafkaLog
from meshline.events.log.kafka_producer import close_producer, open_producer
from meshline.events.log.kafka_topic import KafkaTopic
from meshline.events.log.protocol import LogReader

pytestmark = pytest.mark.kafka

SETTINGS = LogSettings(append_deadline_s=5, open_deadline_s=10)
PATIENCE_S = 20.0

OpenLog = Callable[..., Awaitable[KafkaLog]]


@pytest.fixture
async def open_log(kafka_address: str) -> AsyncIterator[OpenLog]:
    """Open the test's log, once more each time, and close all of them in the end."""
    opened: list[KafkaLog] = []

    async def open_one(partitions: int | None = None, settings: LogSettings = SETTINGS) -> KafkaLog:
        log = KafkaLog(kafka_address, settings)
        opened.append(log)
        await log.open(create_partitions=partitions)
        return log

    yield open_one
    for log in opened:
        await log.aclose()


@asynccontextmanager
async def administrator(address: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address.split("/")[2])
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


def topic_of(address: str) -> str:
    return address.rpartition("/")[2] + ".events"


def entries(*values: str) -> list[Entry]:
    return [Entry("run", value.encode()) for value in values]


async def read(reader: LogReader, count: int) -> list[LogRecord]:
    """Fetch until there are so many records, in the order of coming."""
    found: list[LogRecord] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            for records in (await reader.fetch(10_000, 1.0)).values():
                found += records
    return found


async def failure_of(reader: LogReader) -> Exception:
    """Fetch until the reader raises, and return what."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await reader.fetch(100, 1.0)
            except (LogIdentityChanged, PositionLost) as error:
                return error


# --- opening -----------------------------------------------------------------------------------


async def test_creators_at_the_same_time_make_one_log(open_log: OpenLog) -> None:
    logs = await asyncio.gather(*(open_log(4) for _ in range(5)))

    assert len({log.identity.log_id for log in logs}) == 1
    [a] = {log.identity for log in logs}
    assert a.partitions == 4


async def test_a_log_that_its_creator_left_half_made_is_finished(
    open_log: OpenLog, kafka_address: str
) -> None:
    servers, topic = kafka_address.split("/")[2], topic_of(kafka_address)
    half = KafkaTopic(servers, topic, 10)
    await half.connect()
    await half.create(3, 900_000)
    with pytest.raises(LogNotFound):
        await open_log()

    creator = await open_log(3)
    other = await open_log()
    await half.aclose()

    assert other.identity == creator.identity
    assert await other.ends() == {0: 1, 1: 1, 2: 1}


async def test_a_topic_of_something_else_is_no_log(open_log: OpenLog, kafka_address: str) -> None:
    servers, name = kafka_address.split("/")[2], topic_of(kafka_address)
    topic = KafkaTopic(servers, name, 10)
    await topic.connect()
    await topic.create(1, 900_000)
    producer = await open_producer(servers, batch_bytes_max=100_000, deadline_s=10)
    batch = producer.create_batch()
    batch.append(timestamp=1, key=None, value=b"x" * 20_000)
    await (await producer.send_batch(batch, name, partition=0))
    await close_producer(producer)
    await topic.aclose()

    with pytest.raises(Exception, match=r"no log of Meshline|Cannot read"):
        await open_log(1)


async def test_partitions_that_somebody_added_are_noticed(
    open_log: OpenLog, kafka_address: str
) -> None:
    await open_log(2)
    async with administrator(kafka_address) as admin:
        await admin.create_partitions({topic_of(kafka_address): NewPartitions(3)})
        await asyncio.sleep(0.5)

    with pytest.raises(LogLayoutMismatch, match="has 3 partitions, but its log was created with 2"):
        await open_log()


async def test_nobody_at_the_address_is_said_within_the_deadline() -> None:
    log = KafkaLog("kafka://127.0.0.1:1/nobody", replace(SETTINGS, open_deadline_s=0.5))

    with pytest.raises(LogUnavailable, match="expected a broker"):
        await asyncio.wait_for(log.open(), PATIENCE_S)


@pytest.mark.parametrize(
    "address",
    ["kafka://localhost/x", "kafka://localhost:9092/", "kafka://:9092/x", "kafka://h:1,h/x/y z"],
)
def test_an_address_that_says_too_little_is_refused(address: str) -> None:
    with pytest.raises(SettingsInvalid, match="expected kafka://host:port"):
        KafkaLog(address)


# --- appending ---------------------------------------------------------------------------------


async def test_concurrent_appends_stand_in_the_order_of_the_calls_each_in_one_piece(
    open_log: OpenLog,
) -> None:
    log = await open_log(1)

    answers = await asyncio.gather(
        *(log.append(0, entries(*(f"{n}.{i}" for i in range(n % 4 + 1)))) for n in range(300))
    )
    records = await read(log.reader({0: 1}), sum(n % 4 + 1 for n in range(300)))

    assert [r.value.decode() for r in records] == [
        f"{n}.{i}" for n in range(300) for i in range(n % 4 + 1)
    ]
    for n, answer in enumerate(answers):
        assert isinstance(answer, Accepted) and answer.contiguous
        assert records[answer.first - 1].value == f"{n}.0".encode()
        assert answer.last - answer.first == n % 4


async def test_an_append_over_the_size_of_a_batch_goes_in_several(open_log: OpenLog) -> None:
    log = await open_log(1, replace(SETTINGS, batch_bytes_max=10_000))
    large = [Entry("run", b"%04d" % i + b"x" * 996) for i in range(100)]

    one, other = await asyncio.gather(log.append(0, large), log.append(0, entries("behind")))
    records = await read(log.reader({0: 1}), 101)

    # Nobody else appends here, and the queue keeps the order: it is contiguous all the same.
    assert one == Accepted(1, 100, contiguous=True)
    assert other == Accepted(101, 101, contiguous=True)
    assert [r.value[:4] for r in records[:100]] == [b"%04d" % i for i in range(100)]


async def test_an_oversize_record_is_refused_and_the_next_append_is_accepted(
    open_log: OpenLog,
) -> None:
    log = await open_log(1)

    refused = await log.append(0, [Entry("run", b"x" * (SETTINGS.record_bytes_max + 1))])
    largest = await log.append(0, [Entry("run", b"x" * SETTINGS.record_bytes_max)])

    assert isinstance(refused, Refused)
    assert isinstance(largest, Accepted)
    assert (await log.ends())[0] == 2


async def test_a_broker_that_takes_less_than_our_limit_refuses_and_the_log_goes_on(
    open_log: OpenLog, kafka_address: str
) -> None:
    await open_log(1)
    log = await open_log(None, LogSettings(record_bytes_max=3_000_000, batch_bytes_max=3_000_000))

    refused = await log.append(0, [Entry("run", b"x" * 2_000_000)])
    after = await log.append(0, entries("after"))

    assert isinstance(refused, Refused) and "max.message.bytes" in refused.reason
    assert after == Accepted(1, 1, contiguous=True)


async def test_any_reader_of_cloudevents_knows_the_records_as_such(
    open_log: OpenLog, kafka_address: str
) -> None:
    log = await open_log(1)
    await log.append(0, [Entry("run-1", b"{}"), Entry("", b"{}")])
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_address.split("/")[2])
    await consumer.start()
    partition = TopicPartition(topic_of(kafka_address), 0)
    consumer.assign([partition])
    consumer.seek(partition, 1)

    records = (await consumer.getmany(timeout_ms=int(PATIENCE_S * 1000)))[partition]
    await consumer.stop()

    assert [record.key for record in records] == [b"run-1", None]
    assert {record.headers for record in records} == {
        (("content-type", b"application/cloudevents+json"),)
    }


async def test_an_append_that_is_given_up_in_the_queue_is_not_sent(open_log: OpenLog) -> None:
    log = await open_log(1)
    waiting = asyncio.ensure_future(log.append(0, entries("given up")))
    # One turn of the loop: it is queued.
    await asyncio.sleep(0)

    waiting.cancel()
    answer = await log.append(0, entries("kept"))

    assert answer == Accepted(1, 1, contiguous=True)


# --- reading -----------------------------------------------------------------------------------


async def test_partitions_come_and_go_without_disturbing_the_others(open_log: OpenLog) -> None:
    log = await open_log(3)
    for partition in range(3):
        await log.append(partition, entries(*(f"{partition}.{i}" for i in range(50))))
    reader = log.reader({0: 1})

    seen = await read(reader, 50)
    reader.add(1, 1)
    seen += await read(reader, 50)
    reader.add(2, 1)
    reader.remove(1)
    await log.append(1, entries("not read"))
    seen += await read(reader, 50)
    reader.add(1, 51)
    seen += await read(reader, 1)
    await reader.aclose()

    assert [r.value.decode() for r in seen] == [
        *(f"{partition}.{i}" for partition in range(3) for i in range(50)),
        "not read",
    ]


async def test_what_is_known_is_not_returned_and_what_follows_is(open_log: OpenLog) -> None:
    log = await open_log(1)
    await log.append(0, entries(*(str(i) for i in range(100))))
    reader = log.reader({0: 1})
    first = await reader.fetch(10, PATIENCE_S)

    reader.advance(0, 41)
    inside = await reader.fetch(10, PATIENCE_S)
    reader.advance(0, 101)
    await log.append(0, entries("next"))
    after = await reader.fetch(10, PATIENCE_S)
    await reader.aclose()

    assert [r.offset for r in first[0]] == list(range(1, 11))
    assert [r.offset for r in inside[0]] == list(range(41, 51))
    assert [(r.offset, r.value) for r in after[0]] == [(101, b"next")]


async def test_a_cancelled_fetch_loses_nothing(open_log: OpenLog) -> None:
    log = await open_log(1)
    reader = log.reader({0: 1})
    seen: list[int] = []

    async def keep_reading() -> None:
        while True:
            for records in (await reader.fetch(7, 1.0)).values():
                seen.extend(record.offset for record in records)

    for round_ in range(20):
        task = asyncio.create_task(keep_reading())
        await log.append(0, entries(*"abcdefghijklmnopqrst"))
        await asyncio.sleep(0.001 * (round_ % 5))
        task.cancel()
        await asyncio.wait([task])
    seen += [record.offset for record in await read(reader, 400 - len(seen))]
    await reader.aclose()

    assert seen == list(range(1, 401))


async def test_a_reader_that_is_not_fetched_from_stops_reading_ahead(open_log: OpenLog) -> None:
    log = await open_log(1, replace(SETTINGS, read_ahead_bytes_max=100_000))
    large = [Entry("run", b"x" * 100_000) for _ in range(8)]
    for _ in range(5):
        assert isinstance(await log.append(0, large), Accepted)
    reader = log.reader({0: 1})
    first = await reader.fetch(1, PATIENCE_S)

    await asyncio.sleep(0.5)

    assert reader._ahead_bytes < 2_000_000
    assert len(first[0]) + len(await read(reader, 39)) == 40
    assert reader._ahead_bytes == 0
    await reader.aclose()


async def test_the_times_of_a_partition_do_not_go_back(open_log: OpenLog) -> None:
    log = await open_log(1)
    for i in range(50):
        await log.append(0, entries(str(i)))

    records = await read(log.reader({0: 0}), 51)

    assert all(a.appended_ms <= b.appended_ms for a, b in pairwise(records))


# --- history that was lost or changed ----------------------------------------------------------


async def test_a_position_after_the_end_is_lost(open_log: OpenLog) -> None:
    log = await open_log(1)
    reader = log.reader({0: 7})

    error = await failure_of(reader)

    assert isinstance(error, PositionLost)
    assert "ends at 1, but was to be read from 7 on: the log was cut off" in str(error)
    reader.add(0, 0)
    assert len(await read(reader, 1)) == 1
    await reader.aclose()


async def test_a_deleted_beginning_is_noticed_by_readers_and_at_opening(
    open_log: OpenLog, kafka_address: str
) -> None:
    log = await open_log(1)
    await log.append(0, entries("a", "b", "c"))
    reader = log.reader({0: 4})
    await reader.fetch(1, 0.3)

    async with administrator(kafka_address) as admin:
        topic = TopicPartition(topic_of(kafka_address), 0)
        await admin.delete_records({topic: RecordsToDelete(2)})
    error = await failure_of(reader)
    await reader.aclose()

    assert isinstance(error, PositionLost)
    assert "begins at offset 2: expected 0" in str(error)
    with pytest.raises(LogIdentityChanged, match="begins after offset 0"):
        await open_log()


async def test_a_deleted_topic_is_noticed(open_log: OpenLog, kafka_address: str) -> None:
    log = await open_log(1)
    reader = log.reader({0: 1})
    await reader.fetch(1, 0.3)

    async with administrator(kafka_address) as admin:
        await admin.delete_topics([topic_of(kafka_address)])
    error = await failure_of(reader)
    await reader.aclose()

    assert isinstance(error, LogIdentityChanged)
    assert "is gone" in str(error)


@pytest.mark.parametrize("appended", [0, 20])
async def test_a_topic_that_was_made_again_is_noticed_also_when_it_is_longer(
    open_log: OpenLog, kafka_address: str, appended: int
) -> None:
    log = await open_log(1)
    await log.append(0, entries("a", "b", "c"))
    reader = log.reader({0: 4})
    await reader.fetch(1, 0.3)

    async with administrator(kafka_address) as admin:
        await admin.delete_topics([topic_of(kafka_address)])
    again = await open_log(1)
    if appended:
        await again.append(0, entries(*(f"other {i}" for i in range(appended))))
    error = await failure_of(reader)
    await reader.aclose()

    assert isinstance(error, LogIdentityChanged)
    assert f"expected the log {log.identity.log_id}" in str(error) or (
        f"now keeps the log {again.identity.log_id}: expected {log.identity.log_id}" in str(error)
    )
