"""What a view could not apply: each key that is parked, why, and what waits behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.envelope import Position
from meshline.projections.errors import NotFound
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.postgres_schema import Books
from meshline.projections.store import Stop

__all__ = ["ParkedKey", "parked_keys"]

LIMIT_MAX = 1_000


class ParkedKey(NamedTuple):
    """A key (its run, for most views) of one build: the event that stopped it, and the rest.

    ``behind`` events of the key came later, up to ``last``. Where ``stops`` is false the event was
    left out, and nothing waits for it.
    """

    name: str
    version: int
    build: int
    state: str
    key: str
    position: Position
    event_type: str
    why: str
    stops: bool
    error: str
    stack: str
    parked_at: datetime
    behind: int
    last: Position


async def parked_keys(
    address: str,
    name: str,
    *,
    key: str | None = None,
    at: Position | None = None,
    of: Sequence[Stop] | None = None,
    live_only: bool = False,
    limit: int = 50,
) -> list[ParkedKey]:
    """Return the keys that are parked in the view, those that are longest first.

    Args:
        address: of the views.
        key: only those that begin so.
        at: not each key's first event but the one that is parked there, with what is behind it.
        of: only these keys, each in its partition.
        live_only: only those of the live build.
    Raises:
        NotFound: there is no such view.
    """
    parsed = parse_address(address)
    books = Books(parsed.namespace).schema
    pool = Pool(parsed, connections_max=1)
    try:
        known = await pool.fetch(f"select 1 from {books}.views where name = $1 limit 1", name)
        if not known:
            raise NotFound(
                f"There is no view {name!r}: expected one of those that `meshline view list` shows."
            )
        found = await pool.fetch(
            _statement(books),
            name,
            key,
            min(limit, LIMIT_MAX),
            *(at or (None, None)),
            live_only,
            *(([p for p, _ in of], [k for _, k in of]) if of is not None else (None, None)),
        )
    finally:
        await pool.aclose()
    return [_parked_key(record) for record in found]


def _statement(books: str) -> str:
    # A key's first event says why; those behind it have no error of their own.
    return f"""
        with numbered as (
            select p.*, v.state,
                   row_number() over one as place,
                   count(*) over one_all - row_number() over one as behind,
                   max(log_offset) over one_all as last
            from {books}.parked p
            join {books}.views v using (name, version, build)
            where p.name = $1 and ($2::text is null or starts_with(p.entity, $2))
                and (v.state = 'live' or not $6)
                and ($7::integer[] is null
                     or (partition, entity) in (select * from unnest($7, $8::text[])))
            window one_all as (partition by name, version, build, partition, entity),
                   one as (partition by name, version, build, partition, entity
                           order by log_offset)
        )
        select * from numbered
        where case when $4::integer is null then place = 1
                   else partition = $4 and log_offset = $5::bigint end
        order by parked_at, version, build, partition, log_offset limit $3
    """


def _parked_key(record: dict[str, Any]) -> ParkedKey:
    partition = record["partition"]
    fields: Sequence[str] = (
        "name", "version", "build", "state", "event_type", "why", "stops", "error", "stack",
        "parked_at", "behind",
    )  # fmt: skip
    return ParkedKey(
        **{field: record[field] for field in fields},
        key=record["entity"],
        position=Position(partition, record["log_offset"]),
        last=Position(partition, record["last"]),
    )
