"""Snapshots in PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from meshline.engine.core.state import REDUCER_VERSION, PartitionState
from meshline.engine.snapshots import dump_state, load_state
from meshline.events.crash_points import crash_point

__all__ = ["PostgresSnapshots"]

logger = logging.getLogger("meshline.engine")

LOAD_S = 30.0
SAVE_S = 30.0
CLOSE_S = 5.0
"""A server that does not answer is not waited for: it keeps nothing that the log does not have."""

_FAILURES = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""A time-out is an OSError too. The last is a connection that its library has lost track of."""

_TABLES = """
create schema if not exists {schema};
create table if not exists {schema}.snapshots (
    log_id text not null,
    partition int not null,
    reducer_version int not null,
    position bigint not null,
    chunk int not null,
    body bytea not null,
    taken_at timestamptz not null default now(),
    primary key (log_id, partition, reducer_version, position, chunk)
)
"""


def _uncollected(chunks: list[bytes]) -> PartitionState:
    """Load a state apart from the garbage collector, which finds nothing in it.

    States hold no cycles. Looking for some while a hundred thousand runs are made took half of the
    time (measured: 40 µs a run with it, 21 without), and at every full collection later some more.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        state = load_state(iter(chunks))
        gc.freeze()
        return state
    finally:
        if was_enabled:
            gc.enable()


class PostgresSnapshots:
    """See ``SnapshotStore``.

    The server need not be there: without it starts take longer, and that is said.

    Args:
        dsn: of the database; the same as the views', or another.
        log_id: of the log that the states are folded from: another log's never fit.
        schema: where the table is; made if it is not there.
        load_s, save_s: how long to wait for the server.
    """

    def __init__(
        self,
        dsn: str,
        log_id: str,
        *,
        schema: str = "meshline_engine",
        load_s: float = LOAD_S,
        save_s: float = SAVE_S,
    ) -> None:
        self._dsn = dsn
        self._log_id = log_id
        self._schema = schema
        self._load_s = load_s
        self._save_s = save_s
        self._pool: asyncpg.Pool[Any] | None = None
        self._has_table = False
        self._saving: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._silent_until = 0.0

    async def open(self) -> None:
        """Connects to nobody yet."""
        self._pool = await asyncpg.create_pool(self._dsn, min_size=0, max_size=2)

    @asynccontextmanager
    async def _connection(self, seconds: float) -> AsyncGenerator[Any]:
        """A connection to a database that has the table, for so long."""
        assert self._pool is not None, "open() first"
        async with asyncio.timeout(seconds):
            connection = await self._pool.acquire()
            try:
                if not self._has_table:
                    await self._make_table(connection)
                    self._has_table = True
                yield connection
            except (TimeoutError, asyncio.CancelledError, asyncpg.InternalClientError):
                # It may be in the middle of an answer that never comes.
                connection.terminate()
                raise
            finally:
                await self._pool.release(connection, timeout=1.0)

    async def _make_table(self, connection: Any) -> None:
        async with connection.transaction():
            # "if not exists" is no lock: two that begin at once would collide.
            await connection.execute("select pg_advisory_xact_lock(hashtext($1))", self._schema)
            await connection.execute(_TABLES.format(schema=self._schema))

    async def load(self, partition: int) -> PartitionState | None:
        # One after the other: all at once would each take as long as all together. And where one
        # got no answer, those behind it need not ask.
        async with self._loading:
            loop = asyncio.get_running_loop()
            if loop.time() < self._silent_until:
                logger.warning("No snapshot of partition %d: the server is silent", partition)
                return None
            try:
                return await self._load(partition)
            except (*_FAILURES, ValueError, KeyError, TypeError) as error:
                if isinstance(error, TimeoutError):
                    self._silent_until = loop.time() + self._load_s
                logger.warning(
                    "No snapshot of partition %d could be used; folding the log instead",
                    partition,
                    exc_info=True,
                )
                return None

    async def _load(self, partition: int) -> PartitionState | None:
        try:
            chunks = await self._read(partition)
        except (
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            ConnectionError,
        ):
            # A server that was started anew has closed what the pool still takes for open.
            chunks = await self._read(partition)
        return await asyncio.to_thread(_uncollected, chunks) if chunks else None

    async def _read(self, partition: int) -> list[bytes]:
        async with self._connection(self._load_s) as connection:
            rows = await connection.fetch(
                f"select body from {self._schema}.snapshots"
                " where (log_id, partition, reducer_version) = ($1, $2, $3) and position = ("
                f"  select max(position) from {self._schema}.snapshots"
                "   where (log_id, partition, reducer_version) = ($1, $2, $3))"
                " order by chunk",
                self._log_id,
                partition,
                REDUCER_VERSION,
            )
        return [bytes(row["body"]) for row in rows]

    async def save(self, state: PartitionState) -> None:
        await self._begin(state)

    def save_later(self, state: PartitionState) -> None:
        task = asyncio.get_running_loop().create_task(self._begin(state))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    def _begin(self, state: PartitionState) -> Coroutine[Any, Any, None]:
        """Take at once, before anything is awaited, what can change; return what is left to do."""
        chunks = dump_state(state)
        first = next(chunks)
        return self._finish(state.partition, state.next_offset, first, chunks)

    async def _finish(
        self, partition: int, position: int, first: bytes, chunks: Iterator[bytes]
    ) -> None:
        rest = await asyncio.to_thread(lambda: list(chunks))
        await self._write(partition, position, [first, *rest])

    async def _write(self, partition: int, position: int, chunks: list[bytes]) -> None:
        key = (self._log_id, partition, REDUCER_VERSION)
        crash_point("snapshot.before")
        try:
            async with self._connection(self._save_s) as connection, connection.transaction():
                await connection.execute(
                    f"delete from {self._schema}.snapshots"
                    " where (log_id, partition, reducer_version) = ($1, $2, $3)",
                    *key,
                )
                crash_point("snapshot.half")
                await connection.executemany(
                    f"insert into {self._schema}.snapshots"
                    " (log_id, partition, reducer_version, position, chunk, body)"
                    " values ($1, $2, $3, $4, $5, $6)",
                    [(*key, position, number, body) for number, body in enumerate(chunks)],
                )
        except _FAILURES:
            # A cache: without it the next start only takes longer.
            logger.warning("No snapshot of partition %d was kept", partition, exc_info=True)
        else:
            crash_point("snapshot.after")

    async def aclose(self) -> None:
        if self._saving:
            await asyncio.wait(self._saving, timeout=CLOSE_S)
        if self._pool is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
