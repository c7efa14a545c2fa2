"""Publishing: the answers, their order, and the way from a payload to a record."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from meshline.events import Answer, Publisher, PublisherSettings, Trigger
from meshline.events.clock import ManualClock
from meshline.events.codec import decode
from meshline.events.envelope import Actor, Event, Position
from meshline.events.errors import PayloadRefused, PublisherClosed
from meshline.events.ids import partition_of, run_id_of
from meshline.events.log import LogRecord, open_log
from meshline.events.requests import (
    ActivityReported,
    CancelRequested,
    MessageReceived,
    ParkedActionRequested,
    TriggerReceived,
)
from tests.events.publish.doubles import NOW, Keeper, everything, memory_log


def decoded(record: LogRecord) -> Event[Any]:
    return decode(record.value)


ADA = Actor("user", "user:ada")


async def test_a_trigger_is_appended_once_the_log_has_it() -> None:
    log = await memory_log()

    async with Publisher(log, actor=ADA, clock=ManualClock()) as publisher:
        answer = await publisher.publish("web.forms", {"a": 1}, trigger_id="7", trigger_type="form")

    [record] = await everything(log)
    event = decode(record.value)
    run_id = run_id_of("web.forms", "7")
    partition = partition_of(run_id, 4)
    assert answer == Answer("appended", "web.forms", "7", run_id, Position(partition, 1))
    assert (record.partition, record.offset, record.key) == (partition, 1, run_id)
    assert (event.subject, event.source, event.actor) == (run_id, "web.forms", ADA)
    assert (event.time, event.recorded_at, event.epoch) == (NOW, NOW, None)
    assert event.data == TriggerReceived(
        source="web.forms", trigger_id="7", trigger_type="form", payload={"a": 1}
    )


async def test_what_the_caller_says_of_a_trigger_stands_in_the_envelope() -> None:
    log = await memory_log()
    earlier = datetime(2020, 2, 3, 4, 5, tzinfo=UTC)
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"

    async with Publisher(log, actor=Actor("system", "x"), clock=ManualClock()) as publisher:
        await publisher.publish(
            "a b/ü",
            {},
            trigger_id="7",
            time=earlier,
            correlation_id="order-9",
            traceparent=traceparent,
            actor=ADA,
        )
        await publisher.publish("s", {}, trigger_id="8", traceparent="nonsense")

    events = {event.data.trigger_id: event for event in map(decoded, await everything(log))}
    first, second = events["7"], events["8"]
    assert (first.time, first.recorded_at) == (earlier, NOW)
    assert (first.correlation_id, first.traceparent, first.actor) == ("order-9", traceparent, ADA)
    assert first.source == "a%20b/%C3%BC", "a CloudEvents source is a URI reference"
    assert first.data.source == "a b/ü"
    assert second.traceparent is None


async def test_the_keepers_decision_is_the_answer() -> None:
    log = await memory_log()

    async with Keeper(log), Publisher(log) as publisher:
        accepted = await publisher.publish("s", {}, trigger_id="1", wait_s=30)
        repeated = await publisher.publish("s", {}, trigger_id="1", wait_s=30)
        rejected = await publisher.publish("s", {"invalid": 1}, trigger_id="2", wait_s=30)

    assert [accepted.status, repeated.status, rejected.status] == [
        "accepted",
        "repeated",
        "rejected",
    ]
    assert accepted.run_id == repeated.run_id == run_id_of("s", "1")
    assert accepted.position != repeated.position
    assert (rejected.code, rejected.reason) == ("invalid", "No.")


async def test_without_a_keeper_the_answer_is_appended_after_the_wait() -> None:
    log = await memory_log()

    async with Publisher(log) as publisher:
        answer = await publisher.publish("s", {}, trigger_id="1", wait_s=0.01)
        none = await publisher.publish("s", {}, trigger_id="1", wait_s=0)

    assert (answer.status, none.status) == ("appended", "appended")


async def test_a_payload_that_does_not_pass_is_kept_and_rejected_at_once() -> None:
    log = await memory_log()
    raw = b'{"name": "\xff"}'

    async with Publisher(log) as publisher:
        answer = await publisher.publish_raw("s", raw, trigger_id="1", wait_s=60)

    [record] = await everything(log)
    unreadable = decode(record.value).data.unreadable
    assert (answer.status, answer.code, answer.run_id) == (
        "rejected",
        "unreadable",
        run_id_of("s", "1"),
    )
    assert "UTF-8" in answer.reason
    assert unreadable.reason == "not_utf8"
    assert base64.b64decode(unreadable.raw_base64) == raw


async def test_many_are_answered_in_the_order_they_were_given() -> None:
    log = await memory_log()
    triggers = [Trigger("s", {"invalid": 1} if i % 3 == 0 else {}, str(i)) for i in range(500)]
    progress: list[int] = []

    async with Keeper(log), Publisher(log, settings=PublisherSettings(window_max=50)) as publisher:
        answers = [
            answer
            async for answer in publisher.publish_many(
                triggers, wait_s=30, progress=progress.append
            )
        ]

    assert [answer.trigger_id for answer in answers] == [trigger.trigger_id for trigger in triggers]
    assert [answer.status for answer in answers] == [
        "rejected" if i % 3 == 0 else "accepted" for i in range(500)
    ]
    assert progress == list(range(1, 501))


async def test_many_may_come_asynchronously_and_the_reader_may_leave() -> None:
    log = await memory_log()

    async def endless() -> AsyncIterator[Trigger]:
        number = 0
        while True:
            number += 1
            yield Trigger("s", {}, str(number))

    async with Publisher(log, settings=PublisherSettings(window_max=10)) as publisher:
        answers = publisher.publish_many(endless())
        first = [await anext(answers) for _ in range(25)]
        await answers.aclose()  # type: ignore[attr-defined]

    assert [answer.trigger_id for answer in first] == [str(i) for i in range(1, 26)]
    assert len(await everything(log)) < 40, "no more than a window ahead of its reader"


async def test_what_is_published_together_goes_out_together() -> None:
    log = await memory_log(partitions=1)
    appends: list[int] = []
    append = log.append

    async def counted(partition: int, entries, **rest):  # type: ignore[no-untyped-def]
        appends.append(len(entries))
        return await append(partition, entries, **rest)

    log.append = counted  # type: ignore[method-assign]

    async with Publisher(log) as publisher:
        await asyncio.gather(*(publisher.publish("s", {}, trigger_id=str(i)) for i in range(1_000)))

    assert sum(appends) == 1_000
    assert len(appends) <= 4


async def test_a_request_is_answered_too() -> None:
    log = await memory_log()

    async with Keeper(log), Publisher(log) as publisher:
        run_id = (await publisher.publish("s", {}, trigger_id="1")).run_id
        done = await publisher.request(run_id, CancelRequested(reason="x"), actor=ADA, wait_s=30)
        refused = await publisher.request(run_id, CancelRequested(), actor=ADA, wait_s=30)
        only_appended = await publisher.request(run_id, CancelRequested(), actor=ADA)

    assert (done.status, refused.status) == ("accepted", "rejected")
    assert (refused.code, refused.reason) == ("no_reason", "Say why.")
    assert only_appended.status == "appended"
    assert only_appended.position.partition == partition_of(run_id, 4)


async def test_a_request_may_bring_its_own_id_to_be_known_by_when_it_comes_again() -> None:
    log = await memory_log(1)
    report = ActivityReported(activity="a")

    async with Publisher(log) as publisher:
        first, second, other = await asyncio.gather(
            publisher.request("r", report, actor=ADA, event_id="r-1"),
            publisher.request("r", report, actor=ADA, event_id="r-1"),
            publisher.request("r", report, actor=ADA),
        )

    ids = [decode(record.value).id for record in await everything(log)]
    assert ids[:2] == ["r-1", "r-1"]
    assert ids[2] != "r-1"
    assert [answer.position.offset for answer in (first, second, other)] == [1, 2, 3]


@pytest.mark.parametrize("event_id", ["", " x", "x" * 257])
async def test_an_id_that_can_be_no_key_is_refused(event_id: str) -> None:
    async with Publisher(await memory_log()) as publisher:
        with pytest.raises(PayloadRefused):
            await publisher.request("r", CancelRequested(), actor=ADA, event_id=event_id)


@pytest.mark.parametrize(
    ("run_id", "data", "reason"),
    [
        ("r", MessageReceived(name="m", payload={"a": "\x00"}), "nul_character"),
        ("r", CancelRequested(reason="\x00"), "nul_character"),
        ("r", MessageReceived(name="m", payload=float("inf")), "number_out_of_range"),
        ("r\n", CancelRequested(), "bad_identifier"),
    ],
)
async def test_a_request_that_does_not_pass_the_gate_is_the_callers_error(
    run_id: str, data: CancelRequested, reason: str
) -> None:
    log = await memory_log()

    async with Publisher(log) as publisher:
        with pytest.raises(PayloadRefused) as refusal:
            await publisher.request(run_id, data, actor=ADA)

    assert refusal.value.reason == reason
    assert await everything(log) == []


async def test_a_closed_publisher_appends_nothing() -> None:
    log = await memory_log()
    async with Publisher(log) as publisher:
        pass

    with pytest.raises(PublisherClosed):
        await publisher.publish("s", {}, trigger_id="1")
    with pytest.raises(PublisherClosed):
        await publisher.publish("s", {}, trigger_id="1", wait_s=1)

    assert await everything(log) == []


async def test_closing_appends_what_was_published_and_lets_who_waits_go() -> None:
    log = await memory_log()
    publisher = Publisher(log)
    waiting = [
        asyncio.create_task(publisher.publish("s", {}, trigger_id=str(i), wait_s=60))
        for i in range(20)
    ]
    await asyncio.sleep(0)

    await publisher.aclose()

    answers = await asyncio.gather(*waiting)
    assert {answer.status for answer in answers} == {"appended"}
    assert len(await everything(log)) == 20


async def test_an_address_is_opened_and_closed() -> None:
    log = open_log("memory://test-publisher")
    await log.open(create_partitions=2)

    async with Publisher("memory://test-publisher") as publisher:
        answer = await publisher.publish("s", {}, trigger_id="1")

    assert answer.status == "appended"
    assert (await log.ends())[answer.position.partition] == 2


async def test_a_request_about_a_record_goes_to_its_partition_whosever_it_is() -> None:
    log = await memory_log()
    wish = ParkedActionRequested(view="runs", partition=3, offset=0, action="retry")

    async with Publisher(log) as publisher:
        for subject in ("", "workflow:orders", run_id_of("s", "1")):
            answer = await publisher.request(subject, wish, actor=ADA, partition=3)
            assert answer.position.partition == 3
        with pytest.raises(PayloadRefused):
            await publisher.request("", wish, actor=ADA)
