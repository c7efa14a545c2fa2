from __future__ import annotations

from typing import Any, NamedTuple

from meshline.events.envelope import Position, Recorded
from meshline.events.facts import Fact, OwnerAssigned, RunStarted
from meshline.projections.intake import Undecodable
from meshline.projections.projection import Projection, RowAccess, by_run
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch
from tests.projections.given import RUN, numbered, said, view_after
from tests.projections.test_runs_view import STARTED

OTHER = "22222222-2222-5222-8222-222222222222"
POISON = OwnerAssigned(owner="poison")
FINE = OwnerAssigned(owner="team:a")


class Owners(NamedTuple):
    run_id: str
    owners: str


projection = Projection("owners", version=1)
owners = projection.table("owners", Owners, key=["run_id"], keys=by_run)
notes = projection.table("notes", Owners, key=["run_id"])


@projection.on(OwnerAssigned)
def note(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
    rows.put(notes, Owners(event.event.subject, event.event.data.owner))


@owners.on(OwnerAssigned)
def add(row: Owners | None, event: Recorded[OwnerAssigned]) -> Owners:
    owner = event.event.data.owner
    if owner == "poison":
        raise ValueError("a poison\x00ous owner")
    return Owners(event.event.subject, (row.owners + " " if row else "") + owner)


async def test_a_poison_event_parks_its_run_and_nothing_else() -> None:
    _, store = await view_after(
        projection, FINE, POISON, FINE, said(FINE, run=OTHER), said(FINE, run=OTHER)
    )

    assert await store.rows(owners) == [Owners(RUN, "team:a"), Owners(OTHER, "team:a team:a")]
    parked = await store.parked(projection)
    assert [(p.position, p.why, p.stops) for p in parked] == [
        ((0, 1), "failed", True),
        ((0, 2), "behind", False),
    ]
    assert parked[0].error == "ValueError: a poison\\u0000ous owner"
    assert "in add" in parked[0].stack


async def test_what_a_poison_event_did_before_it_failed_is_taken_back() -> None:
    _, store = await view_after(projection, FINE, POISON)

    assert await store.rows(notes) == [Owners(RUN, "team:a")]


async def test_a_stopped_run_stays_stopped_in_the_next_batch() -> None:
    view, store = await view_after(projection, POISON)

    items = numbered([STARTED, FINE])
    change = await view.prepare(Batch(items[1:], {0: 1}, {0: Checkpoint(2)}))
    assert change is not None
    await store.commit([change])

    assert [p.why for p in await store.parked(projection)] == ["failed", "behind"]
    assert await store.rows(owners) == []


async def test_a_batch_that_was_not_committed_can_be_prepared_again() -> None:
    view, _ = await view_after(projection, FINE)
    batch = Batch(numbered([FINE, POISON, FINE])[1:], {0: 1}, {0: Checkpoint(3)})

    first = await view.prepare(batch)
    view.forget()
    second = await view.prepare(batch)

    assert first == second
    assert first is not None and len(first.parked) == 2


async def test_a_batch_that_begins_before_the_checkpoint_is_taken_from_there_on() -> None:
    view, _ = await view_after(projection, FINE, FINE)
    batch = Batch(numbered([FINE, FINE, FINE]), {0: 0}, {0: Checkpoint(3)})

    change = await view.prepare(batch)

    assert change is not None
    assert change.tables[0].changed == [Owners(RUN, "team:a team:a team:a")]
    assert await view.prepare(Batch((), {0: 0}, {0: Checkpoint(2)})) is None


async def test_a_row_that_no_store_can_keep_parks_its_event() -> None:
    _, store = await view_after(projection, FINE, OwnerAssigned(owner="a\x00b"), FINE)

    assert await store.rows(owners) == [Owners(RUN, "team:a")]
    assert "U+0000" in (await store.parked(projection))[0].error


async def test_an_unreadable_fact_stops_its_run_and_other_unreadable_things_are_shown() -> None:
    fact = Undecodable(Position(0, 1), RUN, "meshline.owner.assigned.v9", "newer", True)
    noise = Undecodable(Position(0, 2), OTHER, "", "no JSON", False)
    view, store = await view_after(projection, STARTED)

    items: list[Any] = [fact, noise, said(FINE, 3), said(FINE, 4, run=OTHER)]
    change = await view.prepare(Batch(items, {0: 1}, {0: Checkpoint(5)}))
    assert change is not None
    await store.commit([change])

    assert await store.rows(owners) == [Owners(OTHER, "team:a")]
    assert [p.why for p in await store.parked(projection)] == [
        "unreadable", "unreadable", "behind",
    ]  # fmt: skip


async def test_an_entity_of_its_own_says_what_waits_behind_what() -> None:
    by_owner = Projection("by_owner", version=1, entity=lambda e: str(e.event.data.owner))
    table = by_owner.table("by_owner", Owners, key=["run_id"])

    @by_owner.on(OwnerAssigned)
    def put(rows: RowAccess, event: Recorded[Any]) -> None:
        if event.event.data.reason:
            raise ValueError
        rows.put(table, Owners(event.event.data.owner, event.event.subject))

    _, store = await view_after(
        by_owner, OwnerAssigned(owner="a", reason="x"), OwnerAssigned(owner="b"),
        OwnerAssigned(owner="a"),
    )  # fmt: skip

    assert [row.run_id for row in await store.rows(table)] == ["b"]
    assert [p.entity for p in await store.parked(by_owner)] == ["a", "a"]


async def test_an_error_in_keys_parks_the_event_too() -> None:
    def keys(event: Recorded[Any]) -> Any:
        raise KeyError("owner")

    broken = Projection("broken", version=1)
    table = broken.table("broken", Owners, key=["run_id"], keys=keys)
    table.on(RunStarted)(lambda row, event: None)

    _, store = await view_after(broken, STARTED)

    assert "KeyError" in (await store.parked(broken))[0].error


async def test_a_class_that_concerns_nobody_is_passed_over() -> None:
    view, store = await view_after(projection, STARTED, said(STARTED, run=OTHER))

    assert await store.rows(owners) == []
    assert view.checkpoints[0].offset == 2
    assert not issubclass(RunStarted, tuple(projection.handles)) and issubclass(RunStarted, Fact)
