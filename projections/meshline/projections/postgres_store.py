"""Views in PostgreSQL: rows, checkpoints and parked events, each batch in one transaction."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from meshline.events.crash_points import crash_point
from meshline.events.envelope import Position
from meshline.events.log import LogIdentity
from meshline.projections.code_hash import code_hash_of
from meshline.projections.errors import HeldBack, NotFound, StoreUnavailable
from meshline.projections.postgres_connection import Connection, Session, parse_address
from meshline.projections.postgres_schema import (
    Books,
    TableSql,
    create_view,
    create_view_schema,
    offsets_from,
    schema_of,
    statuses_from,
)
from meshline.projections.projection import Key, Projection, Row, Table
from meshline.projections.rows import TableChange
from meshline.projections.store import (
    Change,
    Checkpoint,
    Installed,
    Parked,
    Stop,
    ViewStatus,
    check_layout,
    check_log,
    checkpoint_moved,
    code_changed,
    layout_of,
)

__all__ = ["ChangedCode", "PostgresStore", "lock_id", "point"]

_logger = logging.getLogger("meshline.projections")

R = TypeVar("R", bound=Row)
ChangedCode = Literal["refuse", "say", "accept"]
_Build = tuple[str, int, int]

COPY_ROWS_MIN = 200
"""From so many rows on COPY is faster than prepared statements in a pipeline (measured: 500 rows
are even, 4,000 take 60 %)."""

SPAN_RECORDS = 2_500
"""Of a partition, about: what reads the past can tell of as many whether it needs them."""


def lock_id(namespace: str, *names: object) -> int:
    text = "\x1f".join(map(str, ("meshline", namespace, *names)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def point(
    session: Session, namespace: str, books: Books, name: str, version: int, build: int
) -> None:
    """Let the stable names show this build; the one before it stays warm.

    Raises:
        NotFound: there is no such build.
    """
    found = await session.fetch(books.view, name, version, build)
    if not found:
        raise NotFound(f"There is no view {name!r} version {version}: build it first.")
    live = await session.fetch(books.live, name)
    before = live[0]["layout"] if live else None
    schema = schema_of(namespace, name, version, build)
    await session.execute(create_view(namespace, found[0]["layout"], schema, anew=before))
    await session.execute(books.retire_live, name)
    await session.execute(books.make_live, name, version, build)


class PostgresStore:
    """See ``ViewStore``. One connection writes; its session holds the locks of the writer.

    Args:
        address: ``postgresql://…``; ``meshline_namespace`` in its query names the schemas.
        builds: by projection's name, which build of its version to write; the live one where
            nothing is given, or else the one that is there longest.
        changed_code: what to do with a view that was built with other code: ``refuse`` it, go on
            and ``say`` so, or ``accept`` the code as what it was built with, which is recorded.
        actor: who accepts.
    """

    def __init__(
        self,
        address: str,
        *,
        builds: Mapping[str, int] | None = None,
        changed_code: ChangedCode = "refuse",
        actor: str = "",
    ) -> None:
        self._address = parse_address(address)
        self._namespace = self._address.namespace
        self._books = Books(self._namespace)
        self._connection = Connection(self._address)
        self._pinned = dict(builds or {})
        self._changed_code = changed_code
        self._actor = actor
        self._builds: dict[tuple[str, int], int] = {}
        self._tables: dict[tuple[Table[Any], int], TableSql] = {}
        self._held: set[_Build] = set()
        self._held_generation = 0
        self._incoming: set[str] = set()

    async def open(self) -> None:
        async with self._connection.transaction() as session:
            # Nobody makes the books again: a crash of the server must not take them back.
            await session.execute("set local synchronous_commit = on")
            await self._lock_books(session)
            await session.execute(self._books.create)

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _lock_books(self, session: Session) -> None:
        await session.execute("select pg_advisory_xact_lock($1)", self._lock_id("books"))

    def _lock_id(self, *names: object) -> int:
        return lock_id(self._namespace, *names)

    @property
    def held(self) -> frozenset[_Build]:
        """The builds that this store is the writer of: name, version, build."""
        return frozenset(self._held)

    @property
    def meant(self) -> frozenset[_Build]:
        """The builds that this store writes, or waits for: those of before a swap too."""
        return frozenset((*view, build) for view, build in self._builds.items())

    def _sql(self, table: Table[Any], build: int) -> TableSql:
        sql = self._tables.get((table, build))
        if sql is None:
            sql = self._tables[table, build] = TableSql(self._namespace, table, build)
        return sql

    async def _find(self, session: Session, projection: Projection) -> _Build:
        """Return which build of the projection's version this store means."""
        view = (projection.name, projection.version)
        build = self._pinned.get(projection.name) or self._builds.get(view)
        if build is None:
            found = await session.fetch(self._books.present, *view)
            if not found:
                last = (await session.fetch(self._books.last_build, *view))[0][0]
                return (*view, (last or 0) + 1)
            build = self._builds[view] = found[0]["build"]
        return (*view, build)

    async def _is_loaded_by_another(self, session: Session, projection: Projection) -> bool:
        if projection.name in self._pinned:
            return False
        view = (projection.name, projection.version)
        found = await session.fetch(self._books.present, *view)
        return bool(found and found[0]["bulk"])

    # -- a view's life -------------------------------------------------------------------------

    async def install(self, projection: Projection, identity: LogIdentity) -> Installed:
        async with self._connection.transaction() as session:
            await self._lock_books(session)
            view = await self._find(session, projection)
            found = await session.fetch(self._books.view, *view)
            if not found:
                await self._create(session, projection, view, identity)
                found = await session.fetch(self._books.view, *view)
            check_log(projection, found[0]["log_id"], identity)
            check_layout(projection, found[0]["layout"])
            await self._check_code(session, projection, view, found[0]["code_hash"])
            checkpoints = await session.fetch(self._books.checkpoints, *view)
            stopped = await session.fetch(self._books.stopped, *view)
        return Installed(
            state=found[0]["state"],
            checkpoints={record[0]: Checkpoint(*tuple(record)[1:]) for record in checkpoints},
            stopped=frozenset((record[0], record[1]) for record in stopped),
        )

    async def _check_code(
        self, session: Session, projection: Projection, view: _Build, built_with: str
    ) -> None:
        now = code_hash_of(projection)
        if now == built_with:
            return
        changed = code_changed(projection)
        if self._changed_code == "refuse":
            raise changed
        if self._changed_code == "accept":
            await session.execute(self._books.accept, *view, now)
            _, version, build = view
            await session.execute(
                self._books.change,
                *(projection.name, "accept", self._actor, version, build, version, build),
            )
        else:
            await session.execute(self._books.mix, *view)
            _logger.warning("%s", changed)

    async def _create(
        self, session: Session, projection: Projection, view: _Build, identity: LogIdentity
    ) -> None:
        await session.execute(create_view_schema(self._namespace, projection, view[2]))
        await session.execute(
            self._books.add_view,
            *view,
            code_hash_of(projection),
            identity.log_id,
            layout_of(projection),
            False,
            False,
        )
        await session.execute(self._books.add_checkpoints, *view, [*range(identity.partitions)])
        if not await session.fetch(self._books.live, projection.name):
            await point(session, self._namespace, self._books, *view)

    async def make_live(self, name: str, version: int) -> None:
        async with self._connection.transaction() as session:
            await self._lock_books(session)
            found = await session.fetch(self._books.present, name, version)
            build = found[0]["build"] if found else 1
            await point(session, self._namespace, self._books, name, version, build)

    async def acquire(self, projection: Projection) -> bool:
        async with self._connection.use() as session:
            self._forget_lost_session()
            # Its rebuild has it until it is loaded and has its indexes.
            if await self._is_loaded_by_another(session, projection):
                return False
            view = await self._find(session, projection)
            if view not in self._held:
                lock = self._lock_id("view", *view)
                if not (await session.fetch("select pg_try_advisory_lock($1)", lock))[0][0]:
                    return False
                self._held.add(view)
            return True

    async def release(self, projection: Projection) -> None:
        async with self._connection.use() as session:
            self._forget_lost_session()
            view = await self._find(session, projection)
            self._builds.pop(view[:2], None)
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
            _, _, build = await self._find(session, table.projection)
            records = await session.fetch(
                self._sql(table, build).load,
                *(list(column) for column in zip(*keys, strict=True)),
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
        crash_point("commit.before")
        async with self._connection.transaction() as session:
            self._forget_lost_session()
            for change in changes:
                view = await self._find(session, change.projection)
                if view not in self._held:
                    raise StoreUnavailable(
                        f"The connection that held {view[0]} version {view[1]} was lost: expected "
                        "to be its writer. It is taken again, or somebody else has it."
                    )
                await self._move(session, change, view)
                for part in change.tables:
                    await self._write(session, part, view[2])
                if change.freed:
                    places = (list(column) for column in zip(*change.freed, strict=True))
                    await session.execute(self._books.free, *view, *places)
                await session.execute_many(
                    self._books.park,
                    [(*view, *parked.position, *parked[1:]) for parked in change.parked],
                )
            crash_point("commit.inside")
        crash_point("commit.after")

    async def _move(self, session: Session, change: Change, view: _Build) -> None:
        moves = [
            (p, before.offset, before.epoch, before.sequence, *change.after[p])
            for p, before in change.before.items()
        ]
        moved = await session.execute(
            self._books.move,
            *view,
            *(list(column) for column in zip(*moves, strict=True)),
            *(change.times or (None,) * 4),
        )
        if moved != len(moves):
            held = {record[0]: record[1] for record in await session.fetch(self._books.held, *view)}
            if any(p in held and after.offset > held[p] for p, after in change.after.items()):
                raise HeldBack(change.projection.name, held)
            raise checkpoint_moved(change.projection)
        ended = [
            p
            for p, before in change.before.items()
            if change.after[p].offset // SPAN_RECORDS > before.offset // SPAN_RECORDS
        ]
        if ended:
            await session.execute(self._books.end_spans, *view, ended)

    async def _write(self, session: Session, part: TableChange, build: int) -> None:
        sql = self._sql(part.table, build)
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
            _, _, build = await self._find(session, table.projection)
            records = await session.fetch(self._sql(table, build).all)
        make, key_of = table.make, table.key_of
        # Sorted here: the database may order text by a language's rules.
        return sorted((make(record) for record in records), key=key_of)

    # -- books ---------------------------------------------------------------------------------

    async def parked(self, projection: Projection) -> list[Parked]:
        async with self._connection.use() as session:
            view = await self._find(session, projection)
            records = await session.fetch(self._books.parked, *view)
        return [_parked(record) for record in records]

    async def parked_at(self, projection: Projection, position: Position) -> Parked | None:
        async with self._connection.use() as session:
            view = await self._find(session, projection)
            records = await session.fetch(self._books.parked_at, *view, *position)
        return _parked(records[0]) if records else None

    async def parked_of(self, projection: Projection, stop: Stop) -> list[Parked]:
        async with self._connection.use() as session:
            view = await self._find(session, projection)
            records = await session.fetch(self._books.parked_of, *view, *stop)
        return [_parked(record) for record in records]

    async def status(self) -> list[ViewStatus]:
        async with self._connection.use() as session:
            records = await session.fetch(self._books.status)
        return statuses_from(records)

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        async with self._connection.use() as session:
            records = await session.fetch(self._books.live_offsets, [*names])
        return offsets_from(records)


def _parked(record: Any) -> Parked:
    return Parked(Position(record[0], record[1]), *tuple(record)[2:])
