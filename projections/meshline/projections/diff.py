"""What a change of a view changes: two versions of it compared, at the same positions of the log.

PostgreSQL compares: one full join for each table, in one snapshot, keeps the keys of the rows that
differ; counts, columns and samples are then read from those few.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshline.projections.diff_sql import TableDiffSql, compared
from meshline.projections.errors import NotFound, NotReached, StoreUnavailable
from meshline.projections.history_view import HistoryRow
from meshline.projections.hold import HOLD_S, hold_level, let_go
from meshline.projections.postgres_connection import Address, Connection, Session, parse_address
from meshline.projections.postgres_schema import Books, quoted, schema_of

__all__ = ["RowDiff", "Side", "TableDiff", "ViewDiff", "as_data", "diff_view"]

POLL_S = 0.03
EVENTS_MAX = 12
"""Of a sample's events the last so many are read."""

COMPARE_S_MAX = 3_600.0
"""For one statement: tables of many millions take minutes."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared, and where it stood."""

    version: int
    state: str
    schema: str
    layout: Mapping[str, Any]
    offsets: Mapping[int, int]
    parked: int
    build: int = 1
    bulk: bool = False

    @property
    def label(self) -> str:
        again = "" if self.build == 1 else f" build {self.build}"
        return f"v{self.version}{again} ({self.state})"

    def goes_by(self, text: str) -> bool:
        """Whether it was meant: ``2`` is the version's newest build, ``2.1`` its first."""
        return text in (str(self.version), f"{self.version}.{self.build}")


@dataclass(frozen=True, slots=True)
class RowDiff:
    """A row that differs, and how; ``alike`` rows differ in just these columns.

    ``events`` are the last of its run that this view applies, None where the row names no run.
    """

    kind: str
    key: Mapping[str, Any]
    columns: Sequence[str]
    alike: int
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    run_id: str | None = None
    events: Sequence[HistoryRow] | None = None


@dataclass(frozen=True, slots=True)
class TableDiff:
    """A table of both. ``columns``: in how many rows each differs; others are on one side only."""

    table: str
    rows_old: int
    rows_new: int
    added: int
    removed: int
    changed: int
    columns: Mapping[str, int]
    columns_added: Sequence[str]
    columns_removed: Sequence[str]
    samples: Sequence[RowDiff]

    @property
    def differing(self) -> int:
        return self.added + self.removed + self.changed

    @property
    def share(self) -> float:
        """The part of the rows that differs, 0.0 to 1.0 and, where keys changed, to 2.0."""
        return self.differing / max(self.rows_old, self.rows_new, 1)


@dataclass(frozen=True, slots=True)
class ViewDiff:
    """The whole comparison; the tables that only one side has are named."""

    name: str
    old: Side
    new: Side
    tables: Sequence[TableDiff]
    tables_added: Sequence[str]
    tables_removed: Sequence[str]

    @property
    def is_equal(self) -> bool:
        one_sided = [*self.tables_added, *self.tables_removed]
        return not one_sided and not any(
            t.differing or t.columns_added or t.columns_removed for t in self.tables
        )


def as_data(found: ViewDiff) -> dict[str, Any]:
    """Return the comparison as programs want it."""
    sides = {
        place: {
            "version": side.version,
            "build": side.build,
            "state": side.state,
            "positions": side.offsets,
            "parked": side.parked,
        }
        for place, side in (("old", found.old), ("new", found.new))
    }
    tables = [
        {
            "table": table.table,
            "rows_old": table.rows_old,
            "rows_new": table.rows_new,
            "added": table.added,
            "removed": table.removed,
            "changed": table.changed,
            "share": table.share,
            "columns": table.columns,
            "columns_added": table.columns_added,
            "columns_removed": table.columns_removed,
            "samples": table.samples,
        }
        for table in found.tables
    ]
    return {
        "view": found.name, **sides, "equal": found.is_equal, "tables": tables,
        "tables_added": found.tables_added, "tables_removed": found.tables_removed,
    }  # fmt: skip


