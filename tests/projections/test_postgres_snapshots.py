"""Snapshots in PostgreSQL: made while a projector reads, and then folded from."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import asyncpg
import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import RunStarted
from meshline.events.log import Entry
from meshline.events.log.memory import MemoryLog
from meshline.projections import postgres_store, runs_view
from meshline.projections.as_of import fold_as_of
from meshline.projections.as_of_queries import ABOUT_RUNS
from meshline.projections.columns import Json
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.moment import Moment
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_snapshots import PostgresSnapshots
from meshline.projections.postgres_store import ChangedCode, PostgresStore
from meshline.projections.projection import Projection, by_run
from meshline.projections.projector import Projector
from meshline.projections.rebuild import Rebuild
from meshline.projections.settings import ProjectorSettings, SnapshotSettings
from meshline.projections.snapshot_maker import SnapshotMaker
from meshline.projections.store import Parked
from tests.projections.streams import fill, new_log
from tests.projections.test_snapshots import disorder, fragile, moments, records_of, same

pytestmark = pytest.mark.postgres

VIEWS = [*ABOUT_RUNS, fragile]
OFTEN = SnapshotSettings(every_events=150, time_share_max=1.0, look_s=0.01)
SMALL = ProjectorSettings(batch_records_max=40, commit_interval_s=0.0, fetch_wait_s=0.05)
NOW = Moment(datetime(2200, 1, 1, tzinfo=UTC))


class Odd(NamedTuple):
    run_id: str
    whole: float
    nothing: float | None
    bound: datetime
    text: str
    data: Json
    is_so: bool


RUNS_VERSION = runs_view.projection.version
SCHEMA = f'"{{ns}}_view_runs_v{RUNS_VERSION}"'
odd = Projection("odd", version=1)
odds = odd.table("odds", Odd, key=["run_id"], keys=by_run)


@odds.on(RunStarted)
def _odd(row: Odd | None, event: Recorded[RunStarted]) -> Odd:
    data = {"a": [1, 1.5, -(2**62), None, "\\u0041\n\t\"'"], "b": {}, "": 1e300}
    bound = datetime(1, 1, 1, tzinfo=UTC)
    return Odd(event.event.subject, 1.0, float("inf"), bound, 'Ω "\\ \x7f\x01', data, True)


@pytest.fixture(autouse=True)
def short_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "SPAN_RECORDS", 30)


@asynccontextmanager
async def projecting(
    log: MemoryLog, address: str, views: Sequence[Projection], changed_code: ChangedCode = "refuse"
) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(address, changed_code=changed_code)
    await store.open()
    projector = Projector(log, store, views, SMALL)
    running = asyncio.create_task(projector.run())
    try:
        yield store
    finally:
        projector.stop()
        await running
        await store.aclose()


async def caught_up(log: MemoryLog, store: PostgresStore, views: Sequence[Projection]) -> None:
    ends = await log.ends()
    async with asyncio.timeout(90):
        while True:
            reached = await store.live_checkpoints([view.name for view in views])
            if all(reached.get(view.name) == ends for view in views):
                return
            await asyncio.sleep(0.01)


async def in_parts(whole: MemoryLog, parts: int) -> AsyncIterator[MemoryLog]:
    """Give a log that grows to what the whole one is, part by part."""
    log = await new_log(len(await whole.ends()))
    records = [r for r in await records_of(whole) if r.offset > 0]
    records.sort(key=lambda record: record.offset)
    size = len(records) // parts + 1
    for first in range(0, len(records), size):
        some = records[first : first + size]
        await fill(log, [(r.partition, Entry(r.key, r.value)) for r in some])
        yield log


async def look(
    address: str, views: Sequence[Projection] = VIEWS, settings: SnapshotSettings = OFTEN
) -> None:
    """Make the snapshots that are due."""
    maker = SnapshotMaker(address, views, settings)
    try:
        await maker.make_due()
    finally:
        await maker.aclose()


async def with_snapshots(
    whole: MemoryLog, address: str, views: Sequence[Projection] = VIEWS, parts: int = 6
) -> MemoryLog:
    """Feed the views the log in parts, with a snapshot behind each; return the log."""
    log = whole
    async for log in in_parts(whole, parts):
        async with projecting(log, address, views) as store:
            await caught_up(log, store, views)
        await look(address, views)
    return log


@asynccontextmanager
async def kept_at(address: str) -> AsyncIterator[PostgresSnapshots]:
    kept = PostgresSnapshots(address)
    try:
        yield kept
    finally:
        await kept.aclose()


async def begun(
    kept: PostgresSnapshots, log: MemoryLog, moment: Moment, views: Sequence[Projection]
) -> dict[str, int]:
    """Return how many events each view has in the snapshot that it is folded from."""
    ends = await log.ends()
    bases = await kept.load(views, moment, ends, log.identity)
    return {
        projection.name: sum(c.offset for c in base.snapshot.checkpoints.values())
        for projection, base in bases.items()
        if base.snapshot is not None
    }


async def query(address: str, sql: str) -> list[Any]:
    parsed = parse_address(address)
    connection = await asyncpg.connect(parsed.dsn)
    try:
        found: list[Any] = await connection.fetch(sql.replace("{ns}", parsed.namespace))
        return found
    finally:
        await connection.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_from_what_is_kept_the_past_is_the_same_at_every_moment(
    seed: int, postgres_address: str
) -> None:
    drawn = random.Random(seed)
    log = await with_snapshots(await disorder(seed, runs=60), postgres_address)
    used = 0

    async with kept_at(postgres_address) as kept:
        for moment in await moments(log, drawn, 15):
            used += bool(await begun(kept, log, moment, VIEWS))
            here = await fold_as_of(log, VIEWS, moment, kept)
            await same(here, await fold_as_of(log, VIEWS, moment), VIEWS)
            for view in VIEWS:
                one = await fold_as_of(log, [view], moment, kept)
                await same(one, await fold_as_of(log, [view], moment), [view])

    assert used, "no moment was folded from a snapshot: this test shows nothing"


async def test_rows_come_out_of_a_snapshot_as_they_went_in(postgres_address: str) -> None:
    log = await with_snapshots(await disorder(4), postgres_address, [odd], parts=2)

    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, [odd])
        here = await fold_as_of(log, [odd], NOW, kept)

    assert await here.rows(odds)
    assert await compare_views(here, await fold_views(log, [odd]), [odd]) == []


async def test_what_was_stopped_before_a_snapshot_stays_stopped(postgres_address: str) -> None:
    log = await with_snapshots(await disorder(5), postgres_address)
    whole = await fold_as_of(log, [fragile], NOW)
    stopped = {parked.entity for parked in await whole.parked(fragile) if parked.stops}

    async with kept_at(postgres_address) as kept:
        bases = await kept.load([fragile], NOW, await log.ends(), log.identity)

    snapshot = bases[fragile].snapshot
    assert snapshot is not None and stopped
    until = {p: c.offset for p, c in snapshot.checkpoints.items()}
    there: list[Parked] = await (await fold_views(log, [fragile], until=until)).parked(fragile)
    assert [(p.position, p.entity, p.why) for p in snapshot.parked] == [
        (p.position, p.entity, p.why) for p in there
    ]


async def test_without_any_the_whole_log_is_read(postgres_address: str) -> None:
    log = await disorder(6)

    async with kept_at(postgres_address) as kept:
        here = await fold_as_of(log, VIEWS, NOW, kept)

    assert await compare_views(here, await fold_views(log, VIEWS), VIEWS) == []


async def test_where_postgresql_is_gone_the_whole_log_is_read() -> None:
    log = await disorder(6, runs=10)

    async with kept_at("postgresql://nobody@127.0.0.1:1/nothing") as kept:
        here = await fold_as_of(log, VIEWS, NOW, kept)

    assert await compare_views(here, await fold_views(log, VIEWS), VIEWS) == []


# -- which are used ----------------------------------------------------------------------------


async def test_one_that_was_not_finished_is_never_used(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await with_snapshots(await disorder(7, runs=120), postgres_address, parts=2)
    await query(postgres_address, f"truncate {SCHEMA}._snapshots cascade")
    monkeypatch.setattr("meshline.projections.postgres_snapshots.CHUNK_BYTES", 1)
    keep = PostgresSnapshots._keep

    async def killed(self: Any, session: Any, path: str, number: int, sql: Any) -> None:
        await keep(self, session, path, number, sql)
        chunks = await session.fetch(f"select count(*) from {path}._snapshot_rows")
        assert chunks[0][0] > 1
        await query(
            postgres_address,
            "select pg_terminate_backend("
            f"{(await session.fetch('select pg_backend_pid()'))[0][0]}, 5000)",
        )

    monkeypatch.setattr(PostgresSnapshots, "_keep", killed)
    with pytest.raises(Exception, match="did not answer"):
        await look(postgres_address)

    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, ABOUT_RUNS[:1]) == {}
        here = await fold_as_of(log, VIEWS, NOW, kept)
    assert await compare_views(here, await fold_views(log, VIEWS), VIEWS) == []

    monkeypatch.setattr(PostgresSnapshots, "_keep", keep)
    await look(postgres_address)
    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, ABOUT_RUNS[:1])
        here = await fold_as_of(log, VIEWS, NOW, kept)
    assert await compare_views(here, await fold_views(log, VIEWS), VIEWS) == []


def counting(step: int) -> Projection:
    projection = Projection("counting", version=1)
    table = projection.table("counts", Count, key=["run_id"], keys=by_run)
    # The code's hash is that of its module; here each has a statement of its own besides.
    projection.queries["of_step"] = f"select {step} as step from {{counts}}"

    @table.on(RunStarted)
    def count(row: Count | None, event: Recorded[RunStarted]) -> Count:
        return Count(event.event.subject, step)

    return projection


class Count(NamedTuple):
    run_id: str
    step: int


async def test_with_other_code_the_old_ones_are_not_used(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = counting(1), counting(2)
    # Only the code differs, not the layout.
    del before.queries["of_step"], now.queries["of_step"]
    hashes = {before: "before", now: "now"}
    for module in ("postgres_store", "postgres_snapshots", "snapshot_maker"):
        monkeypatch.setattr(f"meshline.projections.{module}.code_hash_of", hashes.__getitem__)
    log = await with_snapshots(await disorder(8), postgres_address, [before], parts=2)

    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, [before])
        assert await begun(kept, log, NOW, [now]) == {}

    # Gone on with all the same, as `meshline dev` does: rows of two codes are nothing to begin at.
    async with projecting(log, postgres_address, [now], "say") as store:
        await caught_up(log, store, [now])
    await look(postgres_address, [before])
    await look(postgres_address, [now])
    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, [before]) == {}
        assert await begun(kept, log, NOW, [now]) == {}


async def test_a_rebuild_makes_its_own_and_after_the_swap_they_are_used(
    postgres_address: str,
) -> None:
    runs = ABOUT_RUNS[0]
    log = await with_snapshots(await disorder(9, runs=80), postgres_address, [runs], parts=2)
    rebuild = Rebuild(
        log, postgres_address, [runs], settings=SMALL, snapshots=OFTEN, events_per_s_max=2_000
    )
    async for _ in rebuild.run():
        pass
    books = Builds(postgres_address)
    try:
        target = rebuild.builds["runs"]
        await books.swap(
            target, await log.ends(), behind_max=0, actor="user:ada", allow_parked=True
        )
        await books.retire(Build("runs", RUNS_VERSION, 1), actor="user:ada")
        sizes = await books.sizes()
    finally:
        await books.aclose()

    async with kept_at(postgres_address) as kept:
        assert await begun(kept, log, NOW, [runs])
        here = await fold_as_of(log, [runs], NOW, kept)
    assert await compare_views(here, await fold_views(log, [runs]), [runs]) == []
    assert sizes[target].snapshot_bytes > 0
    left = await query(
        postgres_address,
        "select 1 from information_schema.schemata "
        f"where schema_name = '{{ns}}_view_runs_v{RUNS_VERSION}'",
    )
    assert left == []
    spans = await query(postgres_address, "select distinct build from {ns}_views.spans")
    assert [record["build"] for record in spans] == [2]


# -- how many there are ------------------------------------------------------------------------


async def test_they_keep_to_their_limits_and_are_made_no_more_often_than_is_said(
    postgres_address: str,
) -> None:
    runs = ABOUT_RUNS[0]
    settings = SnapshotSettings(every_events=100, count_max=3)
    maker = SnapshotMaker(postgres_address, [runs], settings)
    async for log in in_parts(await disorder(10, runs=80), 12):
        async with projecting(log, postgres_address, [runs]) as store:
            await caught_up(log, store, [runs])
        await maker.make_due()
        # Another process that looks then makes no second one.
        await look(postgres_address, [runs], settings)
    await maker.aclose()

    kept = await query(
        postgres_address, f"select events, bytes from {SCHEMA}._snapshots order by 1"
    )
    places = [record["events"] for record in kept]
    assert len(places) == 3
    assert all(after - before >= 100 for before, after in pairwise(places))
    assert all(record["bytes"] > 0 for record in kept)


async def test_a_maker_goes_on_when_a_build_is_dropped_under_it(postgres_address: str) -> None:
    log = await with_snapshots(await disorder(11, runs=10), postgres_address, parts=1)
    await query(postgres_address, f"drop schema {SCHEMA} cascade")
    maker = SnapshotMaker(postgres_address, VIEWS, OFTEN)
    working = asyncio.create_task(maker.run())
    try:
        await asyncio.sleep(0.2)
        assert not working.done()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert log
