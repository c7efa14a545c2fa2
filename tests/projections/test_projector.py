from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from meshline.events.envelope import Position, Recorded
from meshline.events.errors import LogIdentityChanged, LogUnavailable, PositionLost
from meshline.events.facts import Fact, OwnerAssigned, RunStarted
from meshline.events.ids import partition_of
from meshline.events.log import Entry
from meshline.events.log.memory import MemoryLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import StoreUnavailable
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.lag import lag_of, reached
from meshline.projections.memory_store import MemoryStore, Shared
from meshline.projections.projection import Projection, RowAccess, by_run
from meshline.projections.projector import Projector
from meshline.projections.settings import ProjectorSettings
from meshline.projections.store import Change
from tests.projections.streams import Stream, fill, new_log, write

QUICK = ProjectorSettings(
    batch_records_max=200, commit_interval_s=0.0, fetch_wait_s=0.05, standby_poll_s=0.02,
    retry_s=0.01, retry_s_max=0.05, merge_within_records=50,
)  # fmt: skip
NAMES = [projection.name for projection in BUILT_IN]


@asynccontextmanager
async def running(
    log: MemoryLog, store: MemoryStore, projections: Sequence[Projection] = BUILT_IN
) -> AsyncIterator[Projector]:
    projector = Projector(log, store, projections, QUICK)
    task = asyncio.create_task(projector.run())
    try:
        yield projector
    finally:
        projector.stop()
        async with asyncio.timeout(90):
            await task


async def ends(log: MemoryLog) -> list[Position]:
    return [Position(p, end - 1) for p, end in (await log.ends()).items()]


async def test_all_views_reach_the_end_and_equal_a_fold_from_scratch() -> None:
    log, store = await new_log(), MemoryStore()
    stream = write(1, 150)
    await fill(log, stream.entries[:500])

    async with running(log, store):
        await reached(store, await ends(log), NAMES, timeout_s=20)
        await fill(log, stream.entries[500:], batch=7)
        await reached(store, await ends(log), NAMES, timeout_s=20)

    assert await compare_views(store, await fold_views(log)) == []
    assert {lag.events for lag in await lag_of(log, store)} == {0}


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never held")


class Noted(NamedTuple):
    run_id: str
    facts: int


def counting(name: str = "counting", version: int = 1) -> tuple[Projection, Any]:
    projection = Projection(name, version=version)
    table = projection.table(name, Noted, key=["run_id"], keys=by_run)

    @table.on(Fact)
    def count(row: Noted | None, event: Recorded[Any]) -> Noted:
        return Noted(event.event.subject, 1 + (row.facts if row else 0))

    return projection, table


async def test_a_row_that_is_added_where_there_is_one_is_written_over_it() -> None:
    projection = Projection("adding", version=1)
    table = projection.table("adding", Noted, key=["run_id"])

    @projection.on(RunStarted)
    def add(rows: RowAccess, event: Recorded[Any]) -> None:
        rows.add(table, Noted(event.event.subject, event.position.offset))

    log, store, stream = await new_log(), MemoryStore(), Stream(1)
    last = {}
    for numbers in ((1, 2), (1, 3)):
        for number in numbers:
            run_id, _ = stream.started(number)
            last[run_id] = stream.partitions[partition_of(run_id, 2)].next_offset - 1
        await fill(log, stream.entries)
        stream.entries.clear()
        # Each projector begins without knowing any row, and so takes run 1 for a new one.
        async with running(log, store, [projection]) as projector:
            await reached(store, await ends(log), ["adding"], timeout_s=20)
            assert [each.error for each in projector.health()] == [None]

    assert await store.parked(projection) == []
    assert {row.run_id: row.facts for row in await store.rows(table)} == last


async def test_a_view_that_is_far_behind_does_not_delay_the_others_and_joins_them() -> None:
    log, store = await new_log(), MemoryStore()
    await fill(log, write(1, 100).entries)
    async with running(log, store):
        await reached(store, await ends(log), NAMES, timeout_s=20)
    late, table = counting()

    async with running(log, store, [*BUILT_IN, late]) as projector:
        await reached(store, await ends(log), [*NAMES, late.name], timeout_s=20)
        await until(lambda: len(projector._lanes) == 1)

    scratch = await fold_views(log, [late])
    assert await store.rows(table) == await scratch.rows(table)