async def diff_view(
    address: str,
    name: str,
    *,
    old: str | None = None,
    new: str | None = None,
    samples_max: int = 20,
    types: Collection[str] | None = None,
    wait_s: float = 30.0,
) -> ViewDiff:
    """Compare two versions of a view, in a snapshot in which both stand at the same positions.

    Args:
        address: of the views.
        old, new: versions as ``2``, or builds of them as ``2.1``; by default the live one, and the
            newest of those that are built or kept beside it.
        samples_max: rows of each table that are shown, of every way to differ some.
        types: the events that the view applies, to explain the samples; all of them by default.
        wait_s: how long the one behind may take to catch up.
    Raises:
        NotFound: there are no two versions to compare.
        NotReached: the two did not stand at the same positions in time.
    """
    connection = Connection(parse_address(address), command_timeout_s=COMPARE_S_MAX)
    level = _Level(parse_address(address), name)
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    try:
        while True:
            async with connection.snapshot() as session:
                found = await _sides(session, connection.address.namespace, name)
                sides = _chosen(name, found, old, new)
                if sides[0].offsets == sides[1].offsets:
                    await level.let_go()
                    reader = _Reader(session, connection.address.namespace, samples_max, types)
                    return await reader.compare(name, *sides)
            if clock() >= deadline:
                raise _not_level(name, *sides, wait_s)
            await level.hold(*sides)
            await asyncio.sleep(POLL_S)
    finally:
        await level.aclose()
        await connection.aclose()


class _Level:
    """Brings two builds to the same positions, by holding the writer that is ahead."""

    def __init__(self, address: Address, name: str) -> None:
        self._connection = Connection(address)
        self._books = Books(address.namespace)
        self._name = name
        self._held: list[tuple[str, int, int]] = []
        self._held_until = 0.0

    async def hold(self, *sides: Side) -> None:
        """Hold both where the one ahead is, unless they are held already, or it is in vain."""
        now = asyncio.get_running_loop().time()
        if now < self._held_until or any(side.bulk for side in sides):
            return
        one, other = self._held = [(self._name, side.version, side.build) for side in sides]
        # Readers or writers may have the checkpoints: then at the next look.
        with contextlib.suppress(StoreUnavailable):
            async with self._connection.transaction() as session:
                if await hold_level(session, self._books, one, other):
                    self._held_until = now + HOLD_S

    async def let_go(self) -> None:
        if self._held_until:
            async with self._connection.transaction() as session:
                await let_go(session, self._books, self._held)

    async def aclose(self) -> None:
        await self._connection.aclose()


async def _sides(session: Session, namespace: str, name: str) -> list[Side]:
    books = Books(namespace).schema
    if not (await session.fetch("select to_regclass($1)", f"{books}.views"))[0][0]:
        raise NotFound(
            f"There are no views in the namespace {namespace} yet: expected a projector to have "
            "run there. Start `meshline projector`."
        )
    found = await session.fetch(
        f"""
        select v.version, v.state, v.layout,
               (select array_agg(array[c.partition, c.next_offset] order by c.partition)
                from {books}.checkpoints c
                where (c.name, c.version, c.build) = (v.name, v.version, v.build)) as offsets,
               (select count(*) from {books}.parked p
                where (p.name, p.version, p.build) = (v.name, v.version, v.build)) as parked,
               v.build, v.bulk
        from {books}.views v where v.name = $1 and v.state <> 'retired' and not v.scratch
        order by v.version, v.build
        """,
        name,
    )
    return [
        Side(
            version=r["version"],
            state=r["state"],
            schema=schema_of(namespace, name, r["version"], r["build"]),
            layout=r["layout"],
            offsets=dict(r["offsets"] or ()),
            parked=r["parked"],
            build=r["build"],
            bulk=r["bulk"],
        )
        for r in found
    ]


