"""The names and statements of the PostgreSQL store.

In a namespace ``meshline`` there are: ``meshline`` with the stable names that people query,
``meshline_views`` with the books (which views there are, how far they have read, what is parked),
and one schema for each build of each version of each projection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshline.projections.errors import ProjectionInvalid
from meshline.projections.projection import Projection, Table
from meshline.projections.store import Checkpoint, ViewStatus

__all__ = [
    "Books",
    "TableSql",
    "create_indexes",
    "create_view",
    "create_view_schema",
    "offsets_from",
    "quoted",
    "schema_of",
    "statuses_from",
]


SCHEMA_LENGTH_MAX = 63


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def schema_of(namespace: str, name: str, version: int, build: int = 1) -> str:
    """Return the schema of one build; the first build of a version has the version's name."""
    again = "" if build == 1 else f"_b{build}"
    schema = f"{namespace}_view_{name}_v{version}{again}"
    # PostgreSQL would cut it off, and two builds might share what is left.
    if len(schema) > SCHEMA_LENGTH_MAX:
        raise ProjectionInvalid(
            f"The schema {schema!r} has {len(schema)} letters: expected {SCHEMA_LENGTH_MAX} at "
            "most. Shorten the projection's name or the namespace."
        )
    return schema


_THIS = "name = $1 and version = $2 and build = $3"


