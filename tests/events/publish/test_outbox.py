"""Appends that fail: refused, unanswered, lost, late; and limits on what waits."""

from __future__ import annotations

import asyncio

import pytest

from meshline.events import Answer, Publisher, PublisherSettings, Trigger
from meshline.events.codec import decode
from meshline.events.errors import AppendRefused, AppendUnknown, PublisherClosed
from tests.events.publish.doubles import FailingLog, Keeper, everything

QUICK = PublisherSettings(retry_delay_s=0.001, fetch_wait_s=0.05)


async def failing_log(*script: str, partitions: int = 1) -> FailingLog:
    log = FailingLog(*script)
    await log.open(create_partitions=partitions)
    return log


@pytest.mark.parametrize("word", ["lost", "unanswered", "late"])
async def test_an_append_without_an_answer_is_tried_again_with_the_same_id(word: str) -> None:
    log = await failing_log(word, word)

    async with Publisher(log, settings=QUICK) as publisher:
        answer = await publisher.publish("s", {}, trigger_id="1")

    ids = {decode(record.value).id for record in await everything(log)}
    assert (answer.status, len(log.appends), len(ids)) == ("appended", 3, 1)


@pytest.mark.parametrize("word", ["lost", "unanswered", "late"])
async def test_the_answer_to_an_append_in_doubt_is_the_first_in_the_log(word: str) -> None:
    log = await failing_log(word)

    async with Keeper(log), Publisher(log, settings=QUICK) as publisher:
        answers = [await publisher.publish("s", {}, trigger_id=str(i), wait_s=30) for i in range(3)]

    # Its second copy was answered with `repeated`; the caller published once.
    assert [answer.status for answer in answers] == ["accepted"] * 3


async def test_an_append_in_doubt_is_found_even_where_it_was_read_before_the_doubt() -> None:
    log = await failing_log("well", "unanswered")

    async with Keeper(log), Publisher(log, settings=QUICK) as publisher:
        # This one keeps the reader at the log's end all the time.
        waiting = asyncio.create_task(publisher.publish("s", {"ignored": 1}, trigger_id="1"))
        await waiting
        following = asyncio.create_task(publisher.publish("s", {}, trigger_id="2", wait_s=30))
        assert (await following).status == "accepted"

    assert len(log.appends) == 3


async def test_past_the_deadline_the_outcome_is_unknown_and_said_to_be() -> None:
    log = await failing_log(*["unanswered"] * 1_000)
    settings = PublisherSettings(append_deadline_s=0.02, retry_delay_s=0.002)

    async with Publisher(log, settings=settings) as publisher:
        results = await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i)) for i in range(3)),
            return_exceptions=True,
        )

    assert [type(result) for result in results] == [AppendUnknown] * 3
    assert "The event may be in the log" in str(results[0])
    assert "Publish it again with the same trigger id" in str(results[0])


async def test_a_refusal_after_a_try_without_an_answer_is_no_proof_that_it_is_not_there() -> None:
    log = await failing_log("unanswered", "refused")

    async with Publisher(log, settings=QUICK) as publisher:
        with pytest.raises(AppendUnknown):
            await publisher.publish("s", {}, trigger_id="1")

    assert len(await everything(log)) == 1


async def test_a_publisher_whose_tasks_are_all_cancelled_closes_and_nobody_waits() -> None:
    log = await failing_log()
    log.gate.clear()
    publisher = Publisher(log, settings=PublisherSettings(batch_records_max=1))
    sent = [asyncio.create_task(publisher.publish("s", {}, trigger_id=str(i))) for i in range(3)]
    await asyncio.sleep(0.01)

    for sender in publisher._outbox._senders.values():
        sender.cancel()
    async with asyncio.timeout(90):
        results = await asyncio.gather(*sent, return_exceptions=True)
        await publisher.aclose()

    assert [type(result) for result in results] == [AppendUnknown, PublisherClosed, PublisherClosed]


async def test_one_that_is_refused_does_not_take_the_others_with_it() -> None:
    log = await failing_log()
    log.record_bytes_max = 2_000

    async with Publisher(log) as publisher:
        results = await asyncio.gather(
            *(
                publisher.publish("s", {"text": "x" * (5_000 if i == 7 else 10)}, trigger_id=str(i))
                for i in range(20)
            ),
            return_exceptions=True,
        )

    assert [i for i, result in enumerate(results) if isinstance(result, AppendRefused)] == [7]
    assert len(await everything(log)) == 19
    assert "It was not appended, and the same bytes would be refused again" in str(results[7])