async def test_a_second_projector_stands_by_and_takes_over() -> None:
    log, shared = await new_log(), Shared()
    first, second = MemoryStore(shared), MemoryStore(shared)
    stream = write(2, 60)
    async with running(log, second) as standby:
        async with running(log, first) as leader:
            await fill(log, stream.entries[:200])
            await reached(first, await ends(log), NAMES, timeout_s=20)
            standing = {health.standing for health in (*leader.health(), *standby.health())}
            assert standing in ({"reading", "standing_by"}, {"reading"})
        await fill(log, stream.entries[200:])
        await reached(second, await ends(log), NAMES, timeout_s=20)
        assert {health.standing for health in standby.health()} == {"reading"}

    assert await compare_views(second, await fold_views(log)) == []


class Deaf(MemoryStore):
    """Believes that it is the writer, whoever else is."""

    async def acquire(self, projection: Projection) -> bool:
        return True


async def test_two_that_both_believe_to_be_the_writer_do_no_harm() -> None:
    log, shared = await new_log(), Shared()
    stream = write(3, 120)

    async with running(log, Deaf(shared)), running(log, Deaf(shared)):
        for first in range(0, len(stream.entries), 40):
            await fill(log, stream.entries[first : first + 40])
            await asyncio.sleep(0.005)
        await reached(MemoryStore(shared), await ends(log), NAMES, timeout_s=20)

    assert await compare_views(MemoryStore(shared), await fold_views(log)) == []


class Moody(MemoryStore):
    """Fails now and then, before or after it wrote."""

    calls = 0

    async def commit(self, changes: Sequence[Change]) -> None:
        self.calls += 1
        if self.calls % 5 == 2:
            raise StoreUnavailable("gone before it wrote")
        await super().commit(changes)
        if self.calls % 5 == 4:
            raise StoreUnavailable("gone after it wrote")


async def test_a_store_that_comes_and_goes_loses_nothing() -> None:
    log, store = await new_log(), Moody()
    stream = write(4, 120)

    async with running(log, store):
        for first in range(0, len(stream.entries), 60):
            await fill(log, stream.entries[first : first + 60])
            await asyncio.sleep(0.002)
        await reached(store, await ends(log), NAMES, timeout_s=20)

    assert store.calls > 5
    assert await compare_views(store, await fold_views(log)) == []


class Breaking(MemoryStore):
    """Can't write one of the views."""

    async def commit(self, changes: Sequence[Change]) -> None:
        if any(change.projection.name == "runs" for change in changes):
            raise RuntimeError("no space left for runs")
        await super().commit(changes)


async def test_a_view_that_fails_stops_no_other() -> None:
    log, store = await new_log(), Breaking()
    await fill(log, write(5, 60).entries)
    others = [name for name in NAMES if name != "runs"]

    async with running(log, store) as projector:
        await reached(store, await ends(log), others, timeout_s=20)
        (health,) = [h for h in projector.health() if h.name == "runs"]

    assert health.standing in ("failing", "reading")
    assert await store.live_checkpoints(["runs"]) == {"runs": {0: 0, 1: 0}}
    rest = [projection for projection in BUILT_IN if projection.name != "runs"]
    assert await compare_views(store, await fold_views(log), rest) == []


async def test_a_view_that_has_just_failed_gets_no_other_lane_before_somebody_saw_to_it() -> None:
    log, store = await new_log(), MemoryStore()
    projector = Projector(log, store, [counting()[0]], QUICK)
    await projector._acquire()
    projector._arrange()
    ((lane, task),) = projector._lanes.items()

    lane._leave(lane.views[0], RuntimeError("no space left"))
    projector._arrange()

    assert [*projector._lanes] == [lane]
    lane.finish()
    await task


