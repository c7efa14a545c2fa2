"""Snapshots of views in PostgreSQL: made there, kept beside the rows, loaded to look at the past.

They stand in the schema of their build, and go with it. A snapshot is written in one transaction,
from what that transaction saw at its beginning: its rows and its place in the log agree, and one
that was not finished was never there. The rows do not leave PostgreSQL while it is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Position
from meshline.events.log import LogIdentity
from meshline.projections.code_hash import code_hash_of
from meshline.projections.moment import Moment
from meshline.projections.postgres_builds import Build
from meshline.projections.postgres_connection import Connection, Session, parse_address
from meshline.projections.postgres_schema import Books, TableSql, quoted, schema_of
from meshline.projections.postgres_store import lock_id
from meshline.projections.projection import Projection, Row, Table
from meshline.projections.settings import SnapshotSettings
from meshline.projections.snapshots import (
    Base,
    Snapshot,
    Span,
    common_bases,
    superfluous,
)
from meshline.projections.store import Checkpoint, Parked

__all__ = ["PostgresSnapshots"]

CHUNK_BYTES = 1 << 20
"""Of a table, about: what one statement reads, and one value holds."""

_TIMES = {
    "infinity": datetime.max.replace(tzinfo=UTC),
    "-infinity": datetime.min.replace(tzinfo=UTC),
}


class PostgresSnapshots:
    """See ``KeptViews``; opened by its first use, closed by the caller.

    Args:
        address: of the views.
    """

    def __init__(self, address: str, settings: SnapshotSettings | None = None) -> None:
        parsed = parse_address(address)
        self._namespace = parsed.namespace
        self._books = Books(parsed.namespace).schema
        self._connection = Connection(parsed)
        self._settings = settings or SnapshotSettings()

    async def aclose(self) -> None:
        await self._connection.aclose()

    # -- making --------------------------------------------------------------------------------

    @asynccontextmanager
    async def making(self) -> AsyncIterator[Session]:
        """A transaction for ``make``: all views that are kept in it stand where they stand now."""
        async with self._connection.snapshot() as session:
            await session.execute("set local timezone = 'UTC'")
            yield session

    async def make(self, session: Session, projection: Projection, build: Build) -> int:
        """Keep the rows of a build if it is time, and return how many events then count as kept.

        It is not where too few were read since the last snapshot, where another process is at it,
        and never where the rows are not what one code makes of the log.
        """
        path = quoted(schema_of(self._namespace, *build))
        lock = lock_id(self._namespace, "snapshots", *build)
        if not (await session.fetch("select pg_try_advisory_xact_lock($1)", lock))[0][0]:
            return 0
        found = await session.fetch(_STANDING.format(books=self._books), *build)
        if not found:
            return 0
        events, code_hash = int(found[0]["events"]), found[0]["code_hash"]
        if found[0]["mixed"] or code_hash != code_hash_of(projection):
            return events
        await session.execute(_CREATE.format(path=path))
        await session.execute(f"delete from {path}._snapshots where code_hash <> $1", code_hash)
        last = (await session.fetch(f"select max(events) from {path}._snapshots"))[0][0] or 0
        if events - last < self._settings.every_events:
            return int(last)
        number = (
            await session.fetch(
                f"insert into {path}._snapshots (code_hash, events, checkpoints, event_max, "
                "recorded_max, parked, readable) values ($1, $2, $3, $4, $5, $6, $7) "
                "returning number",
                *(found[0][name] for name in ("code_hash", "events", "checkpoints")),
                *(found[0][name] for name in ("event_max", "recorded_max", "parked")),
                _readable() if found[0]["unreadable"] else "",
            )
        )[0][0]
        for table in projection.tables:
            await self._keep(session, path, number, TableSql(self._namespace, table, build.build))
        await session.execute(_MEASURE.format(path=path), number)
        await self._thin(session, path)
        return events

    async def _keep(self, session: Session, path: str, number: int, sql: TableSql) -> None:
        blocks, size = (await session.fetch(_SIZE, sql.path))[0]
        step = max(1, CHUNK_BYTES * blocks // max(1, size))
        names = ", ".join(quoted(column) for column in sql.columns)
        for first in range(0, blocks, step):
            await session.execute(
                f"insert into {path}._snapshot_rows (snapshot, name, chunk, rows) "
                f"select $1, $2, $3, json_agg(json_build_array({names})) from {sql.path} "
                f"where ctid >= '({first},0)'::tid and ctid < '({first + step},0)'::tid "
                "having count(*) > 0",
                number,
                sql.name,
                first,
            )

    async def _thin(self, session: Session, path: str) -> None:
        kept = await session.fetch(
            f"select number, events, bytes from {path}._snapshots order by events, number"
        )
        gone = superfluous(
            [record["events"] for record in kept],
            [record["bytes"] for record in kept],
            count_max=self._settings.count_max,
            bytes_max=self._settings.bytes_max,
        )
        numbers = [kept[index]["number"] for index in gone]
        if numbers:
            await session.execute(
                f"delete from {path}._snapshots where number = any($1::bigint[])", numbers
            )

    # -- loading -------------------------------------------------------------------------------

    async def load(
        self,
        projections: Sequence[Projection],
        moment: Moment,
        ends: Mapping[int, int],
        identity: LogIdentity,
    ) -> Mapping[Projection, Base]:
        async with self._connection.frozen() as session:
            builds = {
                projection: build
                for projection in projections
                if (build := await self._build(session, projection, identity.log_id)) is not None
            }
            kept = {
                projection: await self._snapshots(session, build)
                for projection, build in builds.items()
            }
            # A view of which nothing is kept begins at the first record, and so do the others.
            begun = common_bases(kept, moment, ends) if len(kept) == len(projections) else {}
            return {
                projection: Base(
                    begun.get(projection),
                    await self._rows(session, projection, build, begun[projection])
                    if projection in begun
                    else {},
                    await self._spans(session, build) if moment.time is not None else {},
                )
                for projection, build in builds.items()
            }

    async def _build(self, session: Session, projection: Projection, log_id: str) -> Build | None:
        """Return the build whose rows are what this code makes of this log: the live one first."""
        if not (await session.fetch("select to_regclass($1)", f"{self._books}.spans"))[0][0]:
            return None
        found = await session.fetch(
            f"select name, version, build from {self._books}.views where name = $1 "
            "and version = $2 and log_id = $3 and code_hash = $4 and not mixed and not scratch "
            "and not bulk and state <> 'retired' order by state = 'live' desc, build desc limit 1",
            *(projection.name, projection.version, log_id, code_hash_of(projection)),
        )
        return Build(*found[0]) if found else None

    async def _snapshots(self, session: Session, build: Build) -> list[Snapshot]:
        path = quoted(schema_of(self._namespace, *build))
        if not (await session.fetch("select to_regclass($1)", f"{path}._snapshots"))[0][0]:
            return []
        found = await session.fetch(
            f"select s.* from {path}._snapshots s join {self._books}.views v "
            "using (code_hash) where v.name = $1 and v.version = $2 and v.build = $3 "
            "and s.readable in ('', $4) order by s.events, s.number",
            *(*build, _readable()),
        )
        return [
            Snapshot(
                number=record["number"],
                checkpoints={int(p): Checkpoint(*c) for p, c in record["checkpoints"].items()},
                event_max=record["event_max"],
                recorded_max=record["recorded_max"],
                parked=tuple(
                    Parked(Position(partition, offset), *more)
                    for partition, offset, *more in record["parked"]
                ),
            )
            for record in found
        ]

    async def _rows(
        self, session: Session, projection: Projection, build: Build, snapshot: Snapshot
    ) -> dict[Table[Any], list[Row]]:
        path = quoted(schema_of(self._namespace, *build))
        rows: dict[Table[Any], list[Row]] = {}
        for table in projection.tables:
            found = await session.fetch(
                f"select rows from {path}._snapshot_rows where snapshot = $1 and name = $2",
                snapshot.number,
                table.name,
            )
            made_of = _maker(table)
            rows[table] = [row for (chunk,) in found for row in made_of(orjson.loads(chunk))]
        return rows

    async def _spans(self, session: Session, build: Build) -> dict[int, list[Span]]:
        spans: dict[int, list[Span]] = {}
        for record in await session.fetch(_SPANS.format(books=self._books), *build):
            end = Checkpoint(record["next_offset"], record["epoch"], record["sequence"])
            spans.setdefault(record["partition"], []).append(
                Span(end, record["event_min"], record["recorded_min"])
            )
        return spans


def _maker(table: Table[Any]) -> Callable[[list[list[Any]]], Iterable[Row]]:
    """Return what makes rows of a chunk: JSON has no times, and writes 1.0 as 1."""
    times = [n for n, column in enumerate(table.columns) if column.sql_type == "timestamptz"]
    numbers = [n for n, column in enumerate(table.columns) if column.sql_type.startswith("double")]
    of_text = datetime.fromisoformat

    def make(chunk: list[list[Any]]) -> Iterable[Row]:
        for row in chunk:
            for place in times:
                text = row[place]
                if text is not None:
                    row[place] = _TIMES[text] if text in _TIMES else of_text(text)
            for place in numbers:
                if row[place] is not None:
                    row[place] = float(row[place])
        return map(table.make, chunk)

    return make


def _readable() -> str:
    """Return what changes with the events that this program can read."""
    return blake2b("\n".join(sorted(CATALOGUE)).encode(), digest_size=8).hexdigest()


_THIS = "name = $1 and version = $2 and build = $3"

# The fence is enough to go on from: the writer itself is what checks that the log is the same.
_STANDING = f"""
    select v.code_hash, v.mixed, c.*, p.*
    from {{books}}.views v
    cross join lateral (
        select sum(next_offset)::bigint as events, nullif(max(event_max), '-infinity') as event_max,
               nullif(max(recorded_max), '-infinity') as recorded_max,
               jsonb_object_agg(partition, jsonb_build_array(next_offset, epoch, sequence))
                   as checkpoints
        from {{books}}.checkpoints where {_THIS}
    ) c
    cross join lateral (
        select coalesce(
                   jsonb_agg(
                       jsonb_build_array(partition, log_offset, entity, event_type, why, stops)
                       order by partition, log_offset
                   ), '[]'
               ) as parked,
               count(*) filter (where why = 'unreadable') as unreadable
        from {{books}}.parked where {_THIS}
    ) p
    where {_THIS}