async def test_a_mistake_of_the_log_reaches_the_caller_and_the_next_append_goes_on() -> None:
    log = await failing_log("raises")

    async with Publisher(log) as publisher:
        with pytest.raises(RuntimeError, match="a mistake in the log"):
            await publisher.publish("s", {}, trigger_id="1")
        answer = await publisher.publish("s", {}, trigger_id="1")

    assert answer.status == "appended"


async def test_positions_are_right_where_others_wrote_in_between() -> None:
    log = await failing_log("scattered")

    async with Publisher(log) as publisher:
        results = await asyncio.gather(
            *(publisher.publish("s", {}, trigger_id=str(i)) for i in range(10))
        )

    records = {record.offset: decode(record.value) for record in await everything(log)}
    assert [records[answer.position.offset].data.trigger_id for answer in results] == [
        answer.trigger_id for answer in results
    ]


async def test_a_batch_keeps_its_limits_and_its_order() -> None:
    log = await failing_log()
    settings = PublisherSettings(batch_records_max=10, batch_bytes_max=3_000)
    sizes = [1, 1, 1, 1_500, 1_500, 1, 1, 2_900, 1] + [1] * 30

    async with Publisher(log, settings=settings) as publisher:
        await asyncio.gather(
            *(publisher.publish("s", "x" * n, trigger_id=str(i)) for i, n in enumerate(sizes))
        )

    records = await everything(log)
    assert [decode(record.value).data.trigger_id for record in records] == [
        str(i) for i in range(len(sizes))
    ]
    assert max(log.appends) <= 10
    position = 0
    for count in log.appends:
        batch = records[position : position + count]
        position += count
        assert count == 1 or sum(len(record.value) for record in batch) <= 3_000


async def test_callers_wait_in_line_while_there_is_no_room() -> None:
    log = await failing_log(partitions=4)
    log.gate.clear()
    settings = PublisherSettings(unsent_bytes_max=5_000)

    async with Publisher(log, settings=settings) as publisher:
        tasks = [
            asyncio.create_task(publisher.publish("s", {"n": i}, trigger_id=str(i)))
            for i in range(100)
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        unsent_bytes = publisher._outbox._unsent_bytes
        for task in tasks[50:60]:
            task.cancel()
        log.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert 4_000 < unsent_bytes <= 5_000
    assert sum(isinstance(result, Answer) for result in results) == 90
    assert publisher._outbox._unsent_bytes == 0
    assert len(await everything(log)) == 90, "who left the line appended nothing"


async def test_one_larger_than_the_room_goes_alone() -> None:
    log = await failing_log()

    async with Publisher(log, settings=PublisherSettings(unsent_bytes_max=100)) as publisher:
        answers = await asyncio.gather(
            *(publisher.publish("s", "x" * 1_000, trigger_id=str(i)) for i in range(5))
        )

    assert len(answers) == 5


async def test_closing_lets_go_who_stands_in_line() -> None:
    log = await failing_log()
    log.gate.clear()
    publisher = Publisher(log, settings=PublisherSettings(unsent_bytes_max=500))
    tasks = [asyncio.create_task(publisher.publish("s", {}, trigger_id=str(i))) for i in range(10)]
    for _ in range(5):
        await asyncio.sleep(0)

    closing = asyncio.create_task(publisher.aclose())
    await asyncio.sleep(0)
    log.gate.set()
    await closing

    results = await asyncio.gather(*tasks, return_exceptions=True)
    appended = [result for result in results if isinstance(result, Answer)]
    refused = [result for result in results if isinstance(result, PublisherClosed)]
    assert len(appended) == len(await everything(log)) > 0
    assert len(appended) + len(refused) == 10


async def test_a_caller_who_leaves_stops_nobody_else() -> None:
    log = await failing_log()
    log.gate.clear()

    async with Keeper(log), Publisher(log) as publisher:
        leaving = asyncio.create_task(publisher.publish("s", {}, trigger_id="1", wait_s=30))
        staying = asyncio.create_task(publisher.publish("s", {}, trigger_id="2", wait_s=30))
        await asyncio.sleep(0.01)
        leaving.cancel()
        log.gate.set()

        assert (await staying).status == "accepted"


async def test_many_at_full_speed_all_arrive_once_and_in_order() -> None:
    log = await failing_log(partitions=8)
    count = 5_000

    async with Publisher(log) as publisher:
        triggers = (Trigger("s", {"n": i, "text": "x" * 200}, str(i)) for i in range(count))
        answers = [answer async for answer in publisher.publish_many(triggers)]

    offsets: dict[int, list[int]] = {}
    for answer in answers:
        offsets.setdefault(answer.position.partition, []).append(answer.position.offset)
    assert len(answers) == count
    assert all(found == list(range(1, len(found) + 1)) for found in offsets.values())
    assert len(log.appends) < count / 4, "they went out in batches"