def _chosen(name: str, sides: list[Side], old: str | None, new: str | None) -> tuple[Side, Side]:
    def named(text: str) -> Side | None:
        return next((side for side in reversed(sides) if side.goes_by(text)), None)

    live = next((side for side in sides if side.state == "live"), None)
    others = [side for side in sides if side.state in ("building", "warm")]
    building = [side for side in others if side.state == "building"]
    first = live if old is None else named(old)
    second = next(reversed(building or others), None) if new is None else named(new)
    if first is None or second is None or first is second:
        there = ", ".join(side.label for side in sides) or "none"
        raise NotFound(
            f"There are no two versions of the view {name!r} to compare; there are: {there}. "
            f"Expected a live one and another: build it with `meshline view rebuild {name}`."
        )
    return first, second


def _not_level(name: str, old: Side, new: Side, wait_s: float) -> NotReached:
    where = [
        f"{side.label} at {', '.join(f'{p}:{o}' for p, o in side.offsets.items())}"
        for side in (old, new)
    ]
    return NotReached(
        f"The two versions of {name} did not stand at the same positions within {wait_s:g} s: "
        f"{'; '.join(where)}. Expected a projector that feeds both: see `meshline view list`, wait "
        "until the one that is built has caught up, then compare again."
    )


class _Reader:
    """Compares in one snapshot."""

    def __init__(
        self, session: Session, namespace: str, samples_max: int, types: Collection[str] | None
    ) -> None:
        self._session = session
        self._namespace = namespace
        self._samples_max = samples_max
        self._types = None if types is None else sorted(types)

    async def compare(self, name: str, old: Side, new: Side) -> ViewDiff:
        await self._session.execute("set local work_mem = '64MB'")
        ours, theirs = old.layout["tables"], new.layout["tables"]
        both = [table for table in ours if table in theirs and compared(ours, theirs, table)]
        return ViewDiff(
            name=name,
            old=old,
            new=new,
            tables=[await self._table(old, new, table) for table in both],
            tables_added=[table for table in theirs if table not in both],
            tables_removed=[table for table in ours if table not in both],
        )

    async def _table(self, old: Side, new: Side, table: str) -> TableDiff:
        session = self._session
        shapes = old.layout["tables"][table], new.layout["tables"][table]
        paths = tuple(f"{quoted(side.schema)}.{quoted(table)}" for side in (old, new))
        sql = TableDiffSql(paths, shapes)
        await session.execute(sql.create)
        kinds = {r["kind"]: r["rows"] for r in await session.fetch(sql.kinds)}
        columns = {r["name"]: r["rows"] for r in await session.fetch(sql.columns)}
        totals = [(await session.fetch(f"select count(*) from {path}"))[0][0] for path in paths]
        samples = [
            await self._sample(sql, record, old.offsets)
            for record in await session.fetch(sql.samples, self._samples_max)
        ]
        await session.execute(sql.drop)
        return TableDiff(
            table=table,
            rows_old=totals[0],
            rows_new=totals[1],
            added=kinds.get("added", 0),
            removed=kinds.get("removed", 0),
            changed=kinds.get("changed", 0),
            columns=columns,
            columns_added=sql.columns_added,
            columns_removed=sql.columns_removed,
            samples=samples,
        )

    async def _sample(self, sql: TableDiffSql, record: Any, offsets: Mapping[int, int]) -> RowDiff:
        row = record["new"] or record["old"]
        run_id = row.get("run_id")
        return RowDiff(
            kind=record["kind"],
            key={name: row[name] for name in sql.key},
            columns=record["columns"],
            alike=record["alike"],
            old=record["old"],
            new=record["new"],
            run_id=run_id,
            events=None if run_id is None else await self._events(run_id, offsets),
        )

    async def _events(self, run_id: str, offsets: Mapping[int, int]) -> list[HistoryRow]:
        history = f"{self._namespace}.history"
        if not (await self._session.fetch("select to_regclass($1)", history))[0][0]:
            return []
        found = await self._session.fetch(
            f"select * from {history} where run_id = $1 and ($2::text[] is null or type = any($2)) "
            f"order by partition, log_offset desc limit {EVENTS_MAX}",
            run_id,
            self._types,
        )
        rows = [HistoryRow(**dict(record)) for record in reversed(found)]
        return [row for row in rows if row.log_offset < offsets.get(row.partition, 0)]
