"""The log's tables in PostgreSQL, and the statements on them."""

from __future__ import annotations

import asyncpg

from meshline.events.errors import LogIdentityChanged
from meshline.events.log.opening import identity_of, log_created
from meshline.events.log.postgres_link import Connection
from meshline.events.log.protocol import LogIdentity

__all__ = ["Statements", "create", "identity"]

# The next offset is the last record's plus one, and not a counter in `partitions`: a counter's
# row would get a new version with every append, and while a long transaction runs somewhere (a
# rebuild, a backup) they can't be removed, and every append walks over all of them. A row lock
# makes no version. It is in a function because each statement in one sees what was committed
# before it, so that the last record is looked up after the lock is had; and because a writer that
# is stopped half-way never holds a lock: the server does it all, or nothing, alone.
TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.partitions (
    partition integer PRIMARY KEY,
    log_id text NOT NULL
);
CREATE TABLE {schema}.records (
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL,
    appended_ms bigint NOT NULL,
    PRIMARY KEY (partition, "offset")
);
CREATE TABLE {schema}.members (
    "group" text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY ("group", id)
);
CREATE TABLE {schema}.assignments (
    "group" text NOT NULL,
    partition integer NOT NULL,
    member text NOT NULL,
    PRIMARY KEY ("group", partition)
);
CREATE FUNCTION {schema}.append(
    expected_log_id text,
    wanted integer[],
    partitions integer[],
    places integer[],
    keys text[],
    "values" bytea[],
    OUT partition integer,
    OUT first bigint
) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    locked integer;
BEGIN
    PERFORM 1 FROM {schema}.partitions p
        WHERE p.partition = ANY (wanted) AND p.log_id = expected_log_id
        ORDER BY p.partition
        FOR NO KEY UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked <> cardinality(wanted) THEN
        RETURN;
    END IF;
    RETURN QUERY
        WITH ends AS MATERIALIZED (
            SELECT w.partition, last."offset" + 1 AS first, greatest(
                last.appended_ms, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
            ) AS appended_ms
            FROM unnest(wanted) AS w (partition)
            CROSS JOIN LATERAL (
                SELECT r."offset", r.appended_ms FROM {schema}.records r
                WHERE r.partition = w.partition ORDER BY r."offset" DESC LIMIT 1
            ) last
        ), inserted AS (
            INSERT INTO {schema}.records (partition, "offset", key, value, appended_ms)
            SELECT e.partition, e.first + n.place, n.key, n.value, e.appended_ms
            FROM unnest(partitions, places, keys, "values") AS n (partition, place, key, value)
            JOIN ends e ON e.partition = n.partition
        )
        SELECT e.partition, e.first FROM ends e;
END $$;
"""

# Each partition's records are read along the primary key, so they come in order; the range has an
# end so that a fetch costs what it returns, whatever plan is made. What goes beyond the bytes is
# cut off before its values are read. The last part finds out, for the price
# of one row, that the log was dropped and made again.
READ = """
SELECT partition, "offset", key, value, appended_ms FROM (
    SELECT *,
        sum(octet_length(value)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(value) AS before
    FROM (
        SELECT r.* FROM unnest($1::integer[], $2::bigint[]) AS w (partition, start)
        CROSS JOIN LATERAL (
            SELECT r.partition, r."offset", r.key, r.value, r.appended_ms FROM {schema}.records r
            WHERE r.partition = w.partition
                AND r."offset" >= w.start AND r."offset" < w.start + $3::integer
            ORDER BY r."offset" LIMIT $3
        ) r LIMIT $3
    ) taken
) measured WHERE before < $4
UNION ALL
SELECT -1, 0, log_id, ''::bytea, 0 FROM {schema}.partitions WHERE partition = 0 AND log_id <> $5
"""

ENDS = """
SELECT p.partition, p.log_id, (
    SELECT r."offset" + 1 FROM {schema}.records r
    WHERE r.partition = p.partition ORDER BY r."offset" DESC LIMIT 1
) AS "end"
FROM {schema}.partitions p
"""

APPENDED_MS = """
SELECT w.partition, r.appended_ms FROM unnest($1::integer[], $2::bigint[]) AS w (partition, place)
JOIN {schema}.records r ON r.partition = w.partition AND r."offset" = w.place
"""

FIRST_RECORDS = """
SELECT p.partition, r.value FROM {schema}.partitions p
LEFT JOIN {schema}.records r ON r.partition = p.partition AND r."offset" = 0
ORDER BY p.partition
"""


class Statements:
    """The statements for one schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.channel = schema
        self.append = f"SELECT partition, first FROM {schema}.append($1, $2, $3, $4, $5, $6)"
        self.read = READ.format(schema=schema)
        self.ends = ENDS.format(schema=schema)
        self.appended_ms = APPENDED_MS.format(schema=schema)
        self.first_records = FIRST_RECORDS.format(schema=schema)


async def identity(connection: Connection, statements: Statements) -> LogIdentity | None:
    """Return which log the tables hold; None if there are none.

    Raises:
        LogIdentityChanged: they hold something else than a whole log.
    """
    exists = await connection.fetchval(
        "SELECT to_regclass($1) IS NOT NULL", f"{statements.schema}.partitions"
    )
    if not exists:
        return None
    rows = await connection.fetch(statements.first_records)
    values = [row["value"] for row in rows]
    found = {identity_of(value) for value in values if value is not None}
    if None in values or [each.partitions for each in found] != [len(rows)]:
        raise LogIdentityChanged(
            f"The {len(rows)} partitions in schema {statements.schema!r} begin with "
            f"{sorted(each.log_id for each in found)}: expected one log, with all its partitions. "
            "Records were deleted, or something else wrote to the tables: restore a backup."
        )
    return found.pop()


async def create(connection: Connection, statements: Statements, new: LogIdentity) -> None:
    """Make the tables and each partition's first record, unless another process just did."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", statements.schema)
        try:
            async with connection.transaction():
                await connection.execute(TABLES.format(schema=statements.schema))
        except (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError):
            return
        partitions = range(new.partitions)
        await connection.executemany(
            f"INSERT INTO {statements.schema}.partitions VALUES ($1, $2)",
            [(partition, new.log_id) for partition in partitions],
        )
        await connection.executemany(
            f"INSERT INTO {statements.schema}.records VALUES ($1, 0, $2, $3, "
            "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)",
            [(partition, *log_created(new, partition)) for partition in partitions],
        )
