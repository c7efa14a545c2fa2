"""10,000 hostile payloads, and 200 good triggers among them that must not notice.

They come through the publisher, and through a source topic of Kafka. Each of them is answered and
listed: as rejected, with a reason, or as accepted, and then with exactly what was sent. What is
accepted goes through the steps of a workflow, which returns it and fails with it in its message.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from meshline.events import Answer, Publisher
from meshline.events.log import EventLog
from meshline.projections import exception_view, runs_view, triggers_view
from tests.acceptance.support.anything import SOURCE
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, Views, until
from tests.hostile import hostile_identifiers, hostile_objects, hostile_payloads

pytestmark = pytest.mark.slow

COUNT = 10_000
GOOD_COUNT = 200
PARTITIONS = 4
PATIENCE_S = 180.0
SEED = 20260105
APP = "tests/acceptance/support/anything.py"
MESSAGE_BYTES_MAX = 900_000
EXTREME_TIMES = [
    datetime.fromisoformat(text)
    for text in ("0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")
]
RECEIVED = "meshline.trigger.received.v1"
ACCEPTED, REJECTED = "accepted", "rejected"


async def test_what_is_published_harms_nobody(place: Place, tmp_path: Path) -> None:
    payloads = list(hostile_payloads(SEED, COUNT))
    async with running(place, tmp_path) as (log, views, worker, projector):
        both = [worker, projector]
        async with Publisher(log) as publisher:
            answers, good, others = await asyncio.gather(
                publish_all(publisher, [raw for _, raw in payloads]),
                publish_good(publisher),
                publish_oddities(publisher),
            )
        await until("good runs done", PATIENCE_S, succeeded(views, GOOD_COUNT), alive=both)
        await until("views that have read all", PATIENCE_S, read_all(log, views), alive=both)

        assert Counter(answer.status for answer in good) == {ACCEPTED: GOOD_COUNT}
        rows = {
            (row.partition, row.log_offset): row for row in await views.rows(triggers_view.triggers)
        }
        assert len(rows) == len(payloads) + GOOD_COUNT + len(others)
        for (name, raw), answer in zip(payloads, answers, strict=True):
            check_listed(name, raw, answer, rows[answer.position])
        for answer in others:
            assert rows[answer.position].status == answer.status
        await check_unharmed(views, worker, projector)
        print(f"{place.kind}: {Counter(answer.status for answer in (*answers, *others))}")


@asynccontextmanager
async def running(
    place: Place, folder: Path, *sources: str
) -> AsyncGenerator[tuple[EventLog, Views, Member, Member]]:
    """A worker and a projector, as the command line starts them."""
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(folder) as fleet:
            worker = fleet.command("worker", "worker", APP, "--log", place.log, *sources)
            projector = fleet.command(
                "projector", "projector", "--log", place.log, "--views", place.views
            )
            worker.start()
            projector.start()
            await until("the views", PATIENCE_S, views.are_there)
            yield log, views, worker, projector


@pytest.mark.kafka
async def test_what_comes_in_a_source_topic_harms_nobody(
    place: Place, kafka_servers: str, tmp_path: Path
) -> None:
    topic = f"source-{uuid4().hex[:10]}"
    await make_topic(kafka_servers, topic)
    random = Random(SEED)
    payloads = [raw for _, raw in hostile_payloads(SEED, COUNT) if len(raw) < MESSAGE_BYTES_MAX]
    messages = [hostile_message(random, number, raw) for number, raw in enumerate(payloads)]
    for number in range(GOOD_COUNT):
        messages.insert(random.randrange(len(messages)), good_message(number))
    sources = ("--source-brokers", kafka_servers, "--source-topic", f"{topic}={SOURCE}")
    async with running(place, tmp_path, *sources) as (log, views, worker, projector):
        both = [worker, projector]
        addresses = await send(kafka_servers, topic, messages)
        for share in (0.2, 0.4, 0.6):
            some = received(views, int(share * COUNT))
            await until(f"{share:.0%} taken in", PATIENCE_S, some, poll_s=0.01, alive=both)
            worker.kill()
            worker.start()
        await until("all of it taken in", PATIENCE_S, received(views, len(messages)), alive=both)
        await until("good runs done", PATIENCE_S, succeeded(views, GOOD_COUNT), alive=both)
        await until("views that have read all", PATIENCE_S, read_all(log, views), alive=both)

        rows = await views.rows(triggers_view.triggers)
        taken = await views.query(
            "select event_id, partition, log_offset from {ns}.history where type = $1", RECEIVED
        )
        address_of = {(row["partition"], row["log_offset"]): row["event_id"] for row in taken}
        assert {address_of[row.partition, row.log_offset] for row in rows} == addresses
        assert {row.status for row in rows} - {"repeated"} == {ACCEPTED, REJECTED}
        for row in rows:
            assert (row.status == REJECTED) == bool(row.reason and row.code), row
        await check_unharmed(views, worker, projector)
        again = len(rows) - len(addresses)
        print(f"{place.kind}: {Counter(row.status for row in rows)}, {again} came in again")


# -- through the publisher -------------------------------------------------------------------------


async def publish_all(publisher: Publisher, payloads: Sequence[bytes]) -> list[Answer]:
    """Publish each under an id of its own, many at a time."""
    answers: list[Answer] = []
    for start in range(0, len(payloads), 500):
        some = payloads[start : start + 500]
        answers += await asyncio.gather(
            *(
                publisher.publish_raw(
                    SOURCE,
                    raw,
                    trigger_id=f"h{number}",
                    trigger_type="Anything",
                    wait_s=PATIENCE_S,
                )
                for number, raw in enumerate(some, start)
            )
        )
    return answers


async def publish_good(publisher: Publisher) -> list[Answer]:
    answers = []
    for number in range(GOOD_COUNT):
        answers.append(
            await publisher.publish(
                SOURCE,
                {"number": number},
                trigger_id=f"good-{number}",
                trigger_type="Good",
                wait_s=PATIENCE_S,
            )
        )
        await asyncio.sleep(0.01)
    return answers


async def publish_oddities(publisher: Publisher) -> list[Answer]:
    """Odd objects, odd names, and times at the ends of what there is."""
    objects = [
        publisher.publish(
            SOURCE, value, trigger_id=f"o{number}", trigger_type="Anything", wait_s=PATIENCE_S
        )
        for number, (_, value) in enumerate(hostile_objects())
    ]
    names = [
        publisher.publish(
            **{
                "source": SOURCE,
                "payload": {},
                "trigger_id": f"n{number}",
                "trigger_type": "Anything",
                place: value,
            },
            wait_s=PATIENCE_S,
        )
        for number, (_, value) in enumerate(hostile_identifiers())
        for place in ("source", "trigger_id", "trigger_type", "correlation_id")
    ]
    times = [
        publisher.publish(SOURCE, {}, trigger_id=f"t{number}", time=time, wait_s=PATIENCE_S)
        for number, time in enumerate(EXTREME_TIMES)
    ]
    return await asyncio.gather(*objects, *names, *times)


# -- through a source topic ------------------------------------------------------------------------


class Sent(NamedTuple):
    """A message of Kafka; ``partition`` is drawn, so that all of them have good and bad ones."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


