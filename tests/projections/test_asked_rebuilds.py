"""Rebuilds that somebody asked for: taken by a projector, ended, gone on with, and told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshline.events.log.memory import MemoryLog
from meshline.projections import asked_rebuilds, runs_view
from meshline.projections.asked_rebuilds import AskedRebuild, AskedRebuilds, RebuildsOnDemand
from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.projection import Projection
from meshline.projections.rebuild import Rebuild
from tests.projections.streams import fill, new_log, write
from tests.projections.test_rebuild import counting

pytestmark = pytest.mark.postgres

RUNS = runs_view.projection


@pytest.fixture
async def log() -> MemoryLog:
    stream = write(5, 60)
    log = await new_log(len(stream.partitions))
    await fill(log, stream.entries)
    return log


@pytest.fixture
async def books(postgres_address: str, log: MemoryLog) -> AsyncIterator[Builds]:
    """Books in which the view of runs is live."""
    books = Builds(postgres_address)
    await books.open()
    async for _ in Rebuild(log, postgres_address, [RUNS]).run():
        pass
    await books.swap(Build("runs", RUNS.version, 1), await log.ends(), behind_max=0, actor="")
    yield books
    await books.aclose()


@pytest.fixture
async def asked(postgres_address: str, books: Builds) -> AsyncIterator[AskedRebuilds]:
    asked = AskedRebuilds(postgres_address)
    await asked.open()
    yield asked
    await asked.aclose()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_rebuilds, "LOOK_S", 0.02)


@asynccontextmanager
async def projector(log: MemoryLog, address: str, *views: Projection) -> AsyncIterator[None]:
    """What carries out rebuilds; it is killed at the end."""
    task = asyncio.create_task(RebuildsOnDemand(log, address, views).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def becomes(asked: AskedRebuilds, *states: str) -> AskedRebuild:
    async with asyncio.timeout(90):
        while True:
            one = await asked.one("runs")
            if one is not None and one.state in states:
                return one
            await asyncio.sleep(0.02)


async def builds(books: Builds) -> dict[int, str]:
    return {s.build: "loading" if s.bulk else s.state for s in await books.statuses()}


async def test_what_is_asked_waits_for_a_projector_that_has_the_code(
    log: MemoryLog, postgres_address: str, books: Builds, asked: AskedRebuilds
) -> None:
    made = await asked.ask("runs", actor="user:ada")
    async with projector(log, postgres_address, counting()):
        await asyncio.sleep(0.2)
        left = await asked.one("runs")
    with pytest.raises(NotSwappable, match="being rebuilt already"):
        await asked.ask("runs", actor="user:bob")
    async with projector(log, postgres_address, RUNS):
        done = await becomes(asked, "loaded")
    again = await asked.ask("runs", actor="user:bob")

    assert (made.state, made.told_at) == ("asked", None)
    assert left is not None
    assert left.told_at is None
    total = sum((await log.ends()).values())
    assert (done.asked_by, done.build, done.done, done.total) == ("user:ada", 2, total, total)
    assert await builds(books) == {1: "live", 2: "warm"}
    assert (again.state, again.asked_by, again.done) == ("asked", "user:bob", 0)


async def test_one_that_was_killed_is_gone_on_with_and_one_that_rests_waits(
    log: MemoryLog, postgres_address: str, books: Builds, asked: AskedRebuilds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    slow = asked_rebuilds.BESIDE_LIVE_VIEWS
    monkeypatch.setattr(
        asked_rebuilds, "Rebuild",
        lambda *args, **more: Rebuild(*args, **more, events_per_s_max=150),
    )  # fmt: skip
    await asked.ask("runs", actor="user:ada")
    async with projector(log, postgres_address, RUNS):
        begun = await becomes(asked, "loading")
    killed = await asked.one("runs")
    await asked.wish("runs", "pause")
    async with projector(log, postgres_address, RUNS):
        await asyncio.sleep(0.2)
        rests = await asked.one("runs")
        monkeypatch.setattr(asked_rebuilds, "Rebuild", Rebuild)
        await asked.wish("runs", "run")
        done = await becomes(asked, "loaded")

    assert slow.batch_records_max < 12_000
    assert killed is not None
    assert rests is not None
    assert (begun.build, killed.state, rests.state) == (2, "loading", "paused")
    assert done.build == 2, "it went on, and was not begun again"
    assert await builds(books) == {1: "live", 2: "warm"}


async def test_one_that_is_cancelled_leaves_nothing(
    log: MemoryLog, postgres_address: str, books: Builds, asked: AskedRebuilds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await asked.ask("runs", actor="user:ada")
    await asked.wish("runs", "cancel")
    unseen = await asked.one("runs")
    monkeypatch.setattr(
        asked_rebuilds, "Rebuild",
        lambda *args, **more: Rebuild(*args, **more, events_per_s_max=150),
    )  # fmt: skip
    await asked.ask("runs", actor="user:ada")
    async with projector(log, postgres_address, RUNS):
        await becomes(asked, "loading")
        await asked.wish("runs", "cancel")
        done = await becomes(asked, "cancelled")

    assert unseen is not None
    assert unseen.state == "cancelled"
    assert done.state == "cancelled"
    assert await builds(books) == {1: "live"}


async def test_a_view_that_there_is_not_and_one_that_is_built_elsewhere_are_told(
    log: MemoryLog, postgres_address: str, asked: AskedRebuilds
) -> None:
    with pytest.raises(NotFound, match="There is no view 'none'"):
        await asked.ask("none", actor="user:ada")
    with pytest.raises(NotFound, match="being rebuilt"):
        await asked.wish("runs", "pause")
    elsewhere = Rebuild(log, postgres_address, [RUNS], events_per_s_max=150).run()
    await anext(elsewhere)
    with pytest.raises(NotSwappable, match="being rebuilt already"):
        await asked.ask("runs", actor="user:ada")
    await elsewhere.aclose()
