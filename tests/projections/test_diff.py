"""Two versions of a view compared in PostgreSQL: as two folds compared in plain Python."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import OwnerAssigned, RunStarted, RunSucceeded
from meshline.projections.diff import ViewDiff, diff_view
from meshline.projections.errors import NotFound, NotReached
from meshline.projections.from_scratch import fold_views
from meshline.projections.history_view import projection as history
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, Table, by_run
from meshline.projections.projector import Projector
from tests.projections.streams import Stream, fill, new_log, write

pytestmark = pytest.mark.postgres


class OldRow(NamedTuple):
    run_id: str
    owner: str
    since: datetime
    gone: int
    level: int


class NewRow(NamedTuple):
    run_id: str
    owner: str
    since: datetime
    level: str
    fresh: bool


class CountRow(NamedTuple):
    owner: str
    runs: int


def rule(version: int) -> tuple[Projection, Table[Any]]:
    """Version 1 knows all runs; version 2 hides some, names owners otherwise, has other columns."""
    projection = Projection("mine", version=version)
    table: Table[Any] = projection.table(
        "mine", OldRow if version == 1 else NewRow, key=["run_id"], keys=by_run
    )

    @table.on(RunStarted)
    def started(row: Any, event: Recorded[RunStarted]) -> Any:
        run_id, time = event.event.subject, event.event.time
        if version == 1:
            return None if run_id[0] == "0" else OldRow(run_id, "team:revops", time, 7, 3)
        level = "3" if run_id[1] in "0123456789" else "high"
        return None if run_id[0] == "1" else NewRow(run_id, "team:revops", time, level, True)

    @table.on(OwnerAssigned)
    def assigned(row: Any, event: Recorded[OwnerAssigned]) -> Any:
        owner = event.event.data.owner
        if version == 2 and owner.startswith("team:"):
            owner = owner.upper()
        return None if row is None else row._replace(owner=owner, since=event.event.time)

    if version == 2:
        projection.table("mine_counts", CountRow, key=["owner"])
    return projection, table


@asynccontextmanager
async def fed(
    address: str, projections: Sequence[Projection], runs: int = 120, stream: Stream | None = None
) -> AsyncIterator[Any]:
    log = await new_log()
    await fill(log, (stream or write(21, runs)).entries)
    store = PostgresStore(address)
    await store.open()
    projector = Projector(log, store, projections)
    task = asyncio.create_task(projector.run())
    ends = await log.ends()
    async with asyncio.timeout(90):
        while not await level(store, len(projections), ends):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    yield log
    projector.stop()
    await task
    await store.aclose()


async def level(store: PostgresStore, views: int, ends: dict[int, int]) -> bool:
    statuses = await store.status()
    offsets = [{p: c.offset for p, c in status.checkpoints.items()} for status in statuses]
    return len(statuses) == views and all(each == ends for each in offsets)


async def expected(log: Any) -> tuple[Counter[str], Counter[str], dict[str, Any], dict[str, Any]]:
    """Compare the two in plain Python, over the columns that both have."""
    sides = []
    for version in (1, 2):
        projection, table = rule(version)
        store = await fold_views(log, [projection])
        sides.append({row.run_id: row for row in await store.rows(table)})
    old, new = sides
    kinds, columns = Counter[str](), Counter[str]()
    for key in old.keys() | new.keys():
        if key not in old or key not in new:
            kinds["added" if key in new else "removed"] += 1
            continue
        differ = [
            name
            for name in ("owner", "since", "level")
            if str(getattr(old[key], name)) != str(getattr(new[key], name))
        ]
        kinds["changed"] += bool(differ)
        columns.update(differ)
    return kinds, columns, old, new


async def test_the_database_finds_what_plain_python_finds(postgres_address: str) -> None:
    async with fed(postgres_address, [rule(1)[0], rule(2)[0], history]) as log:
        diff = await diff_view(postgres_address, "mine", samples_max=12)
        kinds, columns, old, new = await expected(log)

    (table,) = diff.tables
    assert (diff.old.label, diff.new.label) == ("v1 (live)", "v2 (building)")
    assert diff.old.offsets == diff.new.offsets
    assert {"added": table.added, "removed": table.removed, "changed": table.changed} == kinds
    assert min(kinds.values()) > 0 and len(columns) == 2
    assert table.columns == columns
    assert (table.rows_old, table.rows_new) == (len(old), len(new))
    assert table.share == table.differing / max(len(old), len(new))
    assert (table.columns_added, table.columns_removed) == (["fresh"], ["gone"])
    assert (diff.tables_added, diff.tables_removed) == (["mine_counts"], [])
    assert not diff.is_equal
    check_samples(diff, old, new)


def check_samples(diff: ViewDiff, old: dict[str, Any], new: dict[str, Any]) -> None:
    (table,) = diff.tables
    samples = table.samples
    assert {sample.kind for sample in samples} == {"added", "removed", "changed"}
    assert {tuple(s.columns) for s in samples if s.kind == "changed"} == {
        ("level",), ("owner",), ("owner", "level"),
    }  # fmt: skip
    for sample in samples:
        run_id = sample.key["run_id"]
        assert (sample.old is None, sample.new is None) == (run_id not in old, run_id not in new)
        for row, rows in ((sample.old, old), (sample.new, new)):
            assert row is None or row["owner"] == rows[run_id].owner
        assert sample.events and {event.run_id for event in sample.events} == {run_id}
        if "owner" in sample.columns:
            owners = [e.data["owner"] for e in sample.events if e.type.startswith("meshline.owner")]
            assert sample.old is not None and owners[-1] == sample.old["owner"]


async def test_events_are_only_those_that_the_view_applies(postgres_address: str) -> None:
    async with fed(postgres_address, [rule(1)[0], rule(2)[0], history]):
        diff = await diff_view(
            postgres_address, "mine", types=["meshline.owner.assigned.v1"], samples_max=3
        )

    (table,) = diff.tables
    assert len(table.samples) == 3
    seen = {event.type for sample in table.samples for event in sample.events or ()}
    assert seen <= {"meshline.owner.assigned.v1"}


async def test_two_versions_of_the_same_rule_are_equal(postgres_address: str) -> None:
    same = Projection("same", version=1), Projection("same", version=2)
    for projection in same:
        table = projection.table("same", CountRow, key=["owner"], keys=by_run)
        table.on(RunSucceeded)(lambda row, event: CountRow(event.event.subject, 1))

    async with fed(postgres_address, same):
        diff = await diff_view(postgres_address, "same", old="2.1", new="1")

    assert diff.is_equal and diff.tables[0].share == 0.0
    assert diff.tables[0].rows_old > 0
    assert (diff.old.version, diff.new.version) == (2, 1)


async def test_what_cannot_be_compared_says_what_there_is(postgres_address: str) -> None:
    with pytest.raises(NotFound, match="no views in the namespace"):
        await diff_view(postgres_address, "mine")
    async with fed(postgres_address, [rule(1)[0]]):
        with pytest.raises(NotFound, match=r"there are: v1 \(live\)"):
            await diff_view(postgres_address, "mine")


async def test_versions_at_different_positions_are_not_compared(postgres_address: str) -> None:
    async with fed(postgres_address, [rule(1)[0]]) as log:
        store = PostgresStore(postgres_address)
        await store.open()
        await store.install(rule(2)[0], log.identity)
        with pytest.raises(NotReached, match=r"v2 \(building\) at 0:0, 1:0"):
            await diff_view(postgres_address, "mine", wait_s=0.1)
        await store.aclose()
