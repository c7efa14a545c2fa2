"""Who read payloads: kept before they are shown, many at once, and nothing shown that is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from meshline.events.clock import ManualClock
from meshline.projections.errors import StoreUnavailable
from meshline.projections.queries import Views
from meshline.projections.readings import Readings
from meshline.projections.settings import ReadingSettings

pytestmark = pytest.mark.postgres


class Counted(Readings):
    """Counts what is written at once, and fails where it is told to."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.written: list[int] = []
        self.fails = 0

    async def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        self.written.append(len(rows))
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable("it is away")
        await super()._write(rows)


@pytest.fixture
async def readings(postgres_address: str) -> AsyncIterator[Counted]:
    readings = Counted(postgres_address)
    await readings.open()
    yield readings
    await readings.aclose()


@pytest.fixture
async def views(postgres_address: str) -> AsyncIterator[Views]:
    views = Views(postgres_address)
    yield views
    await views.aclose()


async def test_what_is_read_is_found_with_who_of_which_run_and_events(
    readings: Counted, views: Views
) -> None:
    await readings.note(
        "user:ada", "key 1", "data", "run R-1", items=2, run_ids=["R-1"], positions=["0:1", "0:3"]
    )
    await readings.note("user:bob", "", "payload", "triggers", run_ids=["R-1", "R-2"])

    bob, ada = (await views.readings()).rows
    assert (ada.actor, ada.credential, ada.what, ada.about) == (
        *("user:ada", "key 1", "data", "run R-1"),
    )
    assert (ada.items, ada.run_ids, ada.positions) == (2, ["R-1"], ["0:1", "0:3"])
    assert (bob.credential, bob.positions) == ("", [])
    assert (await views.readings(run_id="R-2")).rows == [bob]
    assert (await views.readings(actor="user:ada")).rows == [ada]
    assert (await views.readings(since=bob.read_at)).rows == [bob]
    assert (await views.readings(until=bob.read_at)).rows == [ada]
    first = await views.readings(limit=1)
    assert (first.rows, (await views.readings(limit=1, after=first.next)).rows) == ([bob], [ada])


async def test_before_anybody_could_read_there_is_nothing(views: Views) -> None:
    assert (await views.readings()).rows == []


async def test_what_is_older_than_it_is_kept_goes_in_small_batches(
    postgres_address: str, views: Views
) -> None:
    clock = ManualClock()
    settings = ReadingSettings(kept_days=30, batch_rows_max=3)
    readings = Readings(postgres_address, settings, clock=clock)
    await readings.open()
    try:
        for number in range(10):
            clock.set(clock.now() + timedelta(days=1))
            await readings.note(f"user:{number}", "", "data", "a run")
        clock.set(clock.now() + timedelta(days=23, seconds=1))
        swept = await asyncio.gather(readings.sweep(), readings.sweep())
        left = [row.actor for row in (await views.readings()).rows]
        again = await readings.sweep()
    finally:
        await readings.aclose()

    assert sum(swept) == 3 and again == 0
    assert left == [f"user:{number}" for number in reversed(range(3, 10))]


async def test_who_has_them_open_looks_for_old_ones_by_itself(
    postgres_address: str, views: Views
) -> None:
    readings = Readings(postgres_address, ReadingSettings(kept_days=0, sweep_s=0.05))
    await readings.open()
    try:
        for number in range(3):
            await readings.note(f"user:{number}", "", "data", "a run")
        async with asyncio.timeout(90):
            while (await views.readings()).rows:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await readings.aclose()


async def test_a_page_that_refreshes_is_noted_once_in_a_while_and_what_is_new_at_once(
    postgres_address: str, views: Views
) -> None:
    clock = ManualClock()
    readings = Readings(postgres_address, ReadingSettings(known_max=5), clock=clock)
    await readings.open()

    async def reads(actor: str = "user:ada", run: str = "R-1", *, refreshes: bool = True) -> int:
        await readings.note(actor, "", "data", "a list", run_ids=[run], refreshes=refreshes)
        return len((await views.readings(limit=100)).rows)

    try:
        assert [await reads(refreshes=False), await reads(), await reads()] == [1, 1, 1]
        assert await reads("user:bob") == 2, "another reader"
        assert await reads(run="R-2") == 3, "another thing"
        clock.set(clock.now() + timedelta(seconds=299))
        assert await reads() == 3
        clock.set(clock.now() + timedelta(seconds=1))
        assert [await reads(), await reads()] == [4, 4]
        assert await reads(refreshes=False) == 5, "who opens it anew reads it anew"
        for number in range(5):
            await reads(run=f"other {number}")
        assert len(readings._known) == 5
    finally:
        await readings.aclose()


async def test_what_could_not_be_noted_is_not_taken_as_noted(readings: Counted) -> None:
    readings.fails = 1
    with pytest.raises(StoreUnavailable):
        await readings.note("user:ada", "", "data", "a list", refreshes=True)
    await readings.note("user:ada", "", "data", "a list", refreshes=True)

    assert readings.written == [1, 1]


async def test_what_comes_while_one_is_written_is_written_at_once(
    readings: Counted, views: Views
) -> None:
    await asyncio.gather(*(readings.note(f"user:{n}", "", "data", "a run") for n in range(100)))

    assert sum(readings.written) == 100
    assert len(readings.written) < 5
    assert len({row.actor for row in (await views.readings(limit=1000)).rows}) == 100


async def test_who_could_not_be_noted_is_told_and_the_others_are_noted(
    readings: Counted, views: Views
) -> None:
    readings.fails = 2

    told = await asyncio.gather(
        *(readings.note(f"user:{n}", "", "data", "a run") for n in range(5)),
        return_exceptions=True,
    )

    refused = {f"user:{n}" for n, each in enumerate(told) if isinstance(each, StoreUnavailable)}
    kept = {row.actor for row in (await views.readings()).rows}
    assert len(refused) == 2
    assert kept == {f"user:{n}" for n in range(5)} - refused