class Books:
    """Statements about views, checkpoints and parked events."""

    def __init__(self, namespace: str) -> None:
        self.schema = f"{namespace}_views"
        views, checkpoints = f"{self.schema}.views", f"{self.schema}.checkpoints"
        parked, spans = f"{self.schema}.parked", f"{self.schema}.spans"
        self.create = f"""
            create schema if not exists {namespace};
            create schema if not exists {self.schema};
            create table if not exists {views} (
                name text not null,
                version integer not null,
                build integer not null default 1,
                state text not null
                    check (state in ('live', 'building', 'warm', 'retired')),
                code_hash text not null,
                log_id text not null,
                layout jsonb not null,
                created_at timestamptz not null default now(),
                live_at timestamptz,
                bulk boolean not null default false,
                scratch boolean not null default false,
                mixed boolean not null default false,
                wish text not null default 'run' check (wish in ('run', 'pause', 'cancel')),
                error text not null default '',
                primary key (name, version, build)
            );
            create unique index if not exists one_live_version on {views} (name)
                where state = 'live';
            create table if not exists {checkpoints} (
                name text not null,
                version integer not null,
                build integer not null,
                partition integer not null,
                next_offset bigint not null default 0,
                epoch bigint not null default -1,
                sequence bigint not null default 0,
                event_id text not null default '',
                recorded_ms bigint not null default 0,
                updated_at timestamptz not null default now(),
                event_max timestamptz not null default '-infinity',
                recorded_max timestamptz not null default '-infinity',
                event_min timestamptz not null default 'infinity',
                recorded_min timestamptz not null default 'infinity',
                hold_at bigint,
                held_until timestamptz,
                primary key (name, version, build, partition),
                foreign key (name, version, build) references {views} on delete cascade
            ) with (fillfactor = 20);
            create table if not exists {spans} (
                name text not null,
                version integer not null,
                build integer not null,
                partition integer not null,
                next_offset bigint not null,
                epoch bigint not null,
                sequence bigint not null,
                event_min timestamptz not null,
                recorded_min timestamptz not null,
                primary key (name, version, build, partition, next_offset),
                foreign key (name, version, build) references {views} on delete cascade
            );
            create table if not exists {parked} (
                name text not null,
                version integer not null,
                build integer not null,
                partition integer not null,
                log_offset bigint not null,
                entity text not null,
                event_type text not null,
                why text not null check (why in ('failed', 'unreadable', 'behind')),
                stops boolean not null,
                error text not null,
                stack text not null,
                parked_at timestamptz not null default now(),
                primary key (name, version, build, partition, log_offset),
                foreign key (name, version, build) references {views} on delete cascade
            );
            create index if not exists parked_entity on {parked} (name, version, build, entity);
            create table if not exists {self.schema}.changes (
                number bigint generated always as identity primary key,
                at timestamptz not null default now(),
                name text not null,
                what text not null check (what in ('swap', 'rollback', 'retire', 'accept')),
                actor text not null,
                from_version integer,
                from_build integer,
                to_version integer,
                to_build integer
            );
        """
        self.view = f"select state, log_id, layout, code_hash from {views} where {_THIS}"
        self.add_view = (
            f"insert into {views} (name, version, build, state, code_hash, log_id, layout, "
            "bulk, scratch) values ($1, $2, $3, 'building', $4, $5, $6, $7, $8)"
        )
        self.add_checkpoints = (
            f"insert into {checkpoints} (name, version, build, partition) "
            "select $1, $2, $3, unnest($4::integer[])"
        )
        # What a projector goes on with: the live build, or else the one that is there longest.
        self.present = (
            f"select build, bulk from {views} where name = $1 and version = $2 "
            "and state <> 'retired' and not scratch order by state = 'live' desc, build limit 1"
        )
        self.last_build = f"select max(build) from {views} where name = $1 and version = $2"
        self.accept = f"update {views} set code_hash = $4 where {_THIS}"
        self.change = (
            f"insert into {self.schema}.changes (name, what, actor, from_version, from_build, "
            "to_version, to_build) values ($1, $2, $3, $4, $5, $6, $7)"
        )
        self.live = f"select version, build, layout from {views} where name = $1 and state = 'live'"
        self.retire_live = f"update {views} set state = 'warm' where name = $1 and state = 'live'"
        self.make_live = f"update {views} set state = 'live', live_at = now() where {_THIS}"
        self.checkpoints = (
            "select partition, next_offset, epoch, sequence, event_id, recorded_ms "
            f"from {checkpoints} where {_THIS}"
        )
        self.move = f"""
            update {checkpoints} as c
            set next_offset = a.next_offset, epoch = a.epoch, sequence = a.sequence,
                event_id = a.event_id, recorded_ms = a.recorded_ms, updated_at = now(),
                event_max = greatest(c.event_max, $14::timestamptz),
                recorded_max = greatest(c.recorded_max, $16::timestamptz),
                event_min = least(c.event_min, $13::timestamptz),
                recorded_min = least(c.recorded_min, $15::timestamptz)
            from unnest(
                $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::bigint[], $10::bigint[], $11::text[], $12::bigint[]
            ) as a (
                partition, before_offset, before_epoch, before_sequence, next_offset, epoch,
                sequence, event_id, recorded_ms
            )
            where c.name = $1 and c.version = $2 and c.build = $3
              and c.partition = a.partition
              and c.next_offset = a.before_offset and c.epoch = a.before_epoch
              and c.sequence = a.before_sequence
              and (c.held_until is null or c.held_until < clock_timestamp()
                   or a.next_offset <= c.hold_at)
        """
        self.lock_checkpoints = (
            f"select partition, next_offset from {checkpoints} where {_THIS} "
            "order by partition for update"
        )
        self.hold = f"""
            update {checkpoints} c
            set hold_at = h.at, held_until = clock_timestamp() + make_interval(secs => $6)
            from unnest($4::integer[], $5::bigint[]) as h (partition, at)
            where {_THIS} and c.partition = h.partition
        """
        self.let_go = f"update {checkpoints} set held_until = null where {_THIS}"
        # A little later too: a hold may end between the refusal and this question.
        self.held = (
            f"select partition, hold_at from {checkpoints} where {_THIS} "
            "and held_until > clock_timestamp() - interval '5 seconds'"
        )
        # The span ends here; what is read next begins another.
        self.end_spans = f"""
            with ended as (
                insert into {spans} select name, version, build, partition, next_offset, epoch,
                    sequence, event_min, recorded_min
                from {checkpoints} where {_THIS} and partition = any($4::integer[])
            )
            update {checkpoints} set event_min = 'infinity', recorded_min = 'infinity'
            where {_THIS} and partition = any($4::integer[])
        """
        self.mix = f"update {views} set mixed = true where {_THIS} and not mixed"
        self.park = (
            f"insert into {parked} (name, version, build, partition, log_offset, entity, "
            "event_type, why, stops, error, stack) "
            "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        )
        self.free = (
            f"delete from {parked} p using unnest($4::integer[], $5::bigint[]) as f (part, at) "
            f"where {_THIS} and p.partition = f.part and p.log_offset = f.at"
        )
        self.stopped = f"select distinct partition, entity from {parked} where {_THIS} and stops"
        all_parked = (
            "select partition, log_offset, entity, event_type, why, stops, error, stack "
            f"from {parked} where {_THIS}"
        )
        self.parked = f"{all_parked} order by partition, log_offset"
        self.parked_at = f"{all_parked} and partition = $4 and log_offset = $5"
        self.parked_of = f"{all_parked} and partition = $4 and entity = $5 order by log_offset"
        self.status = f"""
            select v.name, v.version, v.state, v.code_hash, v.log_id, c.partition, c.next_offset,
                   c.epoch, c.sequence, c.event_id, c.recorded_ms, c.updated_at, p.parked,
                   p.stopped, v.build, v.bulk, v.wish, v.scratch, v.error
            from {views} v
            join {checkpoints} c
                on c.name = v.name and c.version = v.version and c.build = v.build
            cross join lateral (
                select count(*) as parked,
                       count(distinct (partition, entity)) filter (where stops) as stopped
                from {parked}
                where name = v.name and version = v.version and build = v.build
            ) p
            order by v.name, v.version, v.build, c.partition
        """
        self.live_offsets = (
            f"select c.name, c.partition, c.next_offset from {checkpoints} c "
            f"join {views} v on v.name = c.name and v.version = c.version and v.build = c.build "
            "where v.state = 'live' and v.name = any($1::text[])"
        )


class TableSql:
    """Statements about one table of one build."""

    def __init__(self, namespace: str, table: Table[Any], build: int = 1) -> None:
        projection = table.projection
        self.schema = schema_of(namespace, projection.name, projection.version, build)
        self.name = table.name
        self.columns = [column.name for column in table.columns]
        self.path = f"{quoted(self.schema)}.{quoted(table.name)}"
        self.incoming = f"incoming_{projection.version}_{projection.name[:20]}_{table.name[:30]}"
        types = {column.name: column.sql_type for column in table.columns}
        names = ", ".join(quoted(name) for name in self.columns)
        key = ", ".join(quoted(name) for name in table.key)
        rest = [quoted(name) for name in self.columns if name not in table.key]
        assignments = ", ".join(f"{name} = excluded.{name}" for name in rest)
        on_conflict = f"on conflict ({key}) do " + (
            f"update set {assignments}" if rest else "nothing"
        )
        values = ", ".join(f"${n}" for n in range(1, len(self.columns) + 1))
        keys = ", ".join(f"${n}::{types[k]}[]" for n, k in enumerate(table.key, 1))
        matches = " and ".join(f"t.{quoted(k)} = k.{quoted(k)}" for k in table.key)
        prefixed = ", ".join(f"t.{quoted(name)}" for name in self.columns)
        self.load = (
            f"select {prefixed} from unnest({keys}) as k ({key}) join {self.path} t on {matches}"
        )
        self.all = f"select {names} from {self.path} order by {key}"
        self.delete = f"delete from {self.path} t using unnest({keys}) as k ({key}) where {matches}"
        self.insert = f"insert into {self.path} ({names}) values ({values})"
        self.upsert = f"{self.insert} {on_conflict}"
        self.create_incoming = (
            f"create temp table if not exists {quoted(self.incoming)} (like {self.path}) "
            "on commit delete rows"
        )
        self.merge = (
            f"insert into {self.path} ({names}) select {names} from {quoted(self.incoming)} "
            f"{on_conflict}"
        )


# Text in the order of its code points: quicker, and the same on every machine.
_DDL_TYPES = {"text": 'text collate "C"'}


def create_view_schema(
    namespace: str, projection: Projection, build: int = 1, *, indexes: bool = True
) -> str:
    """Return the statements that make a build's schema and tables.

    Args:
        indexes: all of them; without, only the keys', and ``create_indexes`` follows.
    """
    schema = quoted(schema_of(namespace, projection.name, projection.version, build))
    # What is there is left from an attempt that never came into the books.
    statements = [f"drop schema if exists {schema} cascade", f"create schema {schema}"]
    for table in projection.tables:
        path = f"{schema}.{quoted(table.name)}"
        columns = [
            f"{quoted(c.name)} {_DDL_TYPES.get(c.sql_type, c.sql_type)}"
            f"{'' if c.nullable else ' not null'}"
            for c in table.columns
        ]
        key = ", ".join(quoted(name) for name in table.key)
        # Room on each page, so that a row that changes stays where its index entries point.
        room = "" if table.append_only else " with (fillfactor = 85)"
        statements.append(f"create table {path} ({', '.join(columns)}, primary key ({key})){room}")
    if indexes:
        statements += create_indexes(namespace, projection, build)
    paths = {table.name: f"{schema}.{quoted(table.name)}" for table in projection.tables}
    for name, sql in projection.queries.items():
        statements.append(f"create view {schema}.{quoted(name)} as {sql.format(**paths)}")
    return ";\n".join(statements)


def create_indexes(namespace: str, projection: Projection, build: int) -> list[str]:
    schema = quoted(schema_of(namespace, projection.name, projection.version, build))
    return [
        f"create index on {schema}.{quoted(table.name)} "
        f"({', '.join(quoted(name) for name in index)})"
        for table in projection.tables
        for index in table.indexes
    ]


def create_view(namespace: str, layout: Any, schema: str, *, anew: Any = None) -> str:
    """Return the statements that point the stable names to a build's schema.

    Args:
        layout: of the build (see ``store.layout_of``).
        anew: the layout that the names stand for now; names of another shape are made anew.
    """
    now = {**layout["tables"], **layout["queries"]}
    then = {} if anew is None else {**anew["tables"], **anew["queries"]}
    statements = [
        f"drop view {quoted(namespace)}.{quoted(old)}"
        for old, shape in then.items()
        if now.get(old) != shape
    ]
    statements += [
        f"create or replace view {quoted(namespace)}.{quoted(new)} as "
        f"select * from {quoted(schema)}.{quoted(new)}"
        for new in now
    ]
    return ";\n".join(statements)


def statuses_from(records: Iterable[Any]) -> list[ViewStatus]:
    """Return what the statement ``Books.status`` found."""
    found: dict[tuple[str, int, int], ViewStatus] = {}
    for r in records:
        status = found.setdefault(
            (r["name"], r["version"], r["build"]),
            ViewStatus(
                name=r["name"],
                version=r["version"],
                state=r["state"],
                code_hash=r["code_hash"],
                log_id=r["log_id"],
                checkpoints={},
                updated_at=r["updated_at"],
                parked=r["parked"],
                stopped=r["stopped"],
                build=r["build"],
                bulk=r["bulk"],
                wish=r["wish"],
                scratch=r["scratch"],
                error=r["error"],
            ),
        )
        status.checkpoints[r["partition"]] = Checkpoint(
            r["next_offset"], r["epoch"], r["sequence"], r["event_id"], r["recorded_ms"]
        )
    return list(found.values())


def offsets_from(records: Iterable[Any]) -> dict[str, dict[int, int]]:
    """Return what the statement ``Books.live_offsets`` found."""
    found: dict[str, dict[int, int]] = {}
    for r in records:
        found.setdefault(r["name"], {})[r["partition"]] = r["next_offset"]
    return found
