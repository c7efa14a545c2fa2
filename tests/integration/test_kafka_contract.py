"""What the log relies on in Kafka and aiokafka, against a real broker: if one changes, look here.

These tests are about the client and the broker as they are; the log's own promises are in
test_kafka_log.py and in the conformance suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
)

from meshline.events.log.kafka_producer import close_producer, open_producer
from meshline.events.log.kafka_topic import topic_settings

pytestmark = pytest.mark.kafka

PATIENCE_S = 15


@asynccontextmanager
async def administrator(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@pytest.fixture
async def topic(kafka_servers: str) -> str:
    name = f"contract-{uuid4().hex[:12]}"
    async with administrator(kafka_servers) as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=topic_settings(1, 900_000))])
    return name


@pytest.fixture
async def producer(kafka_servers: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = await open_producer(kafka_servers, batch_bytes_max=4_000_000, deadline_s=PATIENCE_S)
    yield producer
    await close_producer(producer)


@pytest.fixture
async def consumer(kafka_servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_servers, enable_auto_commit=False, auto_offset_reset="none"
    )
    await consumer.start()
    yield consumer
    await consumer.stop()


async def send(producer: AIOKafkaProducer, topic: str, *values: bytes) -> Any:
    batch = producer.create_batch()
    for value in values:
        assert batch.append(timestamp=1, key=None, value=value) is not None
    future = await producer.send_batch(batch, topic, partition=0)
    return await asyncio.wait_for(future, PATIENCE_S)


async def test_a_batch_gets_consecutive_offsets_and_answers_the_first(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    first = await send(producer, topic, b"a", b"b", b"c")
    second = await send(producer, topic, b"d")

    assert (first.offset, second.offset) == (0, 3)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    read: list[Any] = []
    while len(read) < 4:
        read += (await consumer.getmany(timeout_ms=1000)).get(partition, [])
    assert [(r.offset, r.value) for r in read] == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")]


async def test_the_broker_stamps_the_time_of_the_append_on_every_record_of_a_batch(
    producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str
) -> None:
    await send(producer, topic, b"a", b"b")

    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    read = (await consumer.getmany(timeout_ms=PATIENCE_S * 1000))[partition]
    assert {record.timestamp_type for record in read} == {1}
    # The producer said 1: that is gone.
    assert len({record.timestamp for record in read}) == 1
    assert read[0].timestamp > 1_600_000_000_000


async def test_an_oversize_batch_wedges_the_producer_for_its_partition(
    producer: AIOKafkaProducer, topic: str
) -> None:
    await send(producer, topic, b"before")

    with pytest.raises(MessageSizeTooLargeError):
        await send(producer, topic, b"x" * 2_000_000)

    # Its number was taken although it was refused, so all that follows comes out of order.
    for _ in range(2):
        with pytest.raises(OutOfOrderSequenceNumber):
            await send(producer, topic, b"after")


async def test_stop_waits_for_what_cannot_be_delivered_and_close_producer_does_not(
    kafka_servers: str, topic: str
) -> None:
    producer = await open_producer(kafka_servers, batch_bytes_max=1000, deadline_s=PATIENCE_S)
    await send(producer, topic, b"known")
    async with administrator(kafka_servers) as admin:
        await admin.delete_topics([topic])
    stuck = asyncio.ensure_future(send(producer, topic, b"nowhere"))
    await asyncio.sleep(0.5)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.stop(), 1.0)
    await asyncio.wait_for(close_producer(producer), PATIENCE_S / 2)

    stuck.cancel()
    sender = producer._sender.sender_task
    assert sender is not None and sender.done()


async def test_without_a_reset_a_consumer_raises_for_an_offset_that_is_not_there(
    consumer: AIOKafkaConsumer, topic: str
) -> None:
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 5)

    with pytest.raises(OffsetOutOfRangeError):
        await consumer.getmany(timeout_ms=PATIENCE_S * 1000)


async def test_without_a_reset_a_member_without_a_commit_raises(
    kafka_servers: str, topic: str
) -> None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka_servers,
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    await consumer.start()

    with pytest.raises(NoOffsetForPartitionError):
        await consumer.getmany(timeout_ms=PATIENCE_S * 1000)

    await consumer.stop()


async def test_nothing_in_the_topic_expires(kafka_servers: str, topic: str) -> None:
    async with administrator(kafka_servers) as admin:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])

    [resource] = answer.resources
    settings = {entry[0]: entry[1] for entry in resource[4]}
    assert settings["cleanup.policy"] == "delete"
    assert settings["retention.ms"] == settings["retention.bytes"] == "-1"
    assert settings["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(("replicas", "must_be_in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_one_replica_may_be_missing(replicas: int, must_be_in_sync: str) -> None:
    assert topic_settings(replicas, 1)["min.insync.replicas"] == must_be_in_sync
