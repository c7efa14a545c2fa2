"""The log in PostgreSQL where it hurts: killed writers, a killed server, tables that were changed.

What every log does is in tests/events/log/test_protocol_conformance.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.errors import (
    LogIdentityChanged,
    LogUnavailable,
    PositionLost,
    SettingsInvalid,
)
from meshline.events.log import Accepted, AppendResult, Entry, LogRecord, LogSettings, Unknown
from meshline.events.log.postgres import PostgresLog
from meshline.events.log.postgres_link import parse
from meshline.events.log.protocol import LogReader, Refused

pytestmark = pytest.mark.postgres

SETTINGS = LogSettings(
    append_deadline_s=30, open_deadline_s=30, heartbeat_s=0.2, session_timeout_s=2
)
PATIENCE_S = 30.0

OpenLog = Callable[..., Awaitable[PostgresLog]]

# Appends with eight tasks until it is killed, and tells what was accepted.
WRITER = """
import asyncio, itertools, sys
from meshline.events.log import Accepted, Entry, open_log

async def main(address, name):
    log = open_log(address)
    await log.open()
    numbers = itertools.count()
    async def write():
        while True:
            number = next(numbers)
            values = [f"{name}.{number}.{place}".encode() for place in range(number % 4 + 1)]
            answer = await log.append(number % 2, [Entry("run", value) for value in values])
            if isinstance(answer, Accepted):
                print(number, answer.first, flush=True)
    await asyncio.gather(*(write() for _ in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def opener(address: str) -> AsyncIterator[OpenLog]:
    opened: list[PostgresLog] = []

    async def open_one(
        partitions: int | None = None, settings: LogSettings = SETTINGS
    ) -> PostgresLog:
        log = PostgresLog(address, settings)
        await log.open(create_partitions=partitions)
        opened.append(log)
        return log

    yield open_one
    for log in opened:
        await log.aclose()


@pytest.fixture
async def open_log(postgres_address: str) -> AsyncIterator[OpenLog]:
    async with opener(postgres_address) as open_one:
        yield open_one


@pytest.fixture
async def open_fragile_log(fragile_postgres_address: str) -> AsyncIterator[OpenLog]:
    async with opener(fragile_postgres_address) as open_one:
        yield open_one


@asynccontextmanager
async def writer(address: str, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, address, name, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(process: asyncio.subprocess.Process, lines: int | None) -> list[tuple[int, int]]:
    """Return (number, first offset) of so many accepted appends; None: to the end."""
    assert process.stdout is not None
    found: list[tuple[int, int]] = []
    async with asyncio.timeout(PATIENCE_S):
        while (lines is None or len(found) < lines) and (line := await process.stdout.readline()):
            # The last line of a process that was killed may be cut off.
            if line.endswith(b"\n"):
                number, _, first = line.decode().partition(" ")
                found.append((int(number), int(first)))
    return found


@asynccontextmanager
async def tables(address: str) -> AsyncIterator[tuple[str, asyncpg.Connection[asyncpg.Record]]]:
    """The schema's name and a connection, to do harm with."""
    parsed = parse(address)
    connection = await asyncpg.connect(parsed.dsn)
    try:
        yield parsed.schema, connection
    finally:
        await connection.close()


async def read_to_end(log: PostgresLog) -> dict[tuple[int, int], str]:
    """Return all that was appended by position; there is no gap, or the test fails."""
    ends = await log.ends()
    reader = log.reader(dict.fromkeys(ends, 1))
    found: dict[tuple[int, int], str] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < sum(ends.values()) - len(ends):
            for records in (await reader.fetch(1_000, 1.0)).values():
                found |= {
                    (record.partition, record.offset): record.value.decode() for record in records
                }
    assert set(found) == {(p, offset) for p, end in ends.items() for offset in range(1, end)}
    return found


async def read(reader: LogReader, count: int) -> list[LogRecord]:
    found: list[LogRecord] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            for records in (await reader.fetch(1_000, 1.0)).values():
                found += records
    return found


async def failure_of(reader: LogReader) -> Exception:
    """Fetch until the reader raises, and return what."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await reader.fetch(100, 0.2)
            except (LogIdentityChanged, PositionLost) as error:
                return error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def entries(*values: str) -> list[Entry]:
    return [Entry("run", value.encode()) for value in values]


# --- writers that are killed or stopped ----------------------------------------------------------


async def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_leaves_no_gap(
    open_log: OpenLog, postgres_address: str
) -> None:
    log = await open_log(2)
    accepted: dict[str, list[tuple[int, int]]] = {}

    async with writer(postgres_address, "a") as a, writer(postgres_address, "b") as b:
        accepted["a"] = await told(a, 100)
        a.kill()
        accepted["a"] += await told(a, None)
        accepted["b"] = await told(b, 200)
        b.kill()
        accepted["b"] += await told(b, None)
    found = await read_to_end(log)

    for name, appends in accepted.items():
        for number, first in appends:
            for place in range(number % 4 + 1):
                assert found[number % 2, first + place] == f"{name}.{number}.{place}"
    assert len(set(found.values())) == len(found)
    # Of what wasn't acknowledged, all of a batch is there or none of it.
    for text in found.values():
        batch, _, _ = text.rpartition(".")
        whole = {f"{batch}.{place}" for place in range(int(batch.partition(".")[2]) % 4 + 1)}
        assert whole <= set(found.values())


async def test_a_writer_that_stands_still_holds_nobody_up(
    open_log: OpenLog, postgres_address: str
) -> None:
    log = await open_log(2)

    async with writer(postgres_address, "a") as process:
        for _ in range(10):
            await told(process, 20)
            process.send_signal(signal.SIGSTOP)
            answers = await log.append_by_partition({p: entries("x") for p in (0, 1)}, deadline_s=2)
            assert all(isinstance(answer, Accepted) for answer in answers.values())
            process.send_signal(signal.SIGCONT)


# --- a server that is killed ---------------------------------------------------------------------


def kill(server: EmbeddedPostgres) -> None:
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGKILL)


async def test_a_killed_server_loses_nothing_acknowledged_and_readers_go_on(
    open_fragile_log: OpenLog, postgres_server: EmbeddedPostgres
) -> None:
    log = await open_fragile_log(2)
    reader = log.reader({0: 1, 1: 1})
    answers: dict[str, tuple[int, AppendResult]] = {}
    seen: list[LogRecord] = []
    stop = asyncio.Event()

    async def write(task: int) -> None:
        number = 0
        while not stop.is_set():
            text, partition = f"{task}.{number}", number % 2
            answers[text] = partition, await log.append(partition, entries(text))
            number += 1

    async def keep_reading() -> None:
        while True:
            for records in (await reader.fetch(100, 0.5)).values():
                seen.extend(records)

    async def until_more() -> None:
        enough = len(answers) + 100
        await until(lambda: len(answers) >= enough)

    writing = asyncio.gather(*(write(task) for task in range(6)))
    reading = asyncio.create_task(keep_reading())
    for _ in range(3):
        await until_more()
        kill(postgres_server)
        await asyncio.to_thread(postgres_server.start)
    await until_more()
    stop.set()
    await writing
    total = sum((await log.ends()).values()) - 2
    await until(lambda: len(seen) >= total)
    reading.cancel()
    await asyncio.wait([reading])
    found = await read_to_end(log)

    unknown = [text for text, (_, answer) in answers.items() if isinstance(answer, Unknown)]
    for text, (partition, answer) in answers.items():
        if isinstance(answer, Accepted):
            assert found[partition, answer.first] == text
    assert len(unknown) + sum(isinstance(a, Accepted) for _, a in answers.values()) == len(answers)
    # Each kill hits at most the one group under way; all else waits and is accepted.
    assert len(unknown) <= 3 * 6
    assert len(set(found.values())) == len(found)
    assert {(r.partition, r.offset): r.value.decode() for r in seen} == found
    for partition in (0, 1):
        offsets = [record.offset for record in seen if record.partition == partition]
        assert offsets == sorted(set(offsets))


async def test_a_log_is_there_after_a_kill_right_after_its_creation(
    open_fragile_log: OpenLog, postgres_server: EmbeddedPostgres
) -> None:
    log = await open_fragile_log(3)

    kill(postgres_server)
    await asyncio.to_thread(postgres_server.start)

    again = await open_fragile_log()
    assert again.identity == log.identity
    assert await again.ends() == {0: 1, 1: 1, 2: 1}


async def test_without_a_server_an_append_is_unknown_after_its_deadline_and_later_ones_go_well(
    open_fragile_log: OpenLog, postgres_server: EmbeddedPostgres
) -> None:
    log = await open_fragile_log(1)
    reader = log.reader({0: 1})
    loop = asyncio.get_running_loop()
    kill(postgres_server)
    await asyncio.sleep(0.2)
    started = loop.time()

    late = await log.append(0, entries("late"), deadline_s=0.3)
    nothing = await reader.fetch(10, 0.1)
    waited_s = loop.time() - started
    waiting = asyncio.create_task(log.append(0, entries("patient"), deadline_s=PATIENCE_S))
    await asyncio.to_thread(postgres_server.start)

    assert isinstance(late, Unknown)
    assert nothing == {}
    assert waited_s < PATIENCE_S / 2
    assert isinstance(await waiting, Accepted)
    assert [record.value for record in await read(reader, 1)] == [b"patient"]


async def test_membership_outlives_a_restart_of_the_server(
    open_fragile_log: OpenLog, postgres_server: EmbeddedPostgres
) -> None:
    silence_s = 6.0
    log = await open_fragile_log(4, replace(SETTINGS, session_timeout_s=silence_s))
    one, other = log.membership("workers", "one"), log.membership("workers", "other")
    await one.start()
    await other.start()
    await until(lambda: len(one.assigned) == len(other.assigned) == 2)
    before = one.assigned, other.assigned

    kill(postgres_server)
    # Longer than the time after which a silent member is dead.
    await asyncio.sleep(silence_s + 0.5)
    await asyncio.to_thread(postgres_server.start)
    moved = asyncio.create_task(one.changed(one.assigned))
    await asyncio.sleep(2.0)
    after = one.assigned, other.assigned
    was_moved = moved.done()
    moved.cancel()
    await other.aclose()
    await until(lambda: one.assigned == frozenset(range(4)))
    await one.aclose()

    assert not was_moved
    assert after == before
    assert not before[0] & before[1]


# --- a history that was changed ------------------------------------------------------------------


async def test_a_log_that_was_made_again_is_noticed_and_takes_no_appends_of_the_old_one(
    open_log: OpenLog, postgres_address: str
) -> None:
    log = await open_log(1)
    await log.append(0, entries("a", "b"))
    reader = log.reader({0: 1})
    await read(reader, 2)

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    again = await open_log(1)
    await again.append(0, entries("c", "d", "e", "f"))
    refused = await log.append(0, entries("late"))
    error = await failure_of(reader)

    assert isinstance(error, LogIdentityChanged)
    assert again.identity.log_id in str(error)
    assert log.identity.log_id in str(error)
    assert isinstance(refused, Refused)
    assert await again.ends() == {0: 5}


async def test_a_dropped_log_is_noticed(open_log: OpenLog, postgres_address: str) -> None:
    log = await open_log(1)
    reader = log.reader({0: 1})
    await reader.fetch(1, 0.1)

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    error = await failure_of(reader)

    assert isinstance(error, LogIdentityChanged)
    assert "is gone" in str(error)
    assert isinstance(await log.append(0, entries("late")), Refused)


async def test_a_log_that_was_cut_off_is_noticed(open_log: OpenLog, postgres_address: str) -> None:
    log = await open_log(1)
    await log.append(0, entries("a", "b", "c"))
    reader = log.reader({0: 1})
    await read(reader, 3)

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(f'DELETE FROM {schema}.records WHERE "offset" > 1')
    error = await failure_of(reader)

    assert isinstance(error, PositionLost)
    assert "ends at 2" in str(error)


async def test_records_deleted_before_they_were_read_are_noticed(
    open_log: OpenLog, postgres_address: str
) -> None:
    log = await open_log(1)
    await log.append(0, entries("a", "b", "c", "d"))
    reader = log.reader({0: 1})

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(f'DELETE FROM {schema}.records WHERE "offset" IN (2, 3)')
    first = await read(reader, 1)
    error = await failure_of(reader)

    assert [record.value for record in first] == [b"a"]
    assert isinstance(error, PositionLost)
    assert "no record 2" in str(error)


async def test_a_deleted_beginning_is_noticed_at_opening(
    open_log: OpenLog, postgres_address: str
) -> None:
    await open_log(2)

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(f"DELETE FROM {schema}.records WHERE partition = 1")

    with pytest.raises(LogIdentityChanged, match="restore a backup"):
        await open_log()


# --- the rest ------------------------------------------------------------------------------------


async def test_lost_notifications_lose_no_records(open_log: OpenLog, postgres_address: str) -> None:
    log = await open_log(1)
    reader = log.reader({0: 1})
    waiting = asyncio.create_task(reader.fetch(10, PATIENCE_S))
    await asyncio.sleep(0.2)

    async with tables(postgres_address) as (schema, connection):
        await connection.execute(
            f"SELECT {schema}.append($1, '{{0}}', '{{0}}', '{{0}}', '{{run}}', '{{x}}')",
            log.identity.log_id,
        )
    async with asyncio.timeout(90):
        found = await waiting

    assert [record.value for record in found[0]] == [b"x"]


async def test_one_fetch_is_bounded_in_bytes(open_log: OpenLog) -> None:
    log = await open_log(2)
    large = [Entry("run", b"x" * 500_000)] * 10
    for partition in (0, 1):
        for _ in range(2):
            await log.append(partition, large)
    reader = log.reader({0: 1, 1: 1})

    sizes: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        while sum(sizes) < 40:
            found = await reader.fetch(1_000, 1.0)
            sizes.append(sum(len(records) for records in found.values()))

    assert max(sizes) <= 17


async def test_nobody_at_the_address_is_said_within_the_deadline() -> None:
    log = PostgresLog(
        "postgresql://ada:secret@127.0.0.1:1/x", replace(SETTINGS, open_deadline_s=0.3)
    )

    with pytest.raises(LogUnavailable, match=r"ada@127\.0\.0\.1:1/x.*within 0\.3 s") as caught:
        async with asyncio.timeout(90):
            await log.open()

    assert "secret" not in str(caught.value)
    await log.aclose()


async def test_a_server_that_does_not_let_us_in_is_said_at_once(postgres_dsn: str) -> None:
    log = PostgresLog(postgres_dsn.replace("/postgres", "/no_such_database"), SETTINGS)

    with pytest.raises(LogUnavailable, match="no_such_database"):
        async with asyncio.timeout(2):
            await log.open()

    await log.aclose()


@pytest.mark.parametrize("namespace", ["", "Upper", "a-b", "1a", 'a";drop', "a" * 41])
def test_a_namespace_that_is_no_name_is_refused(namespace: str) -> None:
    with pytest.raises(SettingsInvalid, match="meshline_namespace"):
        PostgresLog(f"postgresql://localhost/x?meshline_namespace={namespace}")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ada:pw@h:1/d", "postgresql://ada@h:1/d"),
        ("postgresql://ada:p%40w@h:1,i:2/d?x=1", "postgresql://ada@h:1,i:2/d?x=1"),
        ("postgresql:///d?host=%2Ftmp%2Fx&password=pw", "postgresql:///d?host=/tmp/x"),
        ("postgresql://h/d?meshline_namespace=n", "postgresql://h/d?meshline_namespace=n"),
    ],
)
def test_the_address_is_shown_without_secrets(address: str, shown: str) -> None:
    assert PostgresLog(address).address == shown
