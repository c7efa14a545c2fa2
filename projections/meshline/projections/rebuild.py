"""Building views anew beside the live ones: from the first record on, until they are caught up.

The new build is read, folded and written by the same code as the live one. It has its own schema
and its own checkpoints, which move in the transaction that writes the rows: whatever is killed,
the next rebuild goes on from there. Once it is loaded its indexes are made, and a projector keeps
it up to date (``warm.py``) from the same checkpoints.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NamedTuple, cast

from meshline.events.errors import LogUnavailable
from meshline.events.log import EventLog
from meshline.projections.errors import NotSwappable, StoreUnavailable
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection
from meshline.projections.projector import Projector
from meshline.projections.rebuild_pace import PacedLog
from meshline.projections.settings import ProjectorSettings, SnapshotSettings
from meshline.projections.snapshot_maker import SnapshotMaker

__all__ = ["REBUILDING", "Progress", "Rebuild", "swap_when_ready"]

REBUILDING = ProjectorSettings(
    batch_records_max=12_000,
    known_rows_max=20_000,
    merge_within_records=1 << 62,
    retry_s_max=2.0,
)
"""Large batches for few round trips. A row that is not at hand is loaded, thousands in one query;
to have more of them at hand is no quicker, and takes memory."""

SNAPSHOTS = SnapshotSettings(time_share_max=0.5, look_s=0.25)
"""What a rebuild leaves behind it is all there will be of its past: half of the time, at most, of a
process of PostgreSQL that has little else to do."""

_POLL_S = 0.25
_SWAP_RETRY_S = 0.02
_RATE_WINDOW = 40
"""Samples that the rate is taken over: the last 10 s."""


class Progress(NamedTuple):
    """How far a rebuild is. ``total`` is where the log ends now; the slowest view counts.

    Args:
        rate: events per second, lately.
        eta_s: None while nobody can tell.
        by_partition: done and total of each partition.
        error: of the last attempt, None where all is well.
    """

    done: int
    total: int
    rate: float
    eta_s: float | None
    by_partition: dict[int, tuple[int, int]]
    paused: bool = False
    error: str | None = None


class Rebuild:
    """One pass over the log for several projections.

    Args:
        log: opened.
        address: of the views.
        scratch: the builds are to be compared and dropped, and are nothing for a projector.
    """

    def __init__(
        self,
        log: EventLog,
        address: str,
        projections: Sequence[Projection],
        *,
        events_per_s_max: int | None = None,
        scratch: bool = False,
        settings: ProjectorSettings = REBUILDING,
        snapshots: SnapshotSettings = SNAPSHOTS,
    ) -> None:
        self.builds: dict[str, Build] = {}
        self.cancelled = False
        self._log = PacedLog(log, events_per_s_max)
        self._address = address
        self._projections = list(projections)
        self._scratch = scratch
        self._settings = replace(settings)
        self._snapshots = snapshots
        self._samples: list[tuple[float, int]] = []

    async def run(self) -> AsyncGenerator[Progress]:
        """Give the progress four times a second; end when all builds are loaded or cancelled.

        Raises:
            NotSwappable: another process rebuilds one of the views.
        """
        books = Builds(self._address)
        await _persist(books.open)
        try:
            for projection in self._projections:
                build = await books.begin(projection, self._log.identity, scratch=self._scratch)
                self.builds[projection.name] = build
            async with aclosing(self.load(books)) as loading:
                async for progress in loading:
                    yield progress
        finally:
            await books.aclose()

    async def load(
        self, books: Builds, until: Mapping[int, int] | None = None
    ) -> AsyncGenerator[Progress]:
        """Bring the builds to the log's end, or to these offsets and no further."""
        self._log.until = until
        numbers = {name: build.build for name, build in self.builds.items()}
        store = PostgresStore(self._address, builds=numbers)
        log = cast(EventLog, self._log)
        projector = Projector(log, store, self._projections, self._settings)
        for projection in self._projections:
            if not await store.acquire(projection):
                await store.aclose()
                raise NotSwappable(
                    f"Another process is rebuilding {self.builds[projection.name]}: expected one "
                    "at a time. Wait for it, or stop it with "
                    f"`meshline view cancel {projection.name}`."
                )
        # Only now: who is turned away above must not wake a rebuild that rests.
        await _persist(lambda: books.go_on([*self.builds.values()]))
        task = asyncio.create_task(projector.run())
        making = asyncio.create_task(self._keep_snapshots())
        thresholds = gc.get_threshold()
        # Batches make many small tuples and no cycles: to look for those takes 1 µs an event. Two
        # batches at a time are about 200,000 objects; what is more than that is looked at.
        gc.set_threshold(500_000, 20, 50)
        try:
            async with aclosing(self._watch(books, projector, task)) as watching:
                async for progress in watching:
                    yield progress
            projector.stop()
            self._log.pause(False)
            await task
            if not self.cancelled:
                for projection in self._projections:
                    await self._finish(books, projection)
        finally:
            making.cancel()
            if not task.done():
                task.cancel()
            await asyncio.gather(task, making, return_exceptions=True)
            gc.set_threshold(*thresholds)
            await store.aclose()
        if self.cancelled:
            for build in self.builds.values():
                await books.discard(build)

    async def _keep_snapshots(self) -> None:
        if not self._scratch:
            own = frozenset(self.builds.values())
            await SnapshotMaker(
                self._address, self._projections, self._snapshots, among=own.__contains__
            ).run()

    async def _watch(
        self, books: Builds, projector: Projector, task: asyncio.Task[None]
    ) -> AsyncGenerator[Progress]:
        offsets: dict[int, int] = {}
        ends: dict[int, int] = {}
        before: dict[int, int] = {}
        while True:
            error = next((h.error for h in projector.health() if h.error), None)
            try:
                wish, offsets = await books.loading([*self.builds.values()])
                self._log.pause(wish == "pause")
                if wish == "cancel":
                    self.cancelled = True
                    return
                before, ends = ends, await self._log.ends()
            except (StoreUnavailable, LogUnavailable) as unavailable:
                error = str(unavailable)
            progress = self._progress(offsets, ends, error)
            if ends:
                yield progress
            # A log that grows all the time is never at its end: that of the last look is enough.
            if error is None and all(offsets.get(p, 0) >= e for p, e in (before or ends).items()):
                return
            await asyncio.wait([task], timeout=_POLL_S)
            if task.done():
                task.result()
                return

    def _progress(
        self, offsets: Mapping[int, int], ends: Mapping[int, int], error: str | None
    ) -> Progress:
        by_partition = {p: (min(offsets.get(p, 0), end), end) for p, end in sorted(ends.items())}
        done = sum(d for d, _ in by_partition.values())
        total = sum(ends.values())
        now = asyncio.get_running_loop().time()
        self._samples = [*self._samples[-_RATE_WINDOW:], (now, done)]
        (then, before), seconds = self._samples[0], now - self._samples[0][0]
        rate = (done - before) / seconds if seconds > 0 and now > then else 0.0
        return Progress(
            done=done,
            total=total,
            rate=rate,
            eta_s=(total - done) / rate if rate > 0 else None,
            by_partition=by_partition,
            paused=self._log.is_paused,
            error=error,
        )

    async def _finish(self, books: Builds, projection: Projection) -> None:
        if not self._scratch:
            await _persist(lambda: books.finish(projection, self.builds[projection.name]))


async def _persist(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until PostgreSQL answers: it may be starting again."""
    while True:
        try:
            await attempt()
        except StoreUnavailable:
            await asyncio.sleep(_POLL_S)
        else:
            return


async def swap_when_ready(
    books: Builds,
    log: EventLog,
    target: Build,
    *,
    actor: str,
    behind_max: int,
    wait_s: float,
    allow_parked: bool = False,
    is_rollback: bool = False,
) -> Build | None:
    """Swap as soon as nothing speaks against it, and return what was live before.

    Raises:
        NotSwappable, StoreUnavailable: what spoke against it until ``wait_s`` were over.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    while True:
        try:
            return await books.swap(
                target,
                await log.ends(),
                behind_max=behind_max,
                actor=actor,
                allow_parked=allow_parked,
                what="rollback" if is_rollback else "swap",
            )
        except (NotSwappable, StoreUnavailable):
            if clock() >= deadline:
                raise
        await asyncio.sleep(_SWAP_RETRY_S)
