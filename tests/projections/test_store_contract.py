"""What every store of views does; the double in memory and PostgreSQL pass the same tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest

from meshline.events.envelope import Position
from meshline.events.errors import LogIdentityChanged
from meshline.events.log import LogIdentity
from meshline.events.moments import TIME_MAX, TIME_MIN
from meshline.projections.columns import Json, JsonText
from meshline.projections.errors import CheckpointMoved, NotFound, RowRefused, ViewLayoutChanged
from meshline.projections.projection import Projection
from meshline.projections.rows import TableChange
from meshline.projections.store import Change, Checkpoint, Parked, ViewStore
from tests.projections.stores import OpenStore, open_store

__all__ = ["open_store"]

IDENTITY = LogIdentity("log-1", 2, datetime(2026, 1, 1, tzinfo=UTC))
NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


class Thing(NamedTuple):
    group: str
    number: int
    ratio: float
    flag: bool
    moment: datetime | None
    data: Json
    note: str | None


class Line(NamedTuple):
    place: int
    data: Json


projection = Projection("things", version=1)
things = projection.table("things", Thing, key=["group", "number"], indexes=["note"])
lines = projection.table("lines", Line, key=["place"], append_only=True)


def thing(group: str = "a", number: int = 1, note: str | None = None, data: Any = ()) -> Thing:
    return Thing(group, number, 0.5, True, NOON, list(data), note)


def change(
    *tables: TableChange, offset: int = 0, to: int = 10, parked: tuple[Parked, ...] = ()
) -> Change:
    """A change that moves partition 0 from ``offset`` to ``to``."""
    before = Checkpoint(offset, -1, 0, "e" if offset else "", offset)
    return Change(projection, {0: before}, {0: Checkpoint(to, -1, 0, "e", to)}, tables, parked)


async def ready(open_store: OpenStore) -> ViewStore:
    store = await open_store()
    await store.install(projection, IDENTITY)
    assert await store.acquire(projection)
    return store


async def test_a_new_view_begins_at_the_beginning_and_is_live(open_store: OpenStore) -> None:
    store = await open_store()

    installed = await store.install(projection, IDENTITY)

    assert installed.state == "live"
    assert installed.checkpoints == {0: Checkpoint(), 1: Checkpoint()}
    assert installed.stopped == frozenset()


async def test_rows_and_checkpoint_come_back_as_they_were(open_store: OpenStore) -> None:
    store = await ready(open_store)
    data = {"é": [1, 2.5, None, True, "\\u0000"], "nested": {"a": []}}
    row = thing(note="Grüße", data=[data])

    await store.commit([change(TableChange(things, new=[row]))])

    assert await store.rows(things) == [row]
    assert await store.load(things, [("a", 1), ("a", 2)]) == {("a", 1): row}
    again = await (await open_store()).install(projection, IDENTITY)
    assert again.checkpoints == {0: Checkpoint(10, -1, 0, "e", 10), 1: Checkpoint()}


@pytest.mark.parametrize("others", [0, 500])
async def test_any_time_that_an_event_may_have_comes_back(
    open_store: OpenStore, others: int
) -> None:
    store = await ready(open_store)
    tick = timedelta(microseconds=1)
    moments = [
        TIME_MIN,
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC) - tick,
        NOON.astimezone(timezone(timedelta(hours=-3, minutes=-30))),
        TIME_MAX - tick,
    ]
    rows: list[Any] = [thing("a", n)._replace(moment=m) for n, m in enumerate(moments)]
    rows += [thing("b", n) for n in range(others)]
    await store.commit([change(TableChange(things, new=[*rows]))])

    assert await store.rows(things) == rows


@pytest.mark.parametrize("count", [1, 500])
async def test_rows_change_and_go(open_store: OpenStore, count: int) -> None:
    store = await ready(open_store)
    numbers = range(count)
    await store.commit([change(TableChange(things, new=[thing("a", n) for n in numbers]))])

    rows = [*(thing("a", n, "changed") for n in numbers), *(thing("b", n) for n in numbers)]
    changed = TableChange(things, changed=[*rows])
    await store.commit([change(changed, offset=10, to=20)])
    assert await store.rows(things) == rows

    gone = TableChange(things, deleted=[("a", n) for n in numbers])
    await store.commit([change(gone, offset=20, to=30)])
    assert await store.rows(things) == [thing("b", n) for n in numbers]


@pytest.mark.parametrize("count", [1, 500])
async def test_appended_json_text_comes_back_as_its_value(
    open_store: OpenStore, count: int
) -> None:
    store = await ready(open_store)
    rows = [Line(n, JsonText(b'{"a":[1]}')) for n in range(count)]

    await store.commit([change(TableChange(lines, appended=list(rows)))])

    assert await store.rows(lines) == [Line(n, {"a": [1]}) for n in range(count)]


async def test_a_stale_writer_never_writes(open_store: OpenStore) -> None:
    store = await ready(open_store)
    await store.commit([change(TableChange(things, new=[thing()]))])

    stale = change(TableChange(things, changed=[thing(note="stale")]), offset=0, to=10)
    with pytest.raises(CheckpointMoved):
        await store.commit([stale])

    assert await store.rows(things) == [thing()]


async def test_of_several_changes_all_are_written_or_none(open_store: OpenStore) -> None:
    store = await ready(open_store)
    other = Projection("other", version=1)
    table = other.table("other_things", Thing, key=["group"])
    await store.install(other, IDENTITY)
    assert await store.acquire(other)
    fine = replace(change(), projection=other, tables=[TableChange(table, new=[thing()])])

    with pytest.raises(CheckpointMoved):
        await store.commit([fine, change(offset=5)])
    assert await store.rows(table) == []

    await store.commit([fine, change(TableChange(things, new=[thing()]))])
    assert await store.rows(table) == await store.rows(things) == [thing()]


@pytest.mark.parametrize(
    "row",
    [
        thing(note="a\x00b"),
        thing(note="\ud800"),
        thing(number=2**70),
        thing(data=["\x00"]),
        thing(note="x" * 500_000),
        (None, *thing()[1:]),
        (*thing()[:4], "yesterday", [], None),
        thing()._replace(moment=NOON.replace(tzinfo=None)),
    ],
    ids=[
        "nul",
        "surrogate",
        "too large",
        "nul in json",
        "long key",
        "no key",
        "no time",
        "no zone",
    ],
)
@pytest.mark.parametrize("others", [0, 500])
async def test_a_row_that_no_column_can_hold_is_refused(
    open_store: OpenStore, row: Any, others: int
) -> None:
    store = await ready(open_store)
    rows = [thing("b", n) for n in range(others)]

    for tables in (
        TableChange(things, new=[*rows, row]),
        TableChange(things, changed=[*rows, row]),
    ):
        with pytest.raises(RowRefused):
            await store.commit([change(tables)])

    assert await store.rows(things) == []
    await store.commit([change(TableChange(things, changed=[*rows, thing()]))])
    assert len(await store.rows(things)) == others + 1


async def test_the_same_key_is_not_appended_twice(open_store: OpenStore) -> None:
    store = await ready(open_store)
    await store.commit([change(TableChange(lines, appended=[Line(1, [])]))])

    with pytest.raises(RowRefused):
        again = TableChange(lines, appended=[Line(1, [])])
        await store.commit([change(again, offset=10, to=20)])


async def test_one_writer_at_a_time_and_the_next_when_it_is_gone(open_store: OpenStore) -> None:
    first, second = await ready(open_store), await open_store()

    assert await first.acquire(projection)
    assert not await second.acquire(projection)
    await first.release(projection)
    assert await second.acquire(projection)
    assert not await first.acquire(projection)
    await second.aclose()
    assert await first.acquire(projection)


async def test_parked_events_stop_their_entities(open_store: OpenStore) -> None:
    store = await ready(open_store)
    failed = Parked(Position(0, 3), "run-1", "t", "failed", True, "ValueError: no", "stack")
    behind = Parked(Position(0, 4), "run-1", "t", "behind", False)
    shown = Parked(Position(0, 1), "run-2", "", "unreadable", False, "no JSON")

    await store.commit([change(parked=(failed, behind, shown))])

    assert await store.parked(projection) == [shown, failed, behind]
    assert (await store.install(projection, IDENTITY)).stopped == {(0, "run-1")}
    (status,) = await store.status()
    assert (status.parked, status.stopped, status.state) == (3, 1, "live")


async def test_a_view_of_another_log_is_refused(open_store: OpenStore) -> None:
    store = await ready(open_store)

    with pytest.raises(LogIdentityChanged, match="log-1"):
        await store.install(projection, replace(IDENTITY, log_id="log-2"))


async def test_other_tables_in_the_same_version_are_refused(open_store: OpenStore) -> None:
    store = await ready(open_store)
    changed = Projection("things", version=1)
    changed.table("things", Thing, key=["group"])

    with pytest.raises(ViewLayoutChanged, match="version 2"):
        await store.install(changed, IDENTITY)


async def test_a_new_version_builds_beside_the_live_one_until_it_is_made_live(
    open_store: OpenStore,
) -> None:
    store = await ready(open_store)
    second = Projection("things", version=2)
    second.table("things", Line, key=["place"])
    await store.commit([change()])

    assert (await store.install(second, IDENTITY)).state == "building"
    assert await store.live_checkpoints(["things", "none"]) == {"things": {0: 10, 1: 0}}

    await store.make_live("things", 2)
    assert {s.version: s.state for s in await store.status()} == {1: "warm", 2: "live"}
    assert await store.live_checkpoints(["things"]) == {"things": {0: 0, 1: 0}}
    await store.make_live("things", 1)
    assert {s.version: s.state for s in await store.status()} == {1: "live", 2: "warm"}
    with pytest.raises(NotFound):
        await store.make_live("things", 3)


async def test_what_is_freed_is_gone_and_may_be_parked_again(open_store: OpenStore) -> None:
    store = await ready(open_store)
    first = Parked(Position(0, 3), "run-1", "t", "failed", True, "ValueError: no", "stack")
    behind = Parked(Position(0, 4), "run-1", "t", "behind", False)
    elsewhere = Parked(Position(1, 4), "run-1", "t", "failed", True, "ValueError: no", "stack")
    await store.commit([change(parked=(first, behind, elsewhere))])
    assert (await store.install(projection, IDENTITY)).stopped == {(0, "run-1"), (1, "run-1")}
    assert (await store.status())[0].stopped == 2
    assert await store.parked_at(projection, Position(0, 4)) == behind
    assert await store.parked_of(projection, (0, "run-1")) == [first, behind]

    again = behind._replace(why="failed", stops=True, error="KeyError: 1")
    freed = (first.position, behind.position)
    await store.commit([replace(change(offset=10, to=20, parked=(again,)), freed=freed)])

    assert await store.parked(projection) == [again, elsewhere]
    assert await store.parked_at(projection, first.position) is None
    await store.commit([replace(change(offset=20, to=30), freed=(again.position,))])
    assert await store.parked_of(projection, (0, "run-1")) == []
    assert (await store.install(projection, IDENTITY)).stopped == {(1, "run-1")}
