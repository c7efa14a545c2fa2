"""The publisher on the real logs: appends in batches, answers read back, the blocking form too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshline.events import Answer, BlockingPublisher, Publisher, Trigger
from meshline.events.codec import decode
from meshline.events.log import EventLog, open_log
from meshline.events.requests import TriggerReceived
from tests.events.publish.doubles import Keeper, everything

PARTITIONS = 4


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
async def log(request: pytest.FixtureRequest) -> AsyncIterator[EventLog]:
    log = open_log(request.getfixturevalue(f"{request.param}_address"))
    await log.open(create_partitions=PARTITIONS)
    yield log
    await log.aclose()


@pytest.fixture
def address(request: pytest.FixtureRequest, log: EventLog) -> str:
    kind = request.node.callspec.params["log"]
    address: str = request.getfixturevalue(f"{kind}_address")
    return address


async def test_each_is_decided_once_and_told_so(log: EventLog) -> None:
    triggers = [Trigger("s", {"invalid": 1} if i % 5 == 4 else {}, str(i)) for i in range(400)]

    async with Keeper(log), Publisher(log) as publisher:
        answers = [a async for a in publisher.publish_many(triggers, wait_s=30)]
        again = await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i), wait_s=30) for i in range(4))
        )

    assert [answer.status for answer in answers] == [
        "rejected" if i % 5 == 4 else "accepted" for i in range(400)
    ]
    assert [answer.status for answer in again] == ["repeated"] * 4
    requests = {
        (record.partition, record.offset): event.data.trigger_id
        for record in await everything(log)
        if isinstance((event := decode(record.value)).data, TriggerReceived)
    }
    assert all(requests[answer.position] == answer.trigger_id for answer in answers)


async def test_one_after_the_other_each_with_its_answer(log: EventLog) -> None:
    async with Keeper(log), Publisher(log) as publisher:
        answers = [
            await publisher.publish("s", {}, trigger_id=str(i), wait_s=30) for i in range(30)
        ]

    assert [answer.status for answer in answers] == ["accepted"] * 30


async def test_plain_code_publishes_beside_asyncio(log: EventLog, address: str) -> None:
    def publish() -> list[Answer]:
        with BlockingPublisher(address) as publisher:
            return list(
                publisher.publish_many((Trigger("s", {}, str(i)) for i in range(100)), wait_s=30)
            )

    async with Keeper(log):
        answers = await asyncio.to_thread(publish)

    assert [answer.status for answer in answers] == ["accepted"] * 100
