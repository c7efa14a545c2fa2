"""Views in PostgreSQL: rows, checkpoints and parked events, each batch in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from meshline.events.envelope import Position
from meshline.events.log import LogIdentity
from meshline.projections.code_hash import code_hash_of
from meshline.projections.errors import NotFound, StoreUnavailable
from meshline.projections.postgres_connection import Connection, Session, parse_address
from meshline.projections.postgres_schema import (
    Books,
    TableSql,
    create_view,
    create_view_schema,
    offsets_from,
    statuses_from,
)
from meshline.projections.projection import Key, Projection, Row, Table
from meshline.projections.rows import TableChange
from meshline.projections.store import (
    Change,
    Checkpoint,
    Installed,
    Parked,
    ViewStatus,
    check_layout,
    check_log,
    checkpoint_moved,
    layout_of,
)

__all__ = ["PostgresStore"]

R = TypeVar("R", bound=Row)

COPY_ROWS_MIN = 200
"""From so many rows on COPY is faster than prepared statements in a pipeline (measured: 500 rows
are even, 4,000 take 60 %)."""


class PostgresStore:
    """See ``ViewStore``. One connection writes; its session holds the locks of the writer.

    Args:
        address: ``postgresql://…``; ``meshline_namespace`` in its query names the schemas.
    """

    def __init__(self, address: str) -> None:
        self._address = parse_address(address)
        self._namespace = self._address.namespace
        self._books = Books(self._namespace)
        self._connection = Connection(self._address)
        self._tables: dict[Table[Any], TableSql] = {}
        self._held: set[tuple[str, int]] = set()
        self._held_generation = 0
        self._incoming: set[str] = set()

    async def open(self) -> None:
        async with self._connection.transaction() as session:
            await self._lock_books(session)
            await session.execute(self._books.create)

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _lock_books(self, session: Session) -> None:
        await session.execute("select pg_advisory_xact_lock($1)", self._lock_id("books"))

    def _lock_id(self, *names: object) -> int:
        text = "\x1f".join(map(str, ("meshline", self._namespace, *names)))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def _sql(self, table: Table[Any]) -> TableSql:
        sql = self._tables.get(table)
        if sql is None:
            sql = self._tables[table] = TableSql(self._namespace, table)
        return sql

    # -- a view's life -------------------------------------------------------------------------

    async def install(self, projection: Projection, identity: LogIdentity) -> Installed:
        view = (projection.name, projection.version)
        async with self._connection.transaction() as session:
            await self._lock_books(session)
            found = await session.fetch(self._books.view, *view)
            if not found:
                await self._create(session, projection, identity)
                found = await session.fetch(self._books.view, *view)
            check_log(projection, found[0]["log_id"], identity)
            check_layout(projection, found[0]["layout"])
            checkpoints = await session.fetch(self._books.checkpoints, *view)
            stopped = await session.fetch(self._books.stopped, *view)
        return Installed(
            state=found[0]["state"],
            checkpoints={record[0]: Checkpoint(*tuple(record)[1:]) for record in checkpoints},
            stopped=frozenset(record[0] for record in stopped),
        )

    async def _create(
        self, session: Session, projection: Projection, identity: LogIdentity
    ) -> None:
        view = (projection.name, projection.version)
        await session.execute(create_view_schema(self._namespace, projection))
        await session.execute(
            self._books.add_view,
            *view,
            code_hash_of(projection),
            identity.log_id,
            layout_of(projection),
        )
        await session.execute(self._books.add_checkpoints, *view, [*range(identity.partitions)])
        if not await session.fetch(self._books.live, projection.name):
            await self._point(session, *view)

    async def make_live(self, name: str, version: int) -> None:
        async with self._connection.transaction() as session:
            await self._lock_books(session)
            await self._point(session, name, version)

    async def _point(self, session: Session, name: str, version: int) -> None:
        found = await session.fetch(self._books.view, name, version)
        if not found:
            raise NotFound(f"There is no view {name!r} version {version}: build it first.")
        live = await session.fetch(self._books.live, name)
        before = live[0]["layout"] if live else None
        await session.execute(
            create_view(self._namespace, found[0]["layout"], name, version, anew=before)
        )
        await session.execute(self._books.retire_live, name)
        await session.execute(self._books.make_live, name, version)

    async def acquire(self, projection: Projection) -> bool:
        view = (projection.name, projection.version)
        async with self._connection.use() as session:
            self._forget_lost_session()
            if view not in self._held:
                lock = self._lock_id("view", *view)
                if not (await session.fetch("select pg_try_advisory_lock($1)", lock))[0][0]:
                    return False
                self._held.add(view)
            return True

    async def release(self, projection: Projection) -> None:
        view = (projection.name, projection.version)
        async with self._connection.use() as session:
            self._forget_lost_session()
            if view in self._held:
                self._held.discard(view)
                await session.execute("select pg_advisory_unlock($1)", self._lock_id("view", *view))

    def _forget_lost_session(self) -> None:
        if self._held_generation != self._connection.generation:
            self._held_generation = self._connection.generation
            self._held.clear()
            self._incoming.clear()

    # -- rows ----------------------------------------------------------------------------------

    async def load(self, table: Table[Any], keys: Sequence[Key]) -> dict[Key, Row]:
        async with self._connection.use() as session:
            records = await session.fetch(
                self._sql(table).load, *(list(column) for column in zip(*keys, strict=True))
            )
        make, key_of = table.make, table.key_of
        rows = [make(record) for record in records]
        return {key_of(row): row for row in rows}

    async def commit(self, changes: Sequence[Change]) -> None:
        try:
            await self._commit(changes)
        except BaseException:
            # Tables made in a transaction that is rolled back are gone with it.
            self._incoming.clear()
            raise

    async def _commit(self, changes: Sequence[Change]) -> None:
        async with self._connection.transaction() as session:
            self._forget_lost_session()
            for change in changes:
                view = (change.projection.name, change.projection.version)
                if view not in self._held:
                    raise StoreUnavailable(
                        f"The connection that held {view[0]} version {view[1]} was lost: expected "
                        "to be its writer. It is taken again, or somebody else has it."
                    )
                await self._move(session, change)
                for part in change.tables:
                    await self._write(session, part)
                await session.execute_many(
                    self._books.park,
                    [(*view, *parked.position, *parked[1:]) for parked in change.parked],
                )

    async def _move(self, session: Session, change: Change) -> None:
        moves = [
            (p, before.offset, before.epoch, before.sequence, *change.after[p])
            for p, before in change.before.items()
        ]
        moved = await session.execute(
            self._books.move,
            change.projection.name,
            change.projection.version,
            *(list(column) for column in zip(*moves, strict=True)),
        )
        if moved != len(moves):
            raise checkpoint_moved(change.projection)

    async def _write(self, session: Session, part: TableChange) -> None:
        sql = self._sql(part.table)
        if part.deleted:
            columns = (list(column) for column in zip(*part.deleted, strict=True))
            await session.execute(sql.delete, *columns)
        added = part.appended if part.table.append_only else part.new
        if len(added) >= COPY_ROWS_MIN:
            await session.copy(sql.name, sql.columns, added, schema=sql.schema)
        elif added:
            await session.execute_many(sql.insert, added)
        if len(part.changed) >= COPY_ROWS_MIN:
            if sql.incoming not in self._incoming:
                await session.execute(sql.create_incoming)
            await session.copy(sql.incoming, sql.columns, part.changed)
            await session.execute(sql.merge)
            self._incoming.add(sql.incoming)
        elif part.changed:
            await session.execute_many(sql.upsert, part.changed)

    async def rows(self, table: Table[R]) -> list[R]:
        async with self._connection.use() as session:
            records = await session.fetch(self._sql(table).all)
        make, key_of = table.make, table.key_of
        # Sorted here: the database may order text by a language's rules.
        return sorted((make(record) for record in records), key=key_of)

    # -- books ---------------------------------------------------------------------------------

    async def parked(self, projection: Projection) -> list[Parked]:
        async with self._connection.use() as session:
            records = await session.fetch(self._books.parked, projection.name, projection.version)
        return [Parked(Position(r[0], r[1]), *tuple(r)[2:]) for r in records]

    async def status(self) -> list[ViewStatus]:
        async with self._connection.use() as session:
            records = await session.fetch(self._books.status)
        return statuses_from(records)

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        async with self._connection.use() as session:
            records = await session.fetch(self._books.live_offsets, [*names])
        return offsets_from(records)
