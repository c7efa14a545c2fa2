"""Reading signals from topics of others, against a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from meshline.events.errors import LogUnavailable
from meshline.events.log import LogSettings
from meshline.events.log.kafka_signal import JsonMapping, SourceSignal
from meshline.events.log.kafka_source import KafkaSource

pytestmark = pytest.mark.kafka

SETTINGS = LogSettings(open_deadline_s=10, session_timeout_s=2, heartbeat_s=0.2)
PATIENCE_S = 90.0

Headers = Sequence[tuple[str, bytes]]


@pytest.fixture
async def topic(kafka_servers: str) -> AsyncIterator[str]:
    name = f"source-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()
    yield name


@pytest.fixture
async def producer(kafka_servers: str, topic: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_servers)
    await producer.start()
    yield producer
    await producer.stop()


async def started(servers: str, topic: str, mapping: JsonMapping | None = None) -> KafkaSource:
    source = KafkaSource(servers, topic, f"{topic}.readers", mapping=mapping, settings=SETTINGS)
    await source.start()
    return source


async def read(source: KafkaSource, count: int) -> list[SourceSignal]:
    found: list[SourceSignal] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            found += await source.fetch(100, 1.0)
    return found


def cloud_event(number: int) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"%d" % number),
        ("ce_source", b"web.forms"),
        ("ce_type", b"form.submitted"),
    ]


async def test_all_modes_are_read_and_what_is_broken_stops_nothing(
    kafka_servers: str, topic: str, producer: AIOKafkaProducer
) -> None:
    structured = {
        "specversion": "1.0",
        "id": "2",
        "source": "web.forms",
        "type": "form.submitted",
        "data": {"n": 2},
    }
    # As cloudevents-kafka and spring-kafka write them: any order, other headers in between.
    java = [
        ("__TypeId__", b"com.example.FormSubmitted"),
        ("ce_type", b"form.submitted"),
        ("ce_time", b"2026-01-02T03:04:05.123456789Z"),
        ("ce_source", b"/crm/forms"),
        ("ce_id", b"3"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce_specversion", b"1.0"),
        ("ce_datacontenttype", b"application/json"),
        ("content-type", b"application/json"),
    ]
    messages: list[tuple[bytes | None, Headers]] = [
        (b'{"n": 1}', cloud_event(1)),
        (orjson.dumps(structured), [("content-type", b"application/cloudevents+json")]),
        (b'{"n": 3}', java),
        (b'{"id": "4"}', []),
        (b"{", cloud_event(5)),
        (b"\xff", []),
        (b'{"n": 7}', cloud_event(7)),
    ]
    for value, headers in messages:
        await producer.send_and_wait(topic, value, headers=list(headers), partition=0)

    source = await started(kafka_servers, topic, JsonMapping(id_field="id", source="plain"))
    signals = await read(source, len(messages))
    await source.aclose()

    assert [s.trigger_id for s in signals] == ["1", "2", "3", "4", "5", f"{topic}:0:5", "7"]
    assert [s.problem.reason if s.problem else None for s in signals] == [
        *(None, None, None, None),
        *("not_json", "not_utf8", None),
    ]
    assert signals[1].payload == b'{"n":2}'
    assert signals[2].source == "/crm/forms"
    assert signals[2].traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert signals[2].time is not None
    assert signals[3].source == "plain"


async def test_what_was_not_committed_comes_again(
    kafka_servers: str, topic: str, producer: AIOKafkaProducer
) -> None:
    for number in range(6):
        await producer.send_and_wait(topic, b"{}", headers=cloud_event(number), partition=0)
    source = await started(kafka_servers, topic)
    signals = await read(source, 6)
    await source.commit(signals[:4])
    await source.aclose()

    source = await started(kafka_servers, topic)
    again = await read(source, 2)
    await source.commit(again)
    await source.aclose()
    source = await started(kafka_servers, topic)
    nothing = await source.fetch(100, 1.0)
    await source.aclose()

    assert [s.trigger_id for s in again] == ["4", "5"]
    assert nothing == []


async def test_a_second_reader_takes_over_what_the_first_had(
    kafka_servers: str, topic: str, producer: AIOKafkaProducer
) -> None:
    for number in range(10):
        await producer.send_and_wait(
            topic, b"{}", headers=cloud_event(number), partition=number % 2
        )
    first = await started(kafka_servers, topic)
    signals = await read(first, 10)
    second, more = await asyncio.gather(started(kafka_servers, topic), first.fetch(100, 2.0))
    # Half of it is the second reader's now: committing it here must neither fail nor count.
    await first.commit([*signals, *more])
    await first.aclose()

    taken = await read(second, 5)
    await second.aclose()

    assert len(taken) == 5
    assert len({int(s.trigger_id) % 2 for s in taken}) == 1, "one partition, and all of it"


async def test_messages_that_expired_unread_are_said(
    kafka_servers: str, topic: str, producer: AIOKafkaProducer
) -> None:
    for number in range(6):
        await producer.send_and_wait(topic, b"{}", headers=cloud_event(number), partition=0)
    source = await started(kafka_servers, topic)
    await source.commit((await read(source, 6))[:2])
    await source.aclose()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(4)})
    await admin.close()

    source = await started(kafka_servers, topic)
    missed, *left = await read(source, 3)
    await source.aclose()

    assert missed.problem is not None and missed.problem.reason == "messages_expired"
    assert missed.address == f"{topic}:0:2"
    assert [s.trigger_id for s in left] == ["4", "5"]


async def test_a_topic_that_is_not_there_is_said_within_the_deadline(kafka_servers: str) -> None:
    source = KafkaSource(kafka_servers, "not-there", "g", settings=LogSettings(open_deadline_s=1))

    with pytest.raises(LogUnavailable, match="'not-there' within 1 s"):
        await source.start()
