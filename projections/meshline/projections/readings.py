"""Who read payloads: kept beside the keys, and before whoever reads is answered.

It is no event: a run's history says what was said about the run, and looking at it says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from meshline.events.clock import Clock, SystemClock
from meshline.events.errors import MeshlineError
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.settings import ReadingSettings

__all__ = ["ReadingRow", "Readings"]

_logger = logging.getLogger("meshline.audit")

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
    """Keeps who read what, for a time; what is older goes while this is open.

    Args:
        address: of the views: the table is in a schema beside theirs.
    """

    def __init__(
        self,
        address: str,
        settings: ReadingSettings | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        parsed = parse_address(address)
        self._schema = f"{parsed.namespace}_access"
        self._pool = Pool(parsed, connections_max=1)
        self._settings = settings or ReadingSettings()
        self._clock = clock or SystemClock()
        self._known: OrderedDict[tuple[Any, ...], datetime] = OrderedDict()
        self._sweeping: asyncio.Task[None] | None = None
        self._waiting: dict[int, dict[str, Any]] = {}
        self._taken = 0
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Make the table if it is not there, and begin to look for what is old."""
        await self._pool.run_script(_TABLE.format(schema=self._schema))
        self._sweeping = asyncio.create_task(self._sweep_on(), name="sweep readings")

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self._pool.aclose()

    async def sweep(self) -> int:
        """Delete what is older than it is kept, some at a time, and return how much that was."""
        before = self._clock.now() - timedelta(days=self._settings.kept_days)
        swept, batch = 0, self._settings.batch_rows_max
        while True:
            # What another server deletes just now is left to it: nobody waits for anybody.
            gone = await self._pool.fetch(
                f"delete from {self._schema}.payload_readings where number in (select number from "
                f"{self._schema}.payload_readings where read_at < $1 order by read_at, number "
                "limit $2 for update skip locked) returning 1",
                before, batch,
            )  # fmt: skip
            swept += len(gone)
            if len(gone) < batch:
                return swept

    async def _sweep_on(self) -> None:
        while True:
            try:
                swept = await self.sweep()
                if swept:
                    _logger.info(
                        "%d readings are older than %g days and gone", swept,
                        self._settings.kept_days,
                    )  # fmt: skip
            except MeshlineError as error:
                _logger.warning("Readings that are old could not be deleted: %s", error)
            await asyncio.sleep(self._settings.sweep_s)

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
        refreshes: bool = False,
    ) -> None:
        """Keep it; when this returns it will be found.

        Args:
            refreshes: by itself: what was read just now is not read again.
        Raises:
            StoreUnavailable: it can't be kept: nothing may be shown then.
        """
        now = self._clock.now()
        same = (actor, credential, what, about, items, *run_ids, *positions)
        if refreshes and self._is_known(same, now):
            return
        values = (now, actor, credential, what, about, items, run_ids, positions)
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
        self._known[same] = now
        self._known.move_to_end(same)
        if len(self._known) > self._settings.known_max:
            self._known.popitem(last=False)

    def _is_known(self, same: tuple[Any, ...], now: datetime) -> bool:
        before = self._known.get(same)
        return before is not None and now - before < timedelta(seconds=self._settings.same_s)

    async def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        columns = ", ".join(_COLUMNS)
        await self._pool.fetch(
            f"insert into {self._schema}.payload_readings ({columns}) select {columns} from "
            f"jsonb_populate_recordset(null::{self._schema}.payload_readings, $1) order by read_at",
            rows,
        )
