"""Rows and checkpoint never differ: projectors and PostgreSQL killed while events come in.

`make test` kills a few, `make soak` fifty: MESHLINE_SOAK_PROJECTOR_KILLS says how many.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.envelope import Position
from meshline.events.log import Accepted, Entry, EventLog, open_log
from meshline.events.log.memory import MemoryLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import StoreUnavailable
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.lag import reached
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.settings import ProjectorSettings
from tests.projections.streams import write

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

KILLS = int(os.environ.get("MESHLINE_SOAK_PROJECTOR_KILLS", "6"))
NAMES = [projection.name for projection in BUILT_IN]
PROCESS = Path(__file__).with_name("projector_process.py")


async def start(log: str, views: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), log, views, stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    async with asyncio.timeout(90):
        assert (await process.stdout.readline()).strip() == b"ready"
    return process


async def kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@asynccontextmanager
async def opened(
    address: str, partitions: int, views: str
) -> AsyncIterator[tuple[EventLog, PostgresStore]]:
    log, store = open_log(address), PostgresStore(views)
    await log.open(create_partitions=partitions)
    await store.open()
    try:
        yield log, store
    finally:
        await store.aclose()
        await log.aclose()


async def append(log: EventLog, entries: list[tuple[int, Entry]]) -> None:
    """Append in order, each partition's share at once; an append without an answer fails."""
    waiting: dict[int, list[Entry]] = {}
    for partition, entry in entries:
        waiting.setdefault(partition, []).append(entry)
    for result in (await log.append_by_partition(waiting)).values():
        assert isinstance(result, Accepted), result


async def publish(log: EventLog, entries: list[tuple[int, Entry]], over_s: float) -> None:
    """Append the entries in small portions, over a while."""
    portions = [entries[first : first + 25] for first in range(0, len(entries), 25)]
    for portion in portions:
        await append(log, portion)
        await asyncio.sleep(over_s / len(portions))


async def ends(log: EventLog) -> list[Position]:
    return [Position(p, end - 1) for p, end in (await log.ends()).items()]


async def all_reached(store: PostgresStore, log: EventLog) -> None:
    await reached(store, await ends(log), NAMES, timeout_s=60)


async def test_projectors_are_killed_while_events_come_in(postgres_address: str) -> None:
    choose, where = random.Random(1), postgres_address
    stream = write(11, 45 * KILLS)
    async with opened(where, len(stream.partitions), where) as (log, store):
        publishing = asyncio.create_task(publish(log, stream.entries, over_s=KILLS * 0.9))
        processes = [await start(where, where), await start(where, where)]
        for number in range(KILLS):
            await asyncio.sleep(choose.uniform(0.0, 0.5))
            await kill(processes[number % 2])
            processes[number % 2] = await start(where, where)
            checkpoints = await store.live_checkpoints(NAMES)
            assert len(checkpoints) == len(NAMES)
        await publishing
        await all_reached(store, log)
        for process in processes:
            await kill(process)

        assert await compare_views(store, await fold_views(log)) == []
        assert [await store.parked(projection) for projection in BUILT_IN] == [[]] * len(BUILT_IN)


@pytest.mark.kafka
async def test_rows_are_right_at_every_moment_that_a_projector_dies(
    kafka_address: str, postgres_address: str
) -> None:
    choose, stream = random.Random(2), write(12, 40 * KILLS)
    seen: list[int] = []
    async with opened(kafka_address, len(stream.partitions), postgres_address) as (log, store):
        publishing = asyncio.create_task(publish(log, stream.entries, over_s=KILLS * 2.0))
        for number in range(KILLS):
            process = await start(kafka_address, postgres_address)
            if number % 3:
                await moved(store)
            await asyncio.sleep(choose.uniform(0.0, 0.3))
            await kill(process)
            seen.append(await check_at_checkpoints(log, store))
        await publishing
        process = await start(kafka_address, postgres_address)
        await all_reached(store, log)
        await kill(process)

        assert await check_at_checkpoints(log, store) == sum((await log.ends()).values())
    print(f"{KILLS} kills, events in the views at each: {seen}")
    assert seen == sorted(seen) and len({*seen}) > KILLS // 2, "most must meet one at work"


async def events_in(store: PostgresStore) -> int:
    """How many events the view has that is furthest behind."""
    live = await store.live_checkpoints(NAMES)
    return min((sum(offsets.values()) for offsets in live.values()), default=0)


async def moved(store: PostgresStore) -> None:
    """Wait until the views are further than now."""
    before = await events_in(store)
    async with asyncio.timeout(90):
        while await events_in(store) == before:  # noqa: ASYNC110 - another process moves them
            await asyncio.sleep(0.01)


async def check_at_checkpoints(log: EventLog, store: PostgresStore) -> int:
    """See that the rows are a fold of as much of the log as the checkpoints say, and return that.

    No projector runs meanwhile.
    """
    by_offsets: dict[tuple[tuple[int, int], ...], list[str]] = {}
    for status in await store.status():
        offsets = tuple(sorted((p, c.offset) for p, c in status.checkpoints.items()))
        by_offsets.setdefault(offsets, []).append(status.name)
    for offsets, names in by_offsets.items():
        mine = [p for p in BUILT_IN if p.name in names]
        scratch = await fold_views(log, mine, until=dict(offsets))
        assert await compare_views(store, scratch, mine) == []
        assert [await store.parked(projection) for projection in mine] == [[]] * len(mine)
    return await events_in(store)


async def test_the_books_are_there_when_the_server_dies_as_soon_as_they_are_made(
    postgres_server: EmbeddedPostgres, fragile_postgres_address: str
) -> None:
    store = PostgresStore(fragile_postgres_address)
    await store.open()
    assert postgres_server.process_id is not None
    os.kill(postgres_server.process_id, signal.SIGKILL)
    await asyncio.to_thread(postgres_server.start)
    await store.aclose()

    again = PostgresStore(fragile_postgres_address)
    assert await again.status() == []
    await again.aclose()


async def test_a_server_that_is_killed_and_comes_back_is_caught_up_with(
    postgres_server: EmbeddedPostgres, fragile_postgres_address: str
) -> None:
    log = MemoryLog()
    stream = write(13, 300)
    await log.open(create_partitions=len(stream.partitions))
    store = PostgresStore(fragile_postgres_address)
    await store.open()
    settings = ProjectorSettings(batch_records_max=50, retry_s=0.05, retry_s_max=0.5)
    projector = Projector(log, store, settings=settings)
    task = asyncio.create_task(projector.run())
    portions = [stream.entries[n : n + 400] for n in range(0, len(stream.entries), 400)]
    try:
        for number, portion in enumerate(portions):
            publishing = asyncio.create_task(publish(log, portion, over_s=0.3))
            if number < 4:
                await asyncio.sleep(0.15)
                assert postgres_server.process_id is not None
                os.kill(postgres_server.process_id, signal.SIGKILL)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(postgres_server.start)
            await publishing
        async with asyncio.timeout(90):
            while True:
                try:
                    await all_reached(store, log)
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)

        assert await compare_views(store, await fold_views(log)) == []
    finally:
        projector.stop()
        await task
        await store.aclose()
