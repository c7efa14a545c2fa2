"""A place where Meshline runs: the addresses of its log and its views, and looks into both."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from meshline.events.log import EventLog, LogRecord, open_log
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_connection import parse_address
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, Table
from tests.acceptance.support.fleet import Member
from tests.acceptance.support.process_entry import QUICK

__all__ = ["Place", "Views", "every_record", "until"]

POLL_S = 0.25


class Place(NamedTuple):
    kind: str
    log: str
    views: str

    @property
    def snapshots(self) -> str:
        """The DSN of the database in which workers keep snapshots."""
        return parse_address(self.views).dsn

    @asynccontextmanager
    async def opened_log(self, partitions: int | None = None) -> AsyncGenerator[EventLog]:
        """The log; made with so many partitions where the number is given."""
        log = open_log(self.log, QUICK)
        await log.open(create_partitions=partitions)
        try:
            yield log
        finally:
            await log.aclose()

    @asynccontextmanager
    async def opened_views(self) -> AsyncGenerator[Views]:
        store = PostgresStore(self.views)
        await store.open()
        pool = await asyncpg.create_pool(self.snapshots, min_size=0, max_size=3)
        try:
            yield Views(store, pool, parse_address(self.views).namespace)
        finally:
            await pool.close()
            await store.aclose()


@dataclass
class Views:
    """The views as they are in the database."""

    store: PostgresStore
    pool: asyncpg.Pool[Any]
    namespace: str

    async def query(self, sql: str, *arguments: Any) -> list[Any]:
        """``{ns}`` in the statement stands for the schema of the stable names."""
        return await self.pool.fetch(sql.format(ns=self.namespace), *arguments)

    async def rows(self, table: Table[Any]) -> list[Any]:
        return await self.store.rows(table)

    async def said(self) -> Counter[str]:
        """How many events of each type the history has."""
        found = await self.query("select type, count(*) from {ns}.history group by type")
        return Counter({row[0]: row[1] for row in found})

    async def are_there(self) -> bool:
        names = {projection.name for projection in BUILT_IN}
        return (await self.store.live_checkpoints(names)).keys() == names

    async def are_at(self, ends: dict[int, int]) -> bool:
        """Whether every built-in view has read the whole log."""
        names = [projection.name for projection in BUILT_IN]
        positions = await self.store.live_checkpoints(names)
        return all(positions.get(name) == ends for name in names)

    async def parked(self) -> list[tuple[Projection, Any]]:
        return [(p, parked) for p in BUILT_IN for parked in await self.store.parked(p)]


async def until(
    what: str,
    limit_s: float,
    reached: Callable[[], Awaitable[bool]],
    poll_s: float = POLL_S,
    alive: Sequence[Member] = (),
) -> float:
    """Wait for something that must come, and return how long it took.

    Args:
        alive: processes that must not end meanwhile.
    """
    started = time.monotonic()
    while not await reached():
        for member in alive:
            assert member.is_running, f"{member.name} ended by itself:\n{member.said()[-5000:]}"
        if time.monotonic() - started > limit_s:
            raise AssertionError(f"Not within {limit_s:g} s: {what}")
        await asyncio.sleep(poll_s)
    return time.monotonic() - started


async def every_record(
    log: EventLog, start: Mapping[int, int] | None = None
) -> AsyncIterator[LogRecord]:
    """All records up to the present end, partition by partition; from the beginning, or on."""
    for partition, end in (await log.ends()).items():
        offset = (start or {}).get(partition, 0)
        reader = log.reader({partition: offset})
        try:
            while offset < end:
                fetched = await reader.fetch(5_000, 5.0)
                for record in fetched.get(partition, ()):
                    offset = record.offset + 1
                    if record.offset < end:
                        yield record
        finally:
            await reader.aclose()
