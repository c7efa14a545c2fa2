"""Makes snapshots of views beside whoever writes them, whenever one is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from meshline.projections.built_in import BUILT_IN
from meshline.projections.code_hash import code_hash_of
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_snapshots import PostgresSnapshots
from meshline.projections.projection import Projection
from meshline.projections.settings import SnapshotSettings
from meshline.projections.snapshots import can_be_kept
from meshline.projections.store import ViewStatus

__all__ = ["SnapshotMaker"]

_logger = logging.getLogger("meshline.projections")


class SnapshotMaker:
    """Run it as a task beside a projector or a rebuild; cancelling ends it, at any moment.

    Args:
        address: of the views.
        among: the builds that are its own; all that are loaded, by default.
    """

    def __init__(
        self,
        address: str,
        projections: Iterable[Projection] = BUILT_IN,
        settings: SnapshotSettings | None = None,
        *,
        among: Callable[[Build], bool] | None = None,
    ) -> None:
        self._settings = settings or SnapshotSettings()
        self._projections = {(p.name, p.version): p for p in projections if can_be_kept(p)}
        self._among = among
        self._books = Builds(address)
        self._snapshots = PostgresSnapshots(address, self._settings)
        self._last: dict[Build, int] = {}

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while True:
                began = clock()
                try:
                    await self.make_due()
                except Exception as error:
                    # A build may be dropped at any moment; and nothing depends on snapshots.
                    _logger.info("No snapshot was made: %s", error)
                took = clock() - began
                rest = took / self._settings.time_share_max - took
                await asyncio.sleep(max(self._settings.look_s, rest))
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        await self._snapshots.aclose()
        await self._books.aclose()

    async def make_due(self) -> None:
        """Make a snapshot of each build for which one is due, all of the same moment."""
        due = [
            build
            for status in await self._books.statuses()
            if (build := self._own(status)) is not None
            and _events(status) - self._last.get(build, 0) >= self._settings.every_events
        ]
        if not due:
            return
        async with self._snapshots.making() as session:
            kept = {
                b: await self._snapshots.make(session, self._projections[b[:2]], b) for b in due
            }
        self._last.update(kept)

    def _own(self, status: ViewStatus) -> Build | None:
        build = Build(status.name, status.version, status.build)
        projection = self._projections.get(build[:2])
        if projection is None or status.scratch or status.state == "retired":
            return None
        is_own = not status.bulk if self._among is None else self._among(build)
        return build if is_own and status.code_hash == code_hash_of(projection) else None


def _events(status: ViewStatus) -> int:
    return sum(checkpoint.offset for checkpoint in status.checkpoints.values())
