"""Every view equals a fold from scratch, however the log was cut into batches."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from meshline.events.log import LogRecord
from meshline.projections.built_in import BUILT_IN
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.history_view import history
from meshline.projections.intake import Intake
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection
from meshline.projections.recall import recall_from
from meshline.projections.runs_view import runs
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch, View
from tests.projections.streams import Stream, fill, new_log, write


async def in_batches(
    stream: Stream,
    seed: int,
    restart_chance: float,
    projections: Sequence[Projection] = BUILT_IN,
) -> MemoryStore:
    """Fold the stream in batches of any size, with a fresh process now and then."""
    choose = random.Random(seed)
    log = await new_log(len(stream.partitions))
    await fill(log, stream.entries)
    reader = log.reader(dict.fromkeys(range(len(stream.partitions)), 0))
    records: dict[int, list[LogRecord]] = {}
    while fetched := await reader.fetch(10**9, 0):
        for partition, some in fetched.items():
            records.setdefault(partition, []).extend(some)
    store = MemoryStore()
    views: list[View] = []
    intake = None
    while any(records.values()):
        if not views or choose.random() < restart_chance:
            installed = [(p, await store.install(p, log.identity)) for p in projections]
            views = [
                View(p, store, i, recall_from(log), known_rows_max=choose.choice([0, 1, 50]))
                for p, i in installed
            ]
            wanted = {kind for p in projections for kind in p.handles}
            intake = Intake(views[0].checkpoints, wanted)
        assert intake is not None
        items, starts, ends = [], {}, {}
        for partition in choose.sample([p for p in records if records[p]], 1):
            some = records[partition][: choose.choice([1, 2, 7, 100])]
            del records[partition][: len(some)]
            items += intake.take(some)
            starts[partition], ends[partition] = some[0].offset, intake.checkpoint(some[-1])
        batch = Batch(items, starts, ends)
        for view in views:
            change = await view.prepare(batch)
            if choose.random() < 0.1:
                view.forget()
                change = await view.prepare(batch)
            assert change is not None
            await store.commit([change])
            view.committed(change)
    return store


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 1.0]))
async def test_any_batches_and_restarts_give_the_same_rows(seed: int, restart: float) -> None:
    stream = write(seed, 12)
    log = await new_log()
    await fill(log, stream.entries)

    scratch = await fold_views(log)
    kept = await in_batches(stream, seed, restart)

    assert await compare_views(kept, scratch) == []
    assert [await kept.parked(p) for p in BUILT_IN] == [[] for _ in BUILT_IN]


async def test_void_facts_never_show() -> None:
    noisy = write(7, 200)
    assert noisy.void > 10
    log = await new_log()
    await fill(log, noisy.entries)

    store = await fold_views(log)

    rows = await store.rows(history)
    of_no_run = sum(not entry.key for _, entry in noisy.entries)
    assert len(rows) == len(noisy.entries) - noisy.void - of_no_run
    assert {row.actor for row in rows} == {"user:ada", "route"}
    assert "zombie" not in str(rows)


async def test_a_fold_until_a_position_is_of_what_stands_before_it() -> None:
    log = await new_log()
    await fill(log, write(1, 30).entries)

    store = await fold_views(log, until={0: 40, 1: 0})

    assert {row.partition for row in await store.rows(history)} == {0}
    assert max(row.log_offset for row in await store.rows(history)) < 40
    assert (await store.status())[0].checkpoints == {
        0: (await store.status())[0].checkpoints[0],
        1: Checkpoint(),
    }


async def test_a_difference_names_the_row_and_the_fields() -> None:
    log = await new_log()
    await fill(log, write(1, 5).entries)
    here, there = await fold_views(log), await fold_views(log)
    row, *_ = await there.rows(runs)
    there._view(runs.projection).rows["runs"][row.run_id,] = row._replace(owner="somebody")

    (difference,) = await compare_views(here, there)

    assert (difference.table, difference.key) == ("runs", (row.run_id,))
    assert difference.fields() == {"owner": (row.owner, "somebody")}
