"""Is a view what its log and its code make of it? Built again beside it, and compared."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

from meshline.events.log import EventLog
from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.from_scratch import Difference
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_connection import Connection, Session, parse_address
from meshline.projections.postgres_schema import Books, TableSql
from meshline.projections.projection import Projection, Table
from meshline.projections.rebuild import Progress, Rebuild

__all__ = ["Verdict", "Verification"]

SAMPLES_MAX = 20
"""Differences that are named; all are counted."""


class Verdict(NamedTuple):
    """``rows`` of both were compared at ``positions``; ``samples`` are the first that differ."""

    view: str
    rows: int
    different: int
    samples: list[Difference]
    positions: dict[int, int]


class Verification:
    """Iterate over ``run`` to the end; then ``verdict`` is there.

    Args:
        log: opened.
        address: of the views.
    """

    def __init__(
        self,
        log: EventLog,
        address: str,
        projection: Projection,
        *,
        events_per_s_max: int | None = None,
    ) -> None:
        self.verdict: Verdict | None = None
        self._log = log
        self._address = parse_address(address)
        self._books = Books(self._address.namespace)
        self._projection = projection
        self._builds = Builds(address)
        self._rebuild = Rebuild(
            log, address, [projection], events_per_s_max=events_per_s_max, scratch=True
        )

    async def run(self) -> AsyncGenerator[Progress]:
        """Give the progress of the build that is compared.

        Raises:
            NotFound: the view is not live.
            NotSwappable: another version is live than the code at hand, or it was cancelled.
        """
        projection = self._projection
        frozen = Connection(self._address)
        await self._builds.open()
        try:
            live = await self._live()
            scratch = await self._builds.begin(projection, self._log.identity, scratch=True)
            self._rebuild.builds[projection.name] = scratch
            try:
                # Up to where the live build is; then it is frozen, and the rest is short.
                async with aclosing(self._load(await self._positions(live))) as loading:
                    async for progress in loading:
                        yield progress
                async with frozen.frozen() as session:
                    positions = await self._positions_in(session, live)
                    async with aclosing(self._load(positions)) as loading:
                        async for progress in loading:
                            yield progress
                    self.verdict = await self._compare(session, live, scratch, positions)
            finally:
                await self._builds.discard(scratch)
        finally:
            await frozen.aclose()
            await self._builds.aclose()

    async def _load(self, until: dict[int, int]) -> AsyncGenerator[Progress]:
        async with aclosing(self._rebuild.load(self._builds, until)) as loading:
            async for progress in loading:
                yield progress
        if self._rebuild.cancelled:
            raise NotSwappable(
                f"The verification of {self._projection.name} was cancelled: expected to compare "
                "all of it. Start it again."
            )

    async def _live(self) -> Build:
        name, version = self._projection.name, self._projection.version
        for status in await self._builds.statuses():
            if status.name == name and status.state == "live":
                if status.version != version:
                    raise NotSwappable(
                        f"Version {status.version} of the view {name} is live, but the code at "
                        f"hand is version {version}: expected the same. Verify with the code of "
                        "the live version."
                    )
                return Build(name, version, status.build)
        raise NotFound(f"The view {name} is not live: expected one to compare with. Build it.")

    async def _positions(self, build: Build) -> dict[int, int]:
        connection = Connection(self._address)
        try:
            async with connection.use() as session:
                return await self._positions_in(session, build)
        finally:
            await connection.aclose()

    async def _positions_in(self, session: Session, build: Build) -> dict[int, int]:
        found = await session.fetch(self._books.checkpoints, *build)
        return {record[0]: record[1] for record in sorted(found)}

    async def _compare(
        self, session: Session, live: Build, scratch: Build, positions: dict[int, int]
    ) -> Verdict:
        rows, different, samples = 0, 0, list[Difference]()
        other = Connection(self._address)
        try:
            async with other.frozen() as theirs:
                for table in self._projection.tables:
                    pairs = _pairs(
                        table,
                        session.stream(self._all(table, live)),
                        theirs.stream(self._all(table, scratch)),
                    )
                    async for key, here, there in pairs:
                        rows += 1
                        if here != there:
                            different += 1
                            if len(samples) < SAMPLES_MAX:
                                samples.append(Difference(table.name, key, here, there))
        finally:
            await other.aclose()
        return Verdict(self._projection.name, rows, different, samples, positions)

    def _all(self, table: Table[Any], build: Build) -> str:
        return TableSql(self._address.namespace, table, build.build).all


async def _pairs(
    table: Table[Any], here: AsyncIterator[Any], there: AsyncIterator[Any]
) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Bring two tables together that come in the order of their keys."""
    ours, theirs = await anext(here, None), await anext(there, None)
    while ours is not None or theirs is not None:
        our_key = None if ours is None else table.key_of(tuple(ours))
        their_key = None if theirs is None else table.key_of(tuple(theirs))
        key = min(k for k in (our_key, their_key) if k is not None)
        our_row = table.make(ours) if our_key == key and ours is not None else None
        their_row = table.make(theirs) if their_key == key and theirs is not None else None
        yield key, our_row, their_row
        if our_row is not None:
            ours = await anext(here, None)
        if their_row is not None:
            theirs = await anext(there, None)
