"""Two builds that different processes write are compared at the same positions, however busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshline.events.log import Entry
from meshline.projections.diff import diff_view
from meshline.projections.from_scratch import fold_views
from meshline.projections.hold import hold_level
from meshline.projections.postgres_connection import Connection, parse_address
from meshline.projections.postgres_schema import Books
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.settings import ProjectorSettings
from tests.projections.streams import fill, new_log, write
from tests.projections.test_diff import expected, rule

pytestmark = pytest.mark.postgres

WRITERS = (
    ProjectorSettings(batch_records_max=37, commit_interval_s=0.002),
    ProjectorSettings(batch_records_max=11, commit_interval_s=0.005),
)


class Busy:
    """A log that grows all the time, and two projectors that each feed one version of a view."""

    def __init__(self, address: str) -> None:
        self.log: Any = None
        self.stores = [PostgresStore(address), PostgresStore(address)]
        self.appended = 0
        self._rest: list[tuple[int, Entry]] = write(5, 4_000).entries

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Busy]:
        self.log = await new_log()
        await self._append(400)
        projectors = []
        for number, store in enumerate(self.stores):
            await store.open()
            projector = Projector(self.log, store, [rule(number + 1)[0]], WRITERS[number])
            projectors.append((projector, asyncio.create_task(projector.run())))
        growing = asyncio.create_task(self._grow())
        try:
            await self.offsets_when(2, lambda each: all(sum(o.values()) > 100 for o in each))
            yield self
        finally:
            growing.cancel()
            await asyncio.gather(growing, return_exceptions=True)
            for projector, task in projectors:
                projector.stop()
                await task
            for store in self.stores:
                await store.aclose()

    async def _append(self, count: int) -> None:
        some, self._rest = self._rest[:count], self._rest[count:]
        self.appended += len(some)
        await fill(self.log, some)

    async def _grow(self) -> None:
        while self._rest:
            await self._append(5)
            await asyncio.sleep(0.004)

    async def offsets_when(self, views: int, holds: Any, within_s: float = 20.0) -> Any:
        async with asyncio.timeout(within_s):
            while True:
                statuses = await self.stores[0].status()
                each = [{p: c.offset for p, c in s.checkpoints.items()} for s in statuses]
                if len(each) == views and holds(each):
                    return each
                await asyncio.sleep(0.01)


async def test_both_are_level_under_load_and_go_on_afterwards(postgres_address: str) -> None:
    async with Busy(postgres_address).running() as busy:
        past: dict[int, int] = {}
        for _ in range(4):
            before = busy.appended
            found = await diff_view(postgres_address, "mine", samples_max=0, wait_s=30)
            assert found.old.offsets == found.new.offsets
            past = dict(found.old.offsets)
            await asyncio.sleep(0.1)
            assert busy.appended > before, "the log has to grow while they are compared"

        def have_gone_on(each: list[dict[int, int]]) -> bool:
            return all(offset > past[p] for offsets in each for p, offset in offsets.items())

        await busy.offsets_when(2, have_gone_on)
        # The rows are those of a fold, across the parts in which they were written.
        busy._rest.clear()
        ends = await busy.log.ends()
        await busy.offsets_when(2, lambda each: all(offsets == ends for offsets in each))
        for version, store in enumerate(busy.stores, 1):
            projection, table = rule(version)
            folded = await fold_views(busy.log, [projection])
            assert await store.rows(table) == await folded.rows(table)
        last = await diff_view(postgres_address, "mine", samples_max=0, wait_s=30)
        kinds, _, _, _ = await expected(busy.log)
        (table_diff,) = last.tables
        assert table_diff.changed == kinds["changed"] > 0


async def test_a_hold_that_nobody_takes_back_ends_by_itself(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshline.projections.hold.HOLD_S", 5.0)
    connection = Connection(parse_address(postgres_address))
    books = Books(connection.address.namespace)
    async with Busy(postgres_address).running() as busy:
        async with connection.transaction() as session:
            assert await hold_level(session, books, ("mine", 1, 1), ("mine", 2, 1))
        await connection.aclose()

        first = await busy.offsets_when(2, lambda each: each[0] == each[1])
        await asyncio.sleep(0.3)
        again = await busy.offsets_when(2, lambda each: True)
        assert again == first, "they stand still"

        await busy.offsets_when(2, lambda each: all(sum(o.values()) > 900 for o in each))
