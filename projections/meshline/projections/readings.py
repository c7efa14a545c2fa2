"""Who read payloads: kept beside the keys, and before whoever reads is answered.

It is no event: a run's history says what was said about the run, and looking at it says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.clock import Clock, SystemClock
from meshline.projections.postgres_connection import Pool, parse_address

__all__ = ["ReadingRow", "Readings"]

_TABLE = """
create schema if not exists {schema};
create table if not exists {schema}.payload_readings (
    number bigint generated always as identity primary key,
    read_at timestamptz not null,
    actor text not null,
    credential text not null,
    what text not null,
    about text not null,
    items integer not null,
    run_ids text[] not null,
    positions text[] not null
);
create index if not exists payload_readings_by_time
    on {schema}.payload_readings (read_at desc, number desc);
create index if not exists payload_readings_by_actor
    on {schema}.payload_readings (actor, read_at desc, number desc);
create index if not exists payload_readings_by_run
    on {schema}.payload_readings using gin (run_ids);
"""
_COLUMNS = (
    *("read_at", "actor", "credential", "what", "about"),
    *("items", "run_ids", "positions"),
)


class ReadingRow(NamedTuple):
    """One answer with payloads in it, however many those were.

    ``what`` names the fields and ``about`` whose they are; ``items`` is how many rows had some.
    ``positions`` are the events that said it, where single events were read. ``credential`` is the
    key or token; empty for who is signed in to the console.
    """

    number: int
    read_at: datetime
    actor: str
    credential: str
    what: str
    about: str
    items: int
    run_ids: list[str]
    positions: list[str]


class Readings:
    """Keeps who read what.

    Args:
        address: of the views: the table is in a schema beside theirs.
    """

    def __init__(self, address: str, *, clock: Clock | None = None) -> None:
        parsed = parse_address(address)
        self._schema = f"{parsed.namespace}_access"
        self._pool = Pool(parsed, connections_max=1)
        self._clock = clock or SystemClock()
        self._waiting: dict[int, dict[str, Any]] = {}
        self._taken = 0
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Make the table if it is not there."""
        await self._pool.run_script(_TABLE.format(schema=self._schema))

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def note(
        self,
        actor: str,
        credential: str,
        what: str,
        about: str,
        *,
        items: int = 1,
        run_ids: Sequence[str] = (),
        positions: Sequence[str] = (),
    ) -> None:
        """Keep it; when this returns it will be found.

        Raises:
            StoreUnavailable: it can't be kept: nothing may be shown then.
        """
        values = (self._clock.now(), actor, credential, what, about, items, run_ids, positions)
        self._taken += 1
        number = self._taken
        self._waiting[number] = dict(zip(_COLUMNS, values, strict=True))
        try:
            async with self._writing:
                # What came while others were written is written with one of it, at once.
                if number in self._waiting:
                    some = dict(self._waiting)
                    await self._write([*some.values()])
                    for each in some:
                        self._waiting.pop(each, None)
        finally:
            self._waiting.pop(number, None)

    async def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        columns = ", ".join(_COLUMNS)
        await self._pool.fetch(
            f"insert into {self._schema}.payload_readings ({columns}) select {columns} from "
            f"jsonb_populate_recordset(null::{self._schema}.payload_readings, $1) order by read_at",
            rows,
        )