async def test_a_view_with_other_tables_halts_alone() -> None:
    log, store = await new_log(), MemoryStore()
    await fill(log, write(5, 10).entries)
    await store.install(counting()[0], log.identity)
    changed = Projection("counting", version=1)
    changed.table("other", Noted, key=["run_id"])

    async with running(log, store, [*BUILT_IN, changed]) as projector:
        await reached(store, await ends(log), NAMES, timeout_s=20)
        assert projector.health()[-1].standing == "halted"
        assert "version 2" in str(projector.health()[-1].error)


async def test_a_poison_event_parks_its_run_in_one_view_only() -> None:
    poisoned = Projection("poisoned", version=1)
    table = poisoned.table("poisoned", Noted, key=["run_id"])

    @poisoned.on(OwnerAssigned)
    def assigned(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
        if event.event.data.owner == "user:bob":
            raise ValueError("not bob")
        rows.put(table, Noted(event.event.subject, event.position.offset))

    log, store = await new_log(), MemoryStore()
    await fill(log, write(6, 200).entries)

    async with running(log, store, [*BUILT_IN, poisoned]) as projector:
        await reached(store, await ends(log), [*NAMES, "poisoned"], timeout_s=20)
        stopped = projector.health()[-1].stopped_entities

    parked = await store.parked(poisoned)
    assert len({p.entity for p in parked if p.stops}) == stopped > 1
    scratch = await fold_views(log, [*BUILT_IN, poisoned])
    assert await compare_views(store, scratch, [*BUILT_IN, poisoned]) == []
    assert parked == await scratch.parked(poisoned)


async def test_another_log_halts() -> None:
    store = MemoryStore()
    async with running(await new_log(), store):
        await asyncio.sleep(0.05)

    with pytest.raises(LogIdentityChanged, match="one log for ever"):
        await Projector(await new_log(), store, settings=QUICK).run()


async def test_a_log_that_was_cut_off_halts() -> None:
    log, store = await new_log(1), MemoryStore()
    await fill(log, write(1, 20, 1).entries)
    async with running(log, store):
        await reached(store, await ends(log), NAMES, timeout_s=20)

    del log._opened.records[0][-5:]

    with pytest.raises(PositionLost, match="cut off"):
        await Projector(log, store, settings=QUICK).run()


async def test_a_log_whose_last_event_was_changed_halts() -> None:
    log, store = await new_log(1), MemoryStore()
    await fill(log, write(1, 20, 1).entries)
    async with running(log, store):
        await reached(store, await ends(log), NAMES, timeout_s=20)

    log._opened.records[0][-1] = log._opened.records[0][-2]._replace(
        offset=len(log._opened.records[0]) - 1
    )

    with pytest.raises(LogIdentityChanged, match="was changed"):
        await Projector(log, store, settings=QUICK).run()


class Unreachable(MemoryLog):
    """Does not answer the first times."""

    failures = 3

    async def ends(self) -> dict[int, int]:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("nobody there")
        return await super().ends()


async def test_a_log_that_does_not_answer_is_tried_again() -> None:
    log, store = Unreachable(), MemoryStore()
    await log.open(create_partitions=1)

    async with running(log, store):
        await reached(store, [Position(0, 0)], NAMES, timeout_s=20)

    assert log.failures == 0


async def test_a_projector_stops_when_it_is_cancelled() -> None:
    store = MemoryStore()
    task = asyncio.create_task(Projector(await new_log(), store, settings=QUICK).run())
    await asyncio.sleep(0.05)

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert await MemoryStore(store._shared).acquire(BUILT_IN[0])


async def test_an_event_at_rest_is_seen_soon() -> None:
    log, store = await new_log(1), MemoryStore()
    async with running(log, store):
        await reached(store, await ends(log), NAMES, timeout_s=20)
        clock = asyncio.get_running_loop().time
        started = clock()
        await log.append(0, [Entry("x", b"no event")])
        await reached(store, [Position(0, 1)], NAMES, timeout_s=5)

    assert clock() - started < 1.0
