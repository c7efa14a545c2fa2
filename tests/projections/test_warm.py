"""Further builds are kept up to date beside a projector, each by a process that has its code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshline.events.log.memory import MemoryLog
from meshline.projections import code_hash, triggers_view
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection
from meshline.projections.projector import Projector
from meshline.projections.rebuild import Rebuild, swap_when_ready
from meshline.projections.settings import ProjectorSettings
from meshline.projections.warm import WarmBuilds
from tests.projections.streams import fill, new_log, write
from tests.projections.test_rebuild import counting

pytestmark = pytest.mark.postgres

QUICK = ProjectorSettings(standby_poll_s=0.05, retry_s=0.05)
FIRST, SECOND = Build("counting", 1, 1), Build("counting", 1, 2)


@pytest.fixture
async def books(postgres_address: str) -> AsyncIterator[Builds]:
    books = Builds(postgres_address)
    await books.open()
    yield books
    await books.aclose()


def counting_by(code: str) -> Projection:
    """The same projection, as if its module had another text."""
    projection = counting()
    code_hash._known[projection] = code
    return projection


@asynccontextmanager
async def process(log: MemoryLog, address: str, projection: Projection) -> AsyncIterator[None]:
    """What `meshline projector` runs; one whose every view has other code would end."""
    store = PostgresStore(address)
    await store.open()
    projector = Projector(log, store, [projection, triggers_view.projection], QUICK)
    warm = WarmBuilds(log, address, store, projector.health, [projection], QUICK)
    parts = [asyncio.create_task(projector.run()), asyncio.create_task(warm.run())]
    try:
        yield
    finally:
        parts[1].cancel()
        projector.stop()
        await asyncio.gather(*parts, return_exceptions=True)
        await store.aclose()


async def reach(books: Builds, ends: dict[int, int], *builds: Build) -> None:
    async with asyncio.timeout(90):
        while True:
            reached = {
                Build(s.name, s.version, s.build): {p: c.offset for p, c in s.checkpoints.items()}
                for s in await books.statuses()
            }
            if all(reached.get(build) == ends for build in builds):
                return
            await asyncio.sleep(0.02)


async def test_old_and_new_code_run_side_by_side_each_with_its_own_build(
    books: Builds, postgres_address: str
) -> None:
    stream = write(5, 60)
    log = await new_log(len(stream.partitions))
    third = len(stream.entries) // 3
    await fill(log, stream.entries[:third])
    old, new = counting_by("old"), counting_by("new")

    async with process(log, postgres_address, old):
        await reach(books, await log.ends(), FIRST)
        async for _ in Rebuild(log, postgres_address, [new]).run():
            pass
        async with process(log, postgres_address, new):
            await fill(log, stream.entries[third : 2 * third])
            await reach(books, await log.ends(), FIRST, SECOND)
            await swap_when_ready(books, log, SECOND, actor="user:ada", behind_max=0, wait_s=30)
            await fill(log, stream.entries[2 * third :])
            await reach(books, await log.ends(), FIRST, SECOND)

    assert {(s.name, s.build): (s.state, s.error) for s in await books.statuses()} == {
        ("counting", 1): ("warm", ""),
        ("counting", 2): ("live", ""),
        ("triggers", 1): ("live", ""),
    }


async def test_a_build_is_left_to_the_code_that_made_it_also_when_it_is_live(
    books: Builds, postgres_address: str
) -> None:
    stream = write(5, 60)
    log = await new_log(len(stream.partitions))
    half = len(stream.entries) // 2
    await fill(log, stream.entries[:half])
    old, new = counting_by("old"), counting_by("new")
    async with process(log, postgres_address, old):
        await reach(books, await log.ends(), FIRST)
    before = await log.ends()
    async for _ in Rebuild(log, postgres_address, [new]).run():
        pass

    async with process(log, postgres_address, new):
        await fill(log, stream.entries[half:])
        await reach(books, await log.ends(), SECOND)
        await reach(books, before, FIRST)
        async with process(log, postgres_address, old):
            await reach(books, await log.ends(), FIRST, SECOND)