"""
_CREATE = """
    create table if not exists {path}._snapshots (
        number bigint generated always as identity primary key,
        made_at timestamptz not null default now(),
        code_hash text not null,
        readable text not null,
        events bigint not null,
        checkpoints jsonb not null,
        event_max timestamptz,
        recorded_max timestamptz,
        parked jsonb not null,
        bytes bigint not null default 0
    );
    create table if not exists {path}._snapshot_rows (
        snapshot bigint not null references {path}._snapshots on delete cascade,
        name text not null,
        chunk bigint not null,
        rows json not null,
        primary key (snapshot, name, chunk)
    )
"""
_SIZE = (
    "select pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint, "
    "pg_table_size($1::text::regclass)"
)
_MEASURE = """
    update {path}._snapshots set bytes = (
        select coalesce(sum(pg_column_size(rows)), 0)
        from {path}._snapshot_rows where snapshot = $1
    ) where number = $1
"""
_SPANS = f"""
    select partition, next_offset, epoch, sequence, nullif(event_min, 'infinity') as event_min,
           nullif(recorded_min, 'infinity') as recorded_min, false as is_open
    from {{books}}.spans where {_THIS}
    union all
    select partition, next_offset, epoch, sequence, nullif(event_min, 'infinity'),
           nullif(recorded_min, 'infinity'), true
    from {{books}}.checkpoints where {_THIS}
    -- One that has just begun is empty, and ends where the one before it does.
    order by partition, next_offset, is_open
"""
