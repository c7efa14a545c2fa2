"""Building a view again, swapping, going back, retiring, verifying: on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import asyncpg
import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import RunStarted, RunSucceeded
from meshline.events.log.memory import MemoryLog
from meshline.projections import exception_view, history_view, ownership_view, runs_view
from meshline.projections.errors import CodeChanged, NotFound, NotSwappable
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, by_run
from meshline.projections.rebuild import Progress, Rebuild, swap_when_ready
from meshline.projections.rebuild_verify import Verification
from tests.projections.streams import fill, new_log, write

pytestmark = pytest.mark.postgres

VIEWS = [
    runs_view.projection,
    ownership_view.projection,
    exception_view.projection,
    history_view.projection,
]


class Count(NamedTuple):
    run_id: str
    events: int


class WiderCount(NamedTuple):
    events: int
    run_id: str
    note: str


def counting(version: int = 1, poison: bool = False) -> Projection:
    projection = Projection("counting", version=version)
    row: Any = Count if version == 1 else WiderCount
    table = projection.table("counts", row, key=["run_id"], keys=by_run, indexes=["events"])

    @table.on(RunStarted, RunSucceeded)
    def count(before: Any, event: Recorded[Any]) -> Any:
        if poison and isinstance(event.event.data, RunSucceeded):
            raise ValueError("no")
        events = 1 if before is None else before.events + 1
        run_id = event.event.subject
        return Count(run_id, events) if version == 1 else WiderCount(events, run_id, "")

    return projection


@pytest.fixture
async def log() -> MemoryLog:
    stream = write(5, 60)
    log = await new_log(len(stream.partitions))
    await fill(log, stream.entries)
    return log


@pytest.fixture
async def books(postgres_address: str) -> AsyncIterator[Builds]:
    books = Builds(postgres_address)
    await books.open()
    yield books
    await books.aclose()


async def rebuilt(log: MemoryLog, address: str, *views: Projection, **more: Any) -> list[Progress]:
    rebuild = Rebuild(log, address, views, **more)
    return [progress async for progress in rebuild.run()]


async def swap(books: Builds, log: MemoryLog, build: Build, **more: Any) -> Build | None:
    return await swap_when_ready(
        books, log, build, **{"actor": "user:ada", "behind_max": 0, "wait_s": 0.0, **more}
    )


async def states(books: Builds) -> dict[tuple[int, int], str]:
    return {(s.version, s.build): s.state for s in await books.statuses()}


async def answers(address: str, sql: str) -> list[tuple[Any, ...]]:
    parsed = parse_address(address)
    connection = await asyncpg.connect(parsed.dsn)
    try:
        return [tuple(r) for r in await connection.fetch(sql.format(ns=parsed.namespace))]
    finally:
        await connection.close()


async def test_several_views_in_one_pass_are_what_a_fold_from_scratch_gives(
    log: MemoryLog, postgres_address: str
) -> None:
    progress = await rebuilt(log, postgres_address, *VIEWS)

    total = sum((await log.ends()).values())
    assert (progress[-1].done, progress[-1].total) == (total, total)
    assert progress[-1].by_partition == {p: (e, e) for p, e in (await log.ends()).items()}
    store = PostgresStore(postgres_address, builds={view.name: 1 for view in VIEWS})
    assert await compare_views(store, await fold_views(log, VIEWS), VIEWS) == []
    await store.aclose()


async def test_the_same_version_is_built_again_beside_the_live_one_and_swapped_and_back(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    first, second = Build("counting", 1, 1), Build("counting", 1, 2)
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, first)
    expected = await answers(postgres_address, "select * from {ns}.counts order by 1")

    await rebuilt(log, postgres_address, counting())
    assert await states(books) == {(1, 1): "live", (1, 2): "warm"}
    assert await swap(books, log, second) == first
    assert await states(books) == {(1, 1): "warm", (1, 2): "live"}
    assert await swap(books, log, first, is_rollback=True) == second
    assert await answers(postgres_address, "select * from {ns}.counts order by 1") == expected

    with pytest.raises(NotSwappable, match="is live"):
        await books.retire(first, actor="user:ada")
    await books.retire(second, actor="user:ada")
    assert await states(books) == {(1, 1): "live"}
    with pytest.raises(NotFound):
        await swap(books, log, second)
    assert [(c.what, c.from_build, c.to_build, c.actor) for c in await books.history()] == [
        ("swap", None, 1, "user:ada"),
        ("swap", 1, 2, "user:ada"),
        ("rollback", 2, 1, "user:ada"),
        ("retire", 2, None, "user:ada"),
    ]


async def test_other_columns_under_the_same_name(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, Build("counting", 1, 1))
    await rebuilt(log, postgres_address, counting(2))

    await swap(books, log, Build("counting", 2, 1))
    new = await answers(postgres_address, "select * from {ns}.counts order by run_id")
    await swap(books, log, Build("counting", 1, 1), is_rollback=True)
    old = await answers(postgres_address, "select * from {ns}.counts order by run_id")

    assert old
    assert new == [(events, run_id, "") for run_id, events in old]


async def test_what_is_behind_is_not_swapped(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, Build("counting", 1, 1))
    await rebuilt(log, postgres_address, counting())
    ends = {p: end + 2 for p, end in (await log.ends()).items()}

    with pytest.raises(NotSwappable, match="4 events behind"):
        await books.swap(Build("counting", 1, 2), ends, behind_max=3, actor="")
    await books.swap(Build("counting", 1, 2), ends, behind_max=4, actor="")


async def test_what_is_not_loaded_is_not_swapped_and_no_projector_takes_it(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    build = await books.begin(counting(), log.identity)

    with pytest.raises(NotSwappable, match="not loaded"):
        await swap(books, log, build)
    store = PostgresStore(postgres_address)
    assert not await store.acquire(counting())
    await store.aclose()


async def test_parked_events_forbid_the_swap_unless_it_is_allowed(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting(poison=True))
    build = Build("counting", 1, 1)

    with pytest.raises(NotSwappable, match="--allow-parked"):
        await swap(books, log, build)
    await swap(books, log, build, allow_parked=True)
    assert await states(books) == {(1, 1): "live"}


async def test_a_rebuild_that_was_left_goes_on_where_it_was(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    rebuild = Rebuild(log, postgres_address, [counting()], events_per_s_max=2_000)
    tasks = asyncio.all_tasks()
    async for progress in (running := rebuild.run()):
        if progress.done > 50:
            break
    await running.aclose()
    assert asyncio.all_tasks() == tasks
    (status,) = await books.statuses()
    assert status.bulk

    again = await rebuilt(log, postgres_address, counting(), events_per_s_max=2_000)

    assert await states(books) == {(1, 1): "warm"}
    end = sum((await log.ends()).values())
    assert 50 < again[0].done <= again[-1].done == end
    assert all(each.rate < 4_000 for each in again)


async def test_a_log_that_never_rests_does_not_keep_a_rebuild_from_its_end(
    books: Builds, postgres_address: str
) -> None:
    stream = write(6, 60)
    rest = iter(stream.entries[len(stream.entries) // 2 :])

    class Growing(MemoryLog):
        """Whoever asks where it ends is told so, and is late."""

        async def ends(self) -> dict[int, int]:
            await fill(self, [next(rest)])
            return await super().ends()

    log = Growing()
    await log.open(create_partitions=len(stream.partitions))
    await fill(log, stream.entries[: len(stream.entries) // 2])

    async with asyncio.timeout(90):
        progress = await rebuilt(log, postgres_address, counting())

    assert len(progress) < 10 and progress[-1].done >= progress[-1].total - 2
    assert await states(books) == {(1, 1): "warm"}


async def test_who_is_turned_away_does_not_wake_a_rebuild_that_rests(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    rebuild = Rebuild(log, postgres_address, [counting()], events_per_s_max=200)
    is_refused = False
    async for progress in rebuild.run():
        build = rebuild.builds["counting"]
        if not progress.paused:
            await books.wish(build, "cancel" if is_refused else "pause")
        elif not is_refused:
            with pytest.raises(NotSwappable, match="Another process is rebuilding"):
                await rebuilt(log, postgres_address, counting())
            is_refused = True
        else:
            assert (await books.loading([build])).wish == "pause"
            await books.wish(build, "cancel")

    assert is_refused and rebuild.cancelled


async def test_what_was_cancelled_while_nobody_was_at_work_on_it_begins_anew(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    first = await books.begin(counting(), log.identity)
    await books.wish(first, "cancel")

    await rebuilt(log, postgres_address, counting())

    assert await states(books) == {(1, 1): "warm"}


async def test_a_rebuild_pauses_goes_on_and_is_cancelled(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    rebuild = Rebuild(log, postgres_address, [counting()], events_per_s_max=200)
    paused_at: list[int] = []
    async for progress in rebuild.run():
        build = rebuild.builds["counting"]
        if not paused_at and not progress.paused:
            await books.wish(build, "pause")
        elif progress.paused and len(paused_at) < 4:
            paused_at.append(progress.done)
        elif progress.paused:
            await books.wish(build, "run")
        elif progress.done > paused_at[-1]:
            await books.wish(build, "cancel")

    assert paused_at[2] == paused_at[3]
    assert rebuild.cancelled
    assert await books.statuses() == []


async def test_verify_says_equal_and_leaves_nothing(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, Build("counting", 1, 1))

    check = Verification(log, postgres_address, counting())
    async for _ in check.run():
        pass

    assert check.verdict is not None
    assert (check.verdict.different, check.verdict.samples) == (0, [])
    assert check.verdict.rows == len(await answers(postgres_address, "select * from {ns}.counts"))
    assert await states(books) == {(1, 1): "live"}


async def test_verify_names_what_differs(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, Build("counting", 1, 1))
    rows = await answers(postgres_address, "select run_id, events from {ns}.counts order by 1")
    schema = "{ns}_view_counting_v1"
    (first, count), (second, _), *_ = rows
    await answers(
        postgres_address, f"update {schema}.counts set events = 99 where run_id = '{first}'"
    )
    await answers(postgres_address, f"delete from {schema}.counts where run_id = '{second}'")

    check = Verification(log, postgres_address, counting())
    async for _ in check.run():
        pass

    assert check.verdict is not None
    assert check.verdict.different == 2
    changed, missing = check.verdict.samples
    assert (changed.key, changed.fields()) == ((first,), {"events": (99, count)})
    assert (missing.key, missing.here) == ((second,), None)


async def test_two_may_verify_at_once_and_what_a_killed_one_left_goes(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    await rebuilt(log, postgres_address, counting())
    await swap(books, log, Build("counting", 1, 1))
    killed = Builds(postgres_address)
    await killed.begin(counting(), log.identity, scratch=True)
    await killed.aclose()

    checks = [Verification(log, postgres_address, counting()) for _ in range(2)]

    async def verdict_of(check: Verification) -> None:
        async for _ in check.run():
            pass

    await asyncio.gather(*map(verdict_of, checks))

    assert all(check.verdict and check.verdict.rows for check in checks)
    assert [check.verdict and check.verdict.different for check in checks] == [0, 0]
    assert await states(books) == {(1, 1): "live"}


async def test_changed_code_is_refused_said_or_accepted(
    log: MemoryLog, books: Builds, postgres_address: str
) -> None:
    store = PostgresStore(postgres_address)
    await store.install(counting(), log.identity)
    await answers(postgres_address, "update {ns}_views.views set code_hash = 'older'")

    with pytest.raises(CodeChanged, match="meshline view rebuild counting"):
        await store.install(counting(), log.identity)
    say = PostgresStore(postgres_address, changed_code="say")
    await say.install(counting(), log.identity)
    accept = PostgresStore(postgres_address, changed_code="accept", actor="user:ada")
    await accept.install(counting(), log.identity)
    await store.install(counting(), log.identity)

    assert [(c.what, c.actor) for c in await books.history()] == [("accept", "user:ada")]
    for each in (store, say, accept):
        await each.aclose()
