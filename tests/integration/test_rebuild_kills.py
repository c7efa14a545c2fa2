"""A rebuild ends right, whatever is killed; and no reader notices a swap.

`make test` kills each a few times, `make soak` twenty: MESHLINE_SOAK_REBUILD_KILLS says how often.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from deploy.kafka.broker import KafkaBroker

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

SLOW = 100
"""Events per second: so that the log is not at its end before the kills are."""

PATIENCE_S = 90.0
KILLS = int(os.environ.get("MESHLINE_SOAK_REBUILD_KILLS", "3"))
SWAPS = 50
READERS = 4
PROCESS = Path(__file__).with_name("rebuild_process.py")


async def start(address: str) -> Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), address, address, "0", stdout=PIPE, stderr=DEVNULL
    )
    assert process.stdout is not None
    async with asyncio.timeout(90):
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
    rate = max(200, len(stream.entries) // (2 * KILLS))
    rebuild = Rebuild(
        log, fragile_postgres_address, PROJECTIONS, events_per_s_max=rate, settings=settings
    )
    kills = 0

    async def killing() -> None:
        nonlocal kills
        for _ in range(KILLS):
            await asyncio.sleep(0.4)
            assert postgres_server.process_id is not None
            os.kill(postgres_server.process_id, signal.SIGKILL)
            kills += 1
            await asyncio.sleep(0.1)
            await asyncio.to_thread(postgres_server.start)

    task: asyncio.Task[None] | None = None
    async with asyncio.timeout(PATIENCE_S + 10 * KILLS):
        async for progress in rebuild.run():
            if task is None and progress.done:
                task = asyncio.create_task(killing())
    assert task is not None
    await task

    assert kills == KILLS
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


class Rebuilding:
    """A rebuild in a process, started again whenever it was killed, and how far it is."""

    def __init__(self, log: str, views: str, output: Path) -> None:
        self._addresses = (log, views)
        self._output = output
        self._starts = 0
        self._process: Process | None = None

    async def start(self, events_per_s_max: int) -> None:
        self._starts += 1
        with self._output.open("ab") as file:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(PROCESS), *self._addresses, str(events_per_s_max)),
                stdout=file,
                stderr=file,
            )

    @property
    def said(self) -> list[dict[str, Any]]:
        """The lines of progress so far, of all processes."""
        lines = self._output.read_bytes().splitlines(keepends=True)
        return [orjson.loads(each) for each in lines if each[:1] == b"{" and each[-1:] == b"\n"]

    @property
    def done(self) -> int:
        said = self.said
        return int(said[-1]["done"]) if said else 0

    async def kill(self) -> None:
        assert self._process is not None
        assert self._process.returncode is None, "it must be at work when it is killed"
        self._process.kill()
        await self._process.wait()

    async def gone_on(self, done: int) -> None:
        """Wait until it has read further than that, or fail and show what it said."""
        give_up = time.monotonic() + PATIENCE_S
        while self.done <= done:
            assert self._process is not None
            text = self._output.read_text()[-3_000:]
            assert self._process.returncode is None, f"it ended:\n{text}"
            assert time.monotonic() < give_up, f"it does not go on:\n{text}"
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await self._process.wait() == 0, self._output.read_text()[-3_000:]


def large(entries: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
    """The same events with 4 kB of space in each: nobody has many seconds of them at hand."""
    return [(p, Entry(entry.key, entry.value + b" " * 4_000)) for p, entry in entries]


@pytest.mark.kafka
async def test_a_rebuild_from_kafka_goes_on_whatever_is_killed(
    kafka_broker: KafkaBroker,
    postgres_server: EmbeddedPostgres,
    fragile_kafka_address: str,
    fragile_postgres_address: str,
    tmp_path: Path,
) -> None:
    choose, stream = random.Random(4), write(24, 150 * KILLS)
    log = open_log(fragile_kafka_address)
    await log.open(create_partitions=len(stream.partitions))
    await fill(log, large(stream.entries))
    await log.aclose()
    rebuilding = Rebuilding(fragile_kafka_address, fragile_postgres_address, tmp_path / "said")
    await rebuilding.start(SLOW)
    await rebuilding.gone_on(0)
    victims = ["rebuild", "postgres", "kafka"] * KILLS
    choose.shuffle(victims)
    for number, victim in enumerate(victims):
        await asyncio.sleep(choose.uniform(0.0, 0.5))
        if victim == "rebuild":
            await rebuilding.kill()
            await rebuilding.start(SLOW)
        elif victim == "postgres":
            assert postgres_server.process_id is not None
            os.kill(postgres_server.process_id, signal.SIGKILL)
            await asyncio.to_thread(postgres_server.start)
        else:
            kafka_broker.kill()
            await asyncio.to_thread(kafka_broker.start)
        await rebuilding.gone_on(rebuilding.done)
        print(f"{number + 1}: {victim} was killed; {rebuilding.done} events are loaded")
    await rebuilding.kill()
    said = rebuilding.said
    assert said[-1]["done"] < said[-1]["total"], "it was over before the kills were"
    # Whether a look falls into an outage is chance; what is told of one is what it was.
    assert {each["error"][:6] for each in said if each["error"]} <= {"ML2002", "ML5005"}
    await rebuilding.start(0)
    await rebuilding.end()

    log = open_log(fragile_kafka_address)
    await log.open()
    await check_equal(log, fragile_postgres_address)
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
    async with asyncio.timeout(90):
        while True:
            offsets = [
                {p: c.offset for p, c in s.checkpoints.items()} for s in await books.statuses()
            ]
            if all(each == end for each in offsets):
                return
            await asyncio.sleep(0.05)
