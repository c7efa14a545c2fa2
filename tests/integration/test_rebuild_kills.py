"""A rebuild ends right, whatever is killed; and no reader notices a swap."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.envelope import Position
from meshline.events.log import Entry, EventLog, open_log
from meshline.events.log.memory import MemoryLog
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.lag import reached
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.rebuild import Rebuild, swap_when_ready
from meshline.projections.settings import ProjectorSettings
from meshline.projections.warm import WarmBuilds
from tests.integration.rebuild_process import PROJECTIONS
from tests.projections.streams import fill, write

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

KILLS = 20
SERVER_KILLS = int(os.environ.get("MESHLINE_TEST_SERVER_KILLS", "5"))
SWAPS = 50
READERS = 4
PROCESS = Path(__file__).with_name("rebuild_process.py")


async def start(address: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), address, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readline()
    return process


async def check_equal(log: EventLog, address: str, build: int = 1) -> None:
    store = PostgresStore(address, builds={p.name: build for p in PROJECTIONS})
    assert await compare_views(store, await fold_views(log, PROJECTIONS), PROJECTIONS) == []
    await store.aclose()


async def test_a_rebuild_that_is_killed_goes_on_and_ends_right(postgres_address: str) -> None:
    choose, stream = random.Random(3), write(21, 800)
    log = open_log(postgres_address)
    await log.open(create_partitions=len(stream.partitions))
    await fill(log, stream.entries)
    books = Builds(postgres_address)
    await books.open()
    kills = 0
    while kills < KILLS:
        process = await start(postgres_address)
        await asyncio.sleep(choose.uniform(0.0, 0.15))
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        kills += 1
        # One that ended before its kill begins anew, so that all kills meet a rebuild.
        statuses = await books.statuses()
        if kills < KILLS and statuses and not any(s.bulk for s in statuses):
            for s in statuses:
                await books.discard(Build(s.name, s.version, s.build))
    process = await start(postgres_address)
    assert process.stdout is not None
    await process.stdout.read()
    assert await process.wait() == 0

    assert {(s.state, s.build) for s in await books.statuses()} == {("warm", 1)}
    await check_equal(log, postgres_address)
    await books.aclose()
    await log.aclose()


async def test_a_rebuild_survives_kills_of_the_server(
    postgres_server: EmbeddedPostgres, fragile_postgres_address: str
) -> None:
    stream, log = write(22, 500), MemoryLog()
    await log.open(create_partitions=len(stream.partitions))
    await fill(log, stream.entries)
    settings = ProjectorSettings(batch_records_max=100, retry_s=0.05, retry_s_max=0.3)
    rate = max(200, len(stream.entries) // (2 * SERVER_KILLS))
    rebuild = Rebuild(
        log, fragile_postgres_address, PROJECTIONS, events_per_s_max=rate, settings=settings
    )
    kills = 0

    async def killing() -> None:
        nonlocal kills
        for _ in range(SERVER_KILLS):
            await asyncio.sleep(0.4)
            assert postgres_server.process_id is not None
            os.kill(postgres_server.process_id, signal.SIGKILL)
            kills += 1
            await asyncio.sleep(0.1)
            await asyncio.to_thread(postgres_server.start)

    task: asyncio.Task[None] | None = None
    async with asyncio.timeout(120):
        async for progress in rebuild.run():
            if task is None and progress.done:
                task = asyncio.create_task(killing())
    assert task is not None
    await task

    assert kills == SERVER_KILLS
    await check_equal(log, fragile_postgres_address)


async def read_on(address: str, stop: asyncio.Event) -> int:
    """Read through the stable names until told to stop; every answer is whole and not older."""
    parsed = parse_address(address)
    connection = await asyncpg.connect(parsed.dsn)
    latest, reads = (0, 0, 0), 0
    name = parsed.namespace
    # Two tables of one view, in one answer: of one build, they agree.
    sql = f"""
        select (select count(*) from {name}.ownership), (select sum(number) from {name}.ownership),
               (select count(distinct run_id) from {name}.ownership_periods),
               (select sum(newest) from (select max(number) as newest
                from {name}.ownership_periods group by run_id) as n),
               (select count(*) from {name}.runs)
    """
    try:
        while not stop.is_set():
            answer = await connection.fetchrow(sql)
            assert answer is not None
            owned, numbers, owned_too, numbers_too, runs = answer
            assert (owned, numbers) == (owned_too, numbers_too), "a mixed answer"
            assert (owned, numbers, runs) >= latest, "a stale answer"
            assert runs >= latest[2], "a stale answer"
            latest = (owned, numbers, runs)
            reads += 1
    finally:
        await connection.close()
    return reads


async def test_readers_see_no_failure_and_nothing_stale_while_views_are_swapped(
    postgres_address: str,
) -> None:
    stream = write(23, 600)
    log, address = MemoryLog(), postgres_address
    await log.open(create_partitions=len(stream.partitions))
    half = len(stream.entries) // 2
    await fill(log, stream.entries[:half])
    store = PostgresStore(address)
    await store.open()
    quick = ProjectorSettings(standby_poll_s=0.05, retry_s=0.05)
    projector = Projector(log, store, PROJECTIONS, quick)
    warm = WarmBuilds(log, address, store, projector.health, PROJECTIONS, quick)
    running = asyncio.create_task(projector.run())
    await reached(store, await ends(log), [p.name for p in PROJECTIONS], timeout_s=60)
    keeping = asyncio.create_task(warm.run())
    async for _ in Rebuild(log, address, PROJECTIONS).run():
        pass
    stop = asyncio.Event()
    readers = [asyncio.create_task(read_on(address, stop)) for _ in range(READERS)]
    feeding = asyncio.create_task(feed(log, stream.entries[half:]))
    books = Builds(address)
    try:
        for number in range(SWAPS):
            target = 2 - number % 2
            for projection in PROJECTIONS[:2]:
                await swap_when_ready(
                    books,
                    log,
                    Build(projection.name, projection.version, target),
                    actor="user:ada",
                    behind_max=100_000,
                    wait_s=30,
                    is_rollback=target == 1,
                )
        await feeding
        stop.set()
        reads = await asyncio.gather(*readers)
        assert all(count > SWAPS for count in reads)
        await both_at_the_end(books, log)

        for build in (1, 2):
            await check_equal(log, address, build)
    finally:
        stop.set()
        keeping.cancel()
        projector.stop()
        await asyncio.gather(running, keeping, feeding, *readers, return_exceptions=True)
        await books.aclose()
        await store.aclose()


@pytest.mark.kafka
async def test_a_rebuild_from_kafka(kafka_address: str, postgres_address: str) -> None:
    stream = write(24, 300)
    log = open_log(kafka_address)
    await log.open(create_partitions=len(stream.partitions))
    await fill(log, stream.entries)

    async for _ in Rebuild(log, postgres_address, PROJECTIONS).run():
        pass

    await check_equal(log, postgres_address)
    await log.aclose()


async def ends(log: EventLog) -> list[Position]:
    return [Position(p, end - 1) for p, end in (await log.ends()).items()]


async def feed(log: MemoryLog, entries: list[tuple[int, Entry]]) -> None:
    for first in range(0, len(entries), 20):
        await fill(log, entries[first : first + 20])
        await asyncio.sleep(0.05)


async def both_at_the_end(books: Builds, log: EventLog) -> None:
    """Wait until all builds have read all."""
    end = await log.ends()
    async with asyncio.timeout(60):
        while True:
            offsets = [
                {p: c.offset for p, c in s.checkpoints.items()} for s in await books.statuses()
            ]
            if all(each == end for each in offsets):
                return
            await asyncio.sleep(0.05)
