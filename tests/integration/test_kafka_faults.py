"""The log in Kafka when the broker is killed or frozen, and when a member is."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from meshline.events.log import Accepted, AppendResult, Entry, LogRecord, LogSettings, Unknown
from meshline.events.log.kafka import KafkaLog
from tests.services.kafka import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SETTINGS = LogSettings(
    append_deadline_s=2, open_deadline_s=15, session_timeout_s=2, heartbeat_s=0.2
)
PATIENCE_S = 40.0


@asynccontextmanager
async def opened(
    address: str, partitions: int | None = None, settings: LogSettings = SETTINGS
) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(address, settings)
    await log.open(create_partitions=partitions)
    try:
        yield log
    finally:
        await log.aclose()


async def history(log: KafkaLog, partition: int) -> list[LogRecord]:
    """All records of the partition that are there now, without its header."""
    end = (await log.ends())[partition]
    reader = log.reader({partition: 1})
    found: list[LogRecord] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < end - 1:
            found += (await reader.fetch(10_000, 1.0)).get(partition, [])
    await reader.aclose()
    return found


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # the world outside sets no event
            await asyncio.sleep(0.02)


async def append_for_good(log: KafkaLog, partition: int, value: str) -> None:
    answer: AppendResult | None = None
    async with asyncio.timeout(PATIENCE_S):
        while not isinstance(answer, Accepted):
            answer = await log.append(partition, [Entry("run", value.encode())])


async def test_what_was_accepted_is_there_once_at_its_offset_after_the_broker_was_killed(
    fragile_kafka_address: str, kafka_broker: KafkaBroker
) -> None:
    accepted: dict[int, dict[int, str]] = {0: {}, 1: {}}
    unknown: list[str] = []
    is_over = False

    async def keep_appending(log: KafkaLog, writer: int) -> None:
        number = 0
        while not is_over:
            number += 1
            values = [f"{writer}.{number}.{i}" for i in range(3)]
            answer = await log.append(
                writer % 2, [Entry("run", value.encode()) for value in values]
            )
            if isinstance(answer, Accepted):
                accepted[writer % 2].update(enumerate(values, answer.first))
            else:
                assert isinstance(answer, Unknown)
                unknown.extend(values)

    async with opened(fragile_kafka_address, 2) as log:
        writers = [asyncio.create_task(keep_appending(log, writer)) for writer in range(6)]
        for _ in range(2):
            await asyncio.sleep(0.5)
            before = sum(map(len, accepted.values()))
            kafka_broker.kill()
            await asyncio.to_thread(kafka_broker.start)
            await until(lambda: sum(map(len, accepted.values())) >= before + 300)  # noqa: B023
        is_over = True
        await asyncio.wait(writers, timeout=PATIENCE_S)
        for partition in (0, 1):
            await append_for_good(log, partition, "last")
        histories = {partition: await history(log, partition) for partition in (0, 1)}

    for partition, records in histories.items():
        at = {record.offset: record.value.decode() for record in records}
        assert accepted[partition].items() <= at.items()
        twice = [value for value, count in Counter(at.values()).items() if count > 1]
        assert twice in ([], ["last"]), "the producer's own retries made a duplicate"
        assert set(at.values()) <= {*accepted[partition].values(), *unknown, "last"}


async def test_appends_to_a_frozen_broker_are_unknown_in_time_and_land_once_at_most(
    fragile_kafka_address: str, kafka_broker: KafkaBroker
) -> None:
    loop = asyncio.get_running_loop()
    async with opened(fragile_kafka_address, 1) as log:
        kafka_broker.pause()
        started = loop.time()
        answers = await asyncio.gather(
            *(log.append(0, [Entry("run", b"%d" % i)]) for i in range(20)),
            log.append(0, [Entry("run", b"sooner")], deadline_s=0.5),
        )
        waited_s = loop.time() - started
        kafka_broker.resume()
        await append_for_good(log, 0, "after")
        values = [record.value for record in await history(log, 0)]

    assert all(isinstance(answer, Unknown) for answer in answers)
    assert SETTINGS.append_deadline_s <= waited_s < SETTINGS.append_deadline_s + 1
    assert max(Counter(values).values()) == 1
    assert values[-1] == b"after"


async def test_a_producer_that_got_no_answer_for_long_is_replaced(
    fragile_kafka_address: str, kafka_broker: KafkaBroker
) -> None:
    hasty = replace(SETTINGS, append_deadline_s=0.5)
    async with opened(fragile_kafka_address, 1, hasty) as log:
        await append_for_good(log, 0, "before")
        first = log._appender._producer
        kafka_broker.pause()
        for _ in range(5):
            assert isinstance(await log.append(0, [Entry("run", b"x")]), Unknown)
        kafka_broker.resume()
        await append_for_good(log, 0, "after")

        assert log._appender._producer is not first


async def test_a_reader_goes_on_after_the_broker_was_killed(
    fragile_kafka_address: str, kafka_broker: KafkaBroker
) -> None:
    async with opened(fragile_kafka_address, 1) as log:
        reader = log.reader({0: 0})
        seen: list[LogRecord] = []
        await append_for_good(log, 0, "before")
        for _ in range(2):
            kafka_broker.kill()
            await reader.fetch(10, 0.5)
            await asyncio.to_thread(kafka_broker.start)
        await append_for_good(log, 0, "after")
        reader.add(0, 0)
        async with asyncio.timeout(PATIENCE_S):
            while not seen or seen[-1].value != b"after":
                seen += (await reader.fetch(10, 1.0)).get(0, [])

    assert [record.offset for record in seen] == list(range(len(seen)))


async def test_leaving_hands_over_within_a_heartbeat(kafka_address: str) -> None:
    async with opened(kafka_address, 4) as log:
        one, two = log.membership("keepers", "one"), log.membership("keepers", "two")
        await one.start()
        async with asyncio.timeout(PATIENCE_S):
            everything = await one.changed(frozenset())
            await two.start()
            await until(lambda: len(one.assigned) == len(two.assigned) == 2)
            shared = one.assigned | two.assigned
            left_at = asyncio.get_running_loop().time()
            await one.aclose()
            while two.assigned != everything:
                await two.changed(two.assigned)
            took_s = asyncio.get_running_loop().time() - left_at
        after = one.assigned
        await two.aclose()

    assert everything == shared == frozenset(range(4))
    assert after == frozenset()
    assert took_s < SETTINGS.session_timeout_s / 2


async def test_a_membership_lives_on_after_the_broker_was_killed(
    fragile_kafka_address: str, kafka_broker: KafkaBroker
) -> None:
    async with opened(fragile_kafka_address, 2) as log:
        one = log.membership("keepers", "one")
        await one.start()
        async with asyncio.timeout(PATIENCE_S):
            await one.changed(frozenset())
            kafka_broker.kill()
            await asyncio.to_thread(kafka_broker.start)
            two = log.membership("keepers", "two")
            await two.start()
            await until(lambda: len(one.assigned) == len(two.assigned) == 1)

        assert one.assigned | two.assigned == {0, 1}
        await one.aclose()
        await two.aclose()


MEMBER = """
import asyncio, sys
from meshline.events.log import Entry
from tests.integration.test_kafka_faults import opened