async def make_topic(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()


def hostile_message(random: Random, number: int, raw: bytes) -> Sent:
    """The payload as plain JSON, in a CloudEvent of either mode, or with an odd envelope too."""
    key = b"h%d" % number
    binary = [
        ("ce_specversion", b"1.0"), ("ce_id", key), ("ce_source", b"s"), ("ce_type", b"Anything"),
    ]  # fmt: skip
    structured = [("content-type", b"application/cloudevents+json")]
    event = b'{"specversion":"1.0","id":"%b","source":"s","type":"Anything","data":%b}'
    odd = random.choice([raw[:200], b"", b"\xff", b"0001-01-01T00:00:00+14:00", b"\x00" * 9])
    partition = random.randrange(PARTITIONS)
    return random.choice(
        [
            Sent(partition, key, raw, []),
            Sent(partition, key, raw, binary),
            Sent(partition, None, event % (key, raw), structured),
            Sent(partition, odd, raw, []),
            Sent(partition, key, None, [(name, odd) for name, _ in binary]),
            Sent(partition, key, raw, [*binary, ("ce_time", odd), ("traceparent", odd)]),
            Sent(partition, key, raw, [("content-type", odd), *binary]),
            Sent(partition, None, raw, structured),
        ]
    )


def good_message(number: int) -> Sent:
    headers = {
        "ce_specversion": "1.0", "ce_id": f"good-{number}", "ce_source": "/elsewhere",
        "ce_type": "Good", "content-type": "application/json",
    }  # fmt: skip
    value = json.dumps({"number": number}).encode()
    return Sent(number % PARTITIONS, None, value, [(k, v.encode()) for k, v in headers.items()])


async def send(servers: str, topic: str, messages: Sequence[Sent]) -> set[str]:
    """Return the addresses at which they stand."""
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        sent = [
            await producer.send(
                topic, each.value, each.key, partition=each.partition, headers=each.headers
            )
            for each in messages
        ]
        records = await asyncio.gather(*sent)
    return {f"{topic}:{record.partition}:{record.offset}" for record in records}


def received(views: Views, count: int) -> Any:
    async def reached() -> bool:
        rows = await views.query(
            "select count(distinct event_id) from {ns}.history where type = $1", RECEIVED
        )
        return int(rows[0][0]) >= count

    return reached


# -- what must hold --------------------------------------------------------------------------------


def check_listed(name: str, raw: bytes, answer: Answer, row: Any) -> None:
    """The list says of the payload what the publisher was answered, and holds what was sent."""
    assert answer.status in (ACCEPTED, REJECTED), name
    assert row.status == answer.status, name
    if answer.status == REJECTED:
        assert row.code == "unreadable", name
        assert row.reason, name
        assert row.unreadable["size_bytes"] == len(raw), name
    else:
        assert row.payload == json.loads(raw), name


async def check_unharmed(views: Views, worker: Member, projector: Member) -> None:
    """Nothing crashed, nothing is parked, and each run of a payload stands as it must."""
    assert await views.parked() == []
    states = Counter((row.workflow, row.state) for row in await views.rows(runs_view.runs))
    exceptions = Counter(row.kind for row in await views.rows(exception_view.exceptions))
    assert set(states) == {("anything", "held"), ("good", "succeeded")}
    assert exceptions["step_failed"] == states["anything", "held"]
    for member in (worker, projector):
        assert member.is_running, member.said()
        assert "Traceback" not in member.said()
        assert member.end() == 0


def succeeded(views: Views, count: int) -> Any:
    async def reached() -> bool:
        rows = await views.query(
            "select count(*) from {ns}.runs where workflow = 'good' and state = 'succeeded'"
        )
        return int(rows[0][0]) == count

    return reached


def read_all(log: EventLog, views: Views) -> Any:
    """Whether the engine has come to rest, and the views have read all of it."""
    before: dict[int, int] = {}

    async def reached() -> bool:
        ends = await log.ends()
        is_at_rest = ends == before
        before.update(ends)
        unanswered = await views.query(
            "select count(*) from {ns}.triggers where status = 'received'"
        )
        open_runs = await views.query(
            "select count(*) from {ns}.runs where state in ('running', 'waiting')"
        )
        return (
            is_at_rest
            and await views.are_at(ends)
            and unanswered[0][0] == 0
            and open_runs[0][0] == 0
        )

    return reached
