"""Reading from PostgreSQL: many partitions in one query, and only those that have news."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import asyncpg

from meshline.events.errors import PositionLost
from meshline.events.log.postgres_link import ANSWER_S, LOST, Link, LinkDown, is_lost
from meshline.events.log.postgres_news import News
from meshline.events.log.postgres_schema import Statements
from meshline.events.log.protocol import LogRecord
from meshline.events.log.waiting import wait_at_most

__all__ = ["PostgresReader"]

FETCH_BYTES_MAX = 8 * 1024 * 1024
"""In one fetch, all partitions together; one record at least."""
RECONNECT_S = 0.25
"""How long a fetch that doesn't wait tries to reach a server that is away."""


class PostgresReader:
    """See ``LogReader``. While PostgreSQL is away, a fetch returns nothing, and later goes on."""

    def __init__(
        self, dsn: str, statements: Statements, news: News, log_id: str, start: Mapping[int, int]
    ) -> None:
        self._statements = statements
        self._news = news
        self._log_id = log_id
        self._link = Link(dsn, "meshline-log-read")
        self._next = dict(start)
        self._unchecked = True
        self._woken = False
        self._grown = asyncio.Event()
        self._reading: asyncio.Task[list[asyncpg.Record]] | None = None
        news.readers.add(self._grown)

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_s
        while True:
            self._grown.clear()
            try:
                found = await self._take(records_max, give_up)
            except LinkDown:
                found = {}
            left_s = give_up - loop.time()
            if found or self._woken or left_s <= 0:
                self._woken = False
                return found
            await wait_at_most(left_s, self._grown)

    async def _take(self, records_max: int, give_up: float) -> dict[int, list[LogRecord]]:
        patience = max(give_up, asyncio.get_running_loop().time() + RECONNECT_S)
        if self._reading is not None:
            # Left behind by a fetch that was cancelled.
            found = self._accept(await self._answer(self._reading), records_max)
            if found:
                return found
        behind = self._behind()
        if not behind and (self._unchecked or give_up <= asyncio.get_running_loop().time()):
            await self._check(patience)
            behind = self._behind()
        if not behind:
            return {}
        self._reading = asyncio.create_task(self._read(behind, records_max, patience))
        found = self._accept(await self._answer(self._reading), records_max)
        if not found and behind == self._behind():
            await self._check(patience)
            if behind == self._behind():
                partition, offset = next(iter(behind.items()))
                raise PositionLost(
                    f"Partition {partition} ends at {self._news.end(partition)}, but has no record "
                    f"{offset}: records were deleted. Do not go on; restore the log."
                )
        return found

    async def _answer(self, reading: asyncio.Task[list[asyncpg.Record]]) -> list[asyncpg.Record]:
        # Shielded: a fetch that is cancelled leaves the answer to the next one.
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    def _behind(self) -> dict[int, int]:
        """Where there is more to read; another partition first each time, so that none starves."""
        behind = {p: offset for p, offset in self._next.items() if self._news.end(p) > offset}
        if len(behind) > 1:
            first = next(iter(self._next))
            self._next[first] = self._next.pop(first)
        return behind

    async def _check(self, give_up: float) -> None:
        """Compare the positions with the log's true ends."""
        ends = await self._news.refresh(give_up)
        self._unchecked = False
        for partition, offset in self._next.items():
            # What was appended after the question may be known by now.
            end = max(ends.get(partition, 0), self._news.end(partition))
            if offset > end:
                self._unchecked = True
                raise PositionLost(
                    f"Partition {partition} ends at {end}, but is read from {offset} on: the log "
                    "was cut off, or the position is another log's. Do not go on; restore the log."
                )

    async def _read(
        self, behind: dict[int, int], records_max: int, give_up: float
    ) -> list[asyncpg.Record]:
        while True:
            connection = await self._link.connection(give_up)
            try:
                return await connection.fetch(
                    self._statements.read,
                    list(behind),
                    list(behind.values()),
                    records_max,
                    FETCH_BYTES_MAX,
                    self._log_id,
                    timeout=ANSWER_S,
                )
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                raise self._news.recreated("") from None
            except LOST as error:
                if not is_lost(error):
                    raise
                self._link.drop()
                if asyncio.get_running_loop().time() >= give_up:
                    raise LinkDown(f"{type(error).__name__}: {error}") from error

    def _accept(self, rows: list[asyncpg.Record], records_max: int) -> dict[int, list[LogRecord]]:
        if rows and rows[-1][0] == -1:
            raise self._news.recreated(rows[-1][2])
        found: dict[int, list[LogRecord]] = {}
        new_record = LogRecord._make
        for row in rows:
            partition, offset = row[0], row[1]
            # Read already, removed, or moved meanwhile; or a gap, which the next fetch finds.
            if self._next.get(partition) != offset or records_max <= 0:
                continue
            self._next[partition] = offset + 1
            records_max -= 1
            if partition in found:
                found[partition].append(new_record(row))
            else:
                found[partition] = [new_record(row)]
        return found

    def add(self, partition: int, offset: int) -> None:
        self._next[partition] = offset
        self._unchecked = True
        self._grown.set()

    def remove(self, partition: int) -> None:
        self._next.pop(partition, None)

    def advance(self, partition: int, offset: int) -> None:
        if partition in self._next:
            self._next[partition] = max(offset, self._next[partition])

    def wake(self) -> None:
        self._woken = True
        self._grown.set()

    @property
    def is_closed(self) -> bool:
        return self._grown not in self._news.readers

    async def aclose(self) -> None:
        self._news.readers.discard(self._grown)
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._reading
        await self._link.aclose()