async def main():
    async with opened(sys.argv[1]) as log:
        membership = log.membership("keepers", "frozen")
        await membership.start()
        await membership.changed(frozenset())
        print("has", *sorted(membership.assigned), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(type(await log.append(0, [Entry("run", b"from a ghost")])).__name__, flush=True)
        await membership.aclose()

asyncio.run(main())
"""


async def test_a_frozen_member_loses_its_partitions_and_can_append_all_the_same(
    kafka_address: str,
) -> None:
    async with opened(kafka_address, 2) as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MEMBER, kafka_address),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        stdin, stdout = _pipes(process)
        async with asyncio.timeout(PATIENCE_S):
            has = await stdout.readline()
            process.send_signal(signal.SIGSTOP)
            successor = log.membership("keepers", "successor")
            await successor.start()
            while len(successor.assigned) < 2:
                await successor.changed(successor.assigned)
            process.send_signal(signal.SIGCONT)
            stdin.write(b"\n")
            answer = await stdout.readline()
            await process.wait()
        await successor.aclose()
        [ghost] = await history(log, 0)

    assert has == b"has 0 1\n"
    # Membership does not fence: only the epoch in the log makes the ghost's record void.
    assert answer == b"Accepted\n"
    assert ghost.value == b"from a ghost"


def _pipes(process: asyncio.subprocess.Process) -> tuple[Any, Any]:
    return process.stdin, process.stdout
