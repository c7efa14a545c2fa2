"""What was parked is retried or skipped at a place in the log: every fold of it comes out alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshline.events.codec import encode
from meshline.events.envelope import Position, Recorded
from meshline.events.facts import (
    Fact,
    OwnerAssigned,
    ParkedEventRetried,
    ParkedEventSkipped,
    RunStarted,
)
from meshline.events.log import Entry
from meshline.events.requests import Request
from meshline.projections import history_view
from meshline.projections.as_of import Moment, fold_as_of, fold_history
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.intake import Item, Undecodable
from meshline.projections.memory_store import MemoryStore
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, RowAccess
from meshline.projections.rebuild import Rebuild
from meshline.projections.recall import recall_among
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch, View
from tests.projections.given import IDENTITY, RUN, numbered, said, view_after
from tests.projections.streams import Partition, Stream, fill, new_log
from tests.projections.test_diff import fed
from tests.projections.test_from_scratch import in_batches
from tests.projections.test_view import FINE, OTHER, POISON, Owners, owners, projection

VIEW = projection.name


def retried(offset: int, view: str = VIEW) -> ParkedEventRetried:
    return ParkedEventRetried(view=view, partition=0, offset=offset)


def skipped(offset: int, view: str = VIEW) -> ParkedEventSkipped:
    return ParkedEventSkipped(view=view, partition=0, offset=offset, reason="never mind")


async def rows_and_parked(*events: Any) -> tuple[list[str], list[tuple[int, str]]]:
    _, store = await view_after(projection, *events)
    parked = await store.parked(projection)
    return (
        [row.owners for row in await store.rows(owners)],
        [(p.position.offset, p.why) for p in parked],
    )


# -- one after the other -----------------------------------------------------------------------


async def test_a_skip_leaves_out_the_event_and_applies_what_waited() -> None:
    events = [FINE, POISON, FINE, said(FINE, run=OTHER), FINE, skipped(1), FINE]

    rows, parked = await rows_and_parked(*events)

    assert (rows, parked) == (["team:a team:a team:a team:a", "team:a"], [])


async def test_what_fails_again_is_parked_again_with_the_rest_behind_it() -> None:
    rows, parked = await rows_and_parked(POISON, FINE, FINE, retried(0), FINE)

    assert (rows, parked) == ([], [(0, "failed"), (1, "behind"), (2, "behind"), (4, "behind")])


async def test_the_next_poison_event_stops_again_after_a_skip() -> None:
    rows, parked = await rows_and_parked(POISON, FINE, POISON, FINE, skipped(0), FINE)

    assert (rows, parked) == (["team:a"], [(2, "failed"), (3, "behind"), (5, "behind")])


async def test_an_event_that_only_waits_may_be_skipped_too() -> None:
    rows, parked = await rows_and_parked(POISON, FINE, FINE, skipped(1), skipped(0))

    assert (rows, parked) == (["team:a"], [])


async def test_what_is_said_to_another_view_or_about_nothing_parked_changes_nothing() -> None:
    events = [FINE, POISON, FINE, skipped(1, "runs"), skipped(0), retried(2, "runs")]

    assert await rows_and_parked(*events) == (["team:a"], [(1, "failed"), (2, "behind")])


async def test_a_skip_never_takes_back_what_was_applied() -> None:
    """As in a rebuild with new code that can apply what the old one could not."""
    rows, parked = await rows_and_parked(FINE, FINE, skipped(0), FINE)

    assert (rows, parked) == (["team:a team:a team:a"], [])


@pytest.mark.parametrize("cut", range(1, 9))
async def test_it_is_the_same_in_one_batch_and_in_two(cut: int) -> None:
    wishes = [skipped(1), skipped(1), retried(3), skipped(3)]
    items = numbered([FINE, POISON, FINE, POISON, FINE, *wishes])
    found = []
    for end in (len(items), cut):
        view, store = await view_after(projection, *items[:end])
        view._recall = recall_among({item.position: item for item in items})
        if end < len(items):
            batch = Batch(items[end:], {0: end}, {0: Checkpoint(len(items))})
            stopped = {*view.stopped}
            first = await view.prepare(batch, checked=True)
            view.forget()
            assert view.stopped == stopped
            change = await view.prepare(batch)
            assert change is not None and change == first
            await store.commit([change])
            view.committed(change)
        found.append((await store.rows(owners), await store.parked(projection), view.stopped))

    assert found[0] == found[1]
    assert found[0][1:] == ([], set())


async def test_a_row_that_no_store_can_keep_is_found_again_when_it_is_retried() -> None:
    bad = OwnerAssigned(owner="a\x00b")

    rows, parked = await rows_and_parked(FINE, bad, FINE, retried(1), skipped(1))
    assert (rows, parked) == (["team:a team:a"], [])
    assert (await rows_and_parked(FINE, bad, FINE, retried(1)))[1] == [(1, "failed"), (2, "behind")]


async def test_what_could_not_be_read_is_applied_once_it_can_be() -> None:
    old: list[Item] = [
        Undecodable(Position(0, 0), RUN, "meshline.owner.assigned.v9", "newer", True),
        said(FINE, 1),
        Undecodable(Position(0, 2), "", "", "no JSON", False),
    ]
    store = MemoryStore()
    # Another program reads the same places after an upgrade.
    now: dict[Position, Item] = {Position(0, 0): said(OwnerAssigned(owner="team:new"), 0)}
    recall = recall_among({i.position: i for i in old} | now)
    view = View(projection, store, await store.install(projection, IDENTITY), recall)
    wishes: list[Item] = [said(retried(0), 3), said(skipped(2), 4, run="")]

    for start, items in ((0, old), (3, wishes)):
        end = {0: Checkpoint(start + len(items))}
        change = await view.prepare(Batch(items, {0: start}, end))
        assert change is not None
        await store.commit([change])
        view.committed(change)

    assert [row.owners for row in await store.rows(owners)] == ["team:new team:a"]
    assert await store.parked(projection) == []


async def test_a_skip_of_what_stops_nothing_lets_nothing_go_that_waits_for_another() -> None:
    noise = Undecodable(Position(0, 1), RUN, "", "no JSON", False)

    rows, parked = await rows_and_parked(POISON, noise, FINE, skipped(1))

    assert (rows, parked) == ([], [(0, "failed"), (2, "behind")])


async def test_of_an_entity_that_fails_again_only_the_first_is_read_again() -> None:
    items = numbered([POISON, *[FINE] * 50])
    view, store = await view_after(projection, *items)
    read: list[int] = []

    async def recall(parked: Sequence[Any]) -> list[Item]:
        read.extend(p.position.offset for p in parked)
        return [items[p.position.offset] for p in parked]

    view._recall = recall
    for offset, wish, expected in ((51, retried(0), [0]), (52, skipped(0), list(range(1, 51)))):
        read.clear()
        change = await view.prepare(
            Batch([said(wish, offset)], {0: offset}, {0: Checkpoint(offset + 1)})
        )
        assert change is not None and read == expected
        await store.commit([change])
        view.committed(change)

    assert (await store.rows(owners))[0].owners == " ".join(["team:a"] * 50)


async def test_an_entity_is_stopped_in_its_partition_only() -> None:
    by_owner = Projection("by_owner", version=1, entity=lambda e: "all")
    table = by_owner.table("by_owner", Owners, key=["run_id"])

    @by_owner.on(OwnerAssigned)
    def put(rows: RowAccess, event: Recorded[Any]) -> None:
        if event.event.data.owner == "poison":
            raise ValueError
        rows.put(table, Owners(str(event.position), event.event.data.owner))

    _, store = await view_after(by_owner, POISON, said(FINE, run=OTHER))
    assert len(await store.parked(by_owner)) == 2
    log = await new_log()
    stream = Stream(1)
    for number in (0, 1):
        stream.say(RUN, POISON if number == 0 else FINE, partition=stream.partitions[number])
    await fill(log, stream.entries)

    store = await fold_views(log, [by_owner])

    assert [p.position.partition for p in await store.parked(by_owner)] == [0]
    assert [row.run_id for row in await store.rows(table)] == ["1:2"]


# -- at random places --------------------------------------------------------------------------


class Told(NamedTuple):
    """What is of no run has rows in each partition: between those there is no order."""

    run_id: str
    partition: int
    events: str


class Mood(NamedTuple):
    partition: int
    told: int


class Line(NamedTuple):
    partition: int
    log_offset: int


def moody() -> Projection:
    """It fails by what other runs of the partition did, so that a retry may go well."""
    made = Projection("moody", version=1)
    told = made.table("told", Told, key=["run_id", "partition"])
    mood = made.table("mood", Mood, key=["partition"])
    lines = made.table("lines", Line, key=["partition", "log_offset"], append_only=True)

    @made.on(Fact, Request)
    def tell(rows: RowAccess, event: Recorded[Any]) -> None:
        (partition, offset), run_id = event.position, event.event.subject
        rows.append(lines, Line(partition, offset))
        before = rows.get(mood, partition) or Mood(partition, 0)
        rows.put(mood, Mood(partition, before.told + 1))
        if before.told % 23 == 7 and type(event.event.data) is not RunStarted:
            rows.put(mood, Mood(partition, -1))
            raise ValueError(f"not now, {before.told}")
        row = rows.get(told, run_id, partition) or Told(run_id, partition, "")
        rows.put(told, Told(run_id, partition, f"{row.events} {offset}"))

    return made


BAD = ("team:apac", "user:bob")


def _by_run_and_partition(event: Recorded[Any]) -> list[tuple[str, int]]:
    return [(event.event.subject, event.position.partition)]


def fussy(can_bear: str = "") -> Projection:
    """It fails by what the event says; each run stands for itself."""
    made = Projection("fussy", version=1)
    table = made.table("fussy", Told, key=["run_id", "partition"], keys=_by_run_and_partition)

    @table.on(Fact)
    def tell(row: Told | None, event: Recorded[Any]) -> Told:
        owner = getattr(event.event.data, "owner", "")
        if owner in BAD and owner != can_bear:
            raise ValueError(owner)
        partition, offset = event.position
        return Told(event.event.subject, partition, f"{row.events if row else ''} {offset}")

    return made


class Wishful(Stream):
    """A log in which people retry and skip what may be parked, or not, and foreign bytes stand."""

    def __init__(self, seed: int) -> None:
        self.suspects: list[tuple[Partition, int, str]] = []
        super().__init__(seed)

    def say(self, run_id: str, data: Any, cause: str | None = None, **more: Any) -> int:
        offset = super().say(run_id, data, cause, **more)
        partition: Partition = more.get("partition") or self.of(run_id)
        if getattr(data, "owner", "") in BAD or self.random.random() < 0.1:
            self.suspects.append((partition, offset, run_id))
        chance = self.random.random()
        if chance < 0.03:
            offset = self.raw(partition.number, "", b"no event")
            self.suspects.append((partition, offset, ""))
        elif chance < 0.06:
            self.suspects.append((partition, self.newer(partition, run_id), run_id))
        while self.suspects and self.random.random() < 0.3:
            self.wish(*self.suspects[-self.random.randrange(1, 12) :][0])
        return offset

    def newer(self, partition: Partition, run_id: str) -> int:
        """A fact of a version that this program does not know."""
        partition.sequence += 1
        event = self.event(run_id, OwnerAssigned(owner="team:emea"))
        value = encode(event.numbered(partition.epoch, partition.sequence, "keeper"))
        return self.raw(partition.number, run_id, value.replace(b"assigned.v1", b"assigned.v9"))

    def wish(self, partition: Partition, offset: int, run_id: str) -> None:
        kind = self.random.choice([ParkedEventRetried, ParkedEventSkipped, ParkedEventSkipped])
        view = self.random.choice(["moody", "fussy", "fussy", "runs"])
        data = kind(view=view, partition=partition.number, offset=offset, reason="tried")
        super().say(run_id, data, partition=partition)


def wishful(seed: int, runs: int = 12) -> Wishful:
    stream = Wishful(seed)
    stream.register()
    stream.tell(runs)
    return stream


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 1.0]))
async def test_live_as_of_and_rebuilt_are_the_same(seed: int, restart: float) -> None:
    stream = wishful(seed)
    views = [moody(), fussy()]
    log = await new_log()
    await fill(log, stream.entries)
    ends = await log.ends()

    scratch = await fold_views(log, views)
    kept = await in_batches(stream, seed, restart, views)
    as_of = await fold_as_of(log, views, Moment(offsets={p: end - 1 for p, end in ends.items()}))

    for store in (kept, as_of):
        assert await compare_views(store, scratch, views) == []
        for view in views:
            assert await store.parked(view) == await scratch.parked(view)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0, 1))
async def test_a_run_as_of_a_moment_is_made_from_its_history_alone(seed: int, when: float) -> None:
    stream, view = wishful(seed), fussy()
    log = await new_log()
    await fill(log, stream.entries)
    history = await (await fold_views(log, [history_view.projection])).rows(history_view.history)
    times: list[datetime] = sorted(row.time for row in history)
    moment = Moment(time=times[int(when * (len(times) - 1))])

    everything = await fold_as_of(log, [view], moment)

    # What this program can't read stops a run in the log, and is no row of its history.
    unreadable = {p.entity for p in await everything.parked(view) if p.why == "unreadable"}
    newer = {entry.key for _, entry in stream.entries if b"assigned.v9" in entry.value}
    expected = {row.run_id: row for row in await everything.rows(view.tables[0])}
    for run_id in {row.run_id for row in history if row.run_id} - unreadable - newer:
        of_run = [row for row in history if row.run_id == run_id]
        alone = await fold_history(of_run, [view], moment)
        rows = await alone.rows(view.tables[0])
        assert rows == [expected[run_id]] if run_id in expected else rows == []


async def test_wishes_matter_in_the_random_logs() -> None:
    """Else the properties above would say little."""
    views = [moody(), fussy()]
    freed, left = 0, 0
    for seed in range(4):
        entries = wishful(seed, 40).entries
        parked: list[set[tuple[str, Position]]] = []
        for said_to in (lambda entry: entry, to_nobody):
            log = await new_log()
            await fill(log, [(p, said_to(entry)) for p, entry in entries])
            store = await fold_views(log, views)
            parked.append({(v.name, p.position) for v in views for p in await store.parked(v)})
        heard, unheard = parked
        freed += len(unheard - heard)
        left += len(heard)

    assert freed > 200 and left > 200


def to_nobody(entry: Entry) -> Entry:
    return entry._replace(value=entry.value.replace(b'"view":"', b'"view":"no'))


@pytest.mark.postgres
@pytest.mark.parametrize("seed", [3, 4])
async def test_postgresql_holds_the_same_live_and_rebuilt(postgres_address: str, seed: int) -> None:
    views = [moody(), fussy()]
    async with fed(postgres_address, views, stream=wishful(seed, 40)) as log:
        scratch = await fold_views(log, views)
        rebuild = Rebuild(log, postgres_address, views)
        async for _ in rebuild.run():
            pass
        rebuilt = {name: build.build for name, build in rebuild.builds.items()}
        for builds in ({}, rebuilt):
            store = PostgresStore(postgres_address, builds=builds)
            assert await compare_views(store, scratch, views) == []
            for view in views:
                assert await store.parked(view) == await scratch.parked(view) != []
            await store.aclose()
    assert set(rebuilt.values()) == {2}


async def test_new_code_that_can_apply_the_event_has_nothing_to_skip() -> None:
    log = await new_log()
    stream = wishful(11, 40)
    await fill(log, stream.entries)
    old, new = fussy(), fussy(can_bear="team:apac")

    before, after = await fold_views(log, [old]), await fold_views(log, [new])

    of_old, of_new = (
        applied(await before.rows(old.tables[0])),
        applied(await after.rows(new.tables[0])),
    )
    skips = [e.value for _, e in stream.entries if b"event.skipped" in e.value]
    assert len(of_new - of_old) > 10 and len(skips) > 10
    assert of_old - of_new == set()


def applied(rows: list[Told]) -> set[tuple[int, str]]:
    return {(row.partition, offset) for row in rows for offset in row.events.split()}
