"""Rebuilds that somebody asked for and does not wait for: the projector carries them out.

A line in the books says what is asked, by whom, and how far it is. A projector that has the view's
code takes it; ended in the middle, the next projector goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple

from meshline.events.errors import MeshlineError
from meshline.events.log import EventLog
from meshline.projections.build_choice import build_under_way
from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.postgres_builds import Build, Builds, Wish
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.postgres_schema import Books
from meshline.projections.projection import Projection
from meshline.projections.rebuild import REBUILDING, Progress, Rebuild

__all__ = ["AskedRebuild", "AskedRebuilds", "RebuildsOnDemand"]

_logger = logging.getLogger("meshline.projections")

_UNATTENDED = {"run": "asked", "pause": "paused", "cancel": "cancelled"}
"""What becomes of a rebuild that no process is at work on, by what is asked of it."""

LOOK_S = 1.0
"""How often the books are asked, and told how far it is."""

BESIDE_LIVE_VIEWS = replace(REBUILDING, batch_records_max=1_000)
"""While a batch is folded the live views of this process wait: it is a small one."""

_TABLE = """
create schema if not exists {schema};
create table if not exists {schema}.asked_rebuilds (
    name text primary key,
    asked_by text not null,
    asked_at timestamptz not null default now(),
    state text not null default 'asked',
    version integer,
    build integer,
    done bigint not null default 0,
    total bigint not null default 0,
    rate double precision not null default 0,
    eta_s double precision,
    detail text not null default '',
    told_at timestamptz
);
"""


class AskedRebuild(NamedTuple):
    """The last rebuild of a view that somebody asked for, and how far it is.

    ``told_at`` is when a projector last said so; ``asked`` without it means that none has seen it.
    """

    name: str
    asked_by: str
    asked_at: datetime
    state: Literal["asked", "loading", "paused", "loaded", "cancelled", "failed"]
    version: int | None
    build: int | None
    done: int
    total: int
    rate: float
    eta_s: float | None
    detail: str
    told_at: datetime | None

    @property
    def is_open(self) -> bool:
        return self.state in ("asked", "loading", "paused")


class AskedRebuilds:
    """What is asked, in the books at an address."""

    def __init__(self, address: str) -> None:
        parsed = parse_address(address)
        self._address = address
        self._schema = Books(parsed.namespace).schema
        self._table = f"{self._schema}.asked_rebuilds"
        self._pool = Pool(parsed, connections_max=1)

    async def open(self) -> None:
        await self._pool.run_script(_TABLE.format(schema=self._schema))

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def all(self) -> list[AskedRebuild]:
        found = await self._pool.fetch(f"select * from {self._table} order by name")
        return [AskedRebuild(**record) for record in found]

    async def one(self, name: str) -> AskedRebuild | None:
        return next((each for each in await self.all() if each.name == name), None)

    async def ask(self, name: str, *, actor: str) -> AskedRebuild:
        """Ask for a rebuild of the view.

        Raises:
            NotFound: there is no such view.
            NotSwappable: it is being rebuilt already.
        """
        books = Builds(self._address)
        try:
            statuses = [s for s in await books.statuses() if s.name == name and not s.scratch]
            if not statuses:
                raise NotFound(
                    f"There is no view {name[:60]!r}: expected one of those that `meshline view "
                    "list` shows."
                )
            for status in statuses:
                if status.bulk and await books.has_writer(
                    Build(status.name, status.version, status.build)
                ):
                    raise _under_way(name)
        finally:
            await books.aclose()
        made = await self._pool.fetch(
            f"""
            insert into {self._table} (name, asked_by) values ($1, $2)
            on conflict (name) do update set asked_by = $2, asked_at = now(), state = 'asked',
                version = null, build = null, done = 0, total = 0, rate = 0, eta_s = null,
                detail = '', told_at = null
            where {self._table}.state not in ('asked', 'loading', 'paused') returning *
            """,
            name,
            actor,
        )
        if not made:
            raise _under_way(name)
        return AskedRebuild(**made[0])

    async def wish(self, name: str, wish: Wish) -> None:
        """Let the rebuild of the view rest, go on, or end; see ``Builds.wish``.

        Raises:
            NotFound: none is under way.
        """
        asked, books = await self.one(name), Builds(self._address)
        try:
            try:
                build = await build_under_way(books, name)
            except NotFound:
                if asked is None or asked.state != "asked" or wish != "cancel":
                    raise
                await self.tell(name, "cancelled")
                return
            await books.wish(build, wish)
            if await books.has_writer(build):
                return
            if wish == "cancel":
                await books.discard(build)
            if asked is not None:
                await self.tell(name, _UNATTENDED[wish])
        finally:
            await books.aclose()

    async def tell(
        self,
        name: str,
        state: str,
        *,
        build: Build | None = None,
        progress: Progress | None = None,
        detail: str = "",
    ) -> None:
        """Write down how far it is."""
        done, total, rate, eta_s = (0, 0, 0.0, None) if progress is None else progress[:4]
        await self._pool.fetch(
            f"""
            update {self._table} set state = $2, version = coalesce($3, version),
                build = coalesce($4, build), detail = $5, told_at = now(),
                done = case when $10 then $6 else done end,
                total = case when $10 then $7 else total end,
                rate = case when $10 then $8 else rate end,
                eta_s = case when $10 then $9 else eta_s end
            where name = $1
            """,
            name,
            state,
            None if build is None else build.version,
            None if build is None else build.build,
            detail.replace("\x00", "")[:2_000],
            done,
            total,
            rate,
            eta_s,
            progress is not None,
        )


def _under_way(name: str) -> NotSwappable:
    return NotSwappable(
        f"The view {name} is being rebuilt already: expected one rebuild at a time. Wait for it, "
        f"or stop it with `meshline view cancel {name}`."
    )


class RebuildsOnDemand:
    """Run it as a task beside a projector; cancelling ends it, and what is under way is gone on
    with by the next one.

    Args:
        projections: whose code is at hand; what is asked of others is left to who has theirs.
    """

    def __init__(self, log: EventLog, address: str, projections: Iterable[Projection]) -> None:
        self._log = log
        self._address = address
        self._projections = {projection.name: projection for projection in projections}

    async def run(self) -> None:
        asked = AskedRebuilds(self._address)
        is_open = False
        try:
            while True:
                try:
                    if not is_open:
                        await asked.open()
                        is_open = True
                    # One after the other: each takes what the live views leave.
                    for each in await asked.all():
                        # One that was paused, and whose process has ended, rests until it is
                        # told to go on.
                        is_wanted = each.is_open and each.state != "paused"
                        if is_wanted and each.name in self._projections:
                            await self._carry_out(asked, each.name)
                except MeshlineError as error:
                    _logger.info("The books of the views did not answer: %s", error)
                await asyncio.sleep(LOOK_S)
        finally:
            await asked.aclose()

    async def _carry_out(self, asked: AskedRebuilds, name: str) -> None:
        work = Rebuild(
            self._log, self._address, [self._projections[name]], settings=BESIDE_LIVE_VIEWS
        )
        clock = asyncio.get_running_loop().time
        tell_at, last = 0.0, None
        try:
            async with aclosing(work.run()) as running:
                async for progress in running:
                    last = progress
                    if clock() >= tell_at:
                        tell_at = clock() + LOOK_S
                        state = "paused" if progress.paused else "loading"
                        await asked.tell(
                            name, state, build=work.builds[name], progress=progress,
                            detail=progress.error or "",
                        )  # fmt: skip
        except NotSwappable as error:
            # Another process has it: what it says of it counts.
            _logger.info("The rebuild of %s is left to another process: %s", name, error)
            return
        except MeshlineError as error:
            _logger.warning("The rebuild of %s has failed: %s", name, error)
            await asked.tell(name, "failed", detail=error.message)
            return
        except Exception:
            _logger.exception("The rebuild of %s has failed", name)
            await asked.tell(name, "failed", detail="The log of the projector says why.")
            return
        state = "cancelled" if work.cancelled else "loaded"
        await asked.tell(name, state, build=work.builds[name], progress=last)
