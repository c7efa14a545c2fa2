"""The projector: feeds all views from the log, each as far as it goes, whatever fails meanwhile.

Any number of processes may run one: each view has one writer, the others stand by for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from meshline.events.errors import LogIdentityChanged, LogLayoutMismatch, PositionLost
from meshline.events.log import EventLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import (
    CheckpointMoved,
    CodeChanged,
    StoreUnavailable,
    ViewLayoutChanged,
)
from meshline.projections.lane import Lane
from meshline.projections.projection import Projection
from meshline.projections.recall import recall_from
from meshline.projections.settings import ProjectorSettings
from meshline.projections.store import ViewStore
from meshline.projections.view import View

__all__ = ["Projector", "ViewHealth"]

_logger = logging.getLogger("meshline.projections")

_HALTING = (LogIdentityChanged, LogLayoutMismatch, PositionLost)


@dataclass(frozen=True, slots=True)
class ViewHealth:
    """How a view fares in this process; ``error`` is the last one, None where all is well."""

    name: str
    version: int
    standing: Literal["reading", "standing_by", "failing", "halted"]
    error: str | None
    stopped_entities: int


class _Charge:
    """A projection in this projector's care."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.view: View | None = None
        self.standing: Literal["reading", "standing_by", "failing", "halted"] = "standing_by"
        self.error: str | None = None
        self.failures = 0
        self.reading_since = 0.0
        self.try_at = 0.0


class Projector:
    """Run it as a task; ``stop`` ends it after the commit that is under way.

    Args:
        log: opened.
        store: opened; this projector has it to itself.
    """

    def __init__(
        self,
        log: EventLog,
        store: ViewStore,
        projections: Iterable[Projection] = BUILT_IN,
        settings: ProjectorSettings | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._settings = settings or ProjectorSettings()
        self._charges = [_Charge(projection) for projection in projections]
        self._lanes: dict[Lane, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()

    def stop(self) -> None:
        self._stopping.set()

    def health(self) -> list[ViewHealth]:
        return [
            ViewHealth(
                name=charge.projection.name,
                version=charge.projection.version,
                standing=charge.standing,
                error=charge.error,
                stopped_entities=0 if charge.view is None else len(charge.view.stopped),
            )
            for charge in self._charges
        ]

    async def run(self) -> None:
        """Feed the views until ``stop``.

        Raises:
            LogIdentityChanged, LogLayoutMismatch, PositionLost: the log is not the one that the
                views were built from; nothing is written any more.
            ViewLayoutChanged, CodeChanged: none of the views can go on.
        """
        tending = asyncio.create_task(self._tend())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([tending, stopping], return_when=asyncio.FIRST_COMPLETED)
            # It looks for the stop itself, but not while the store does not answer.
            await asyncio.wait([tending], timeout=self._settings.stop_s)
            if tending.done():
                tending.result()
        finally:
            for task in (tending, stopping):
                task.cancel()
            await asyncio.gather(tending, stopping, return_exceptions=True)
            await self._wind_up()

    async def _tend(self) -> None:
        while not self._stopping.is_set():
            await self._acquire()
            self._arrange()
            await self._watch()

    # -- views ---------------------------------------------------------------------------------

    async def _acquire(self) -> None:
        """Become the writer of every view that has none, and is due."""
        now = asyncio.get_running_loop().time()
        for charge in self._charges:
            if charge.view is not None or charge.standing == "halted" or charge.try_at > now:
                continue
            try:
                if await self._store.acquire(charge.projection):
                    installed = await self._store.install(charge.projection, self._log.identity)
                    charge.view = View(
                        charge.projection,
                        self._store,
                        installed,
                        recall_from(self._log),
                        known_rows_max=self._settings.known_rows_max,
                    )
                    charge.standing, charge.error, charge.reading_since = "reading", None, now
                else:
                    charge.standing = "standing_by"
                    charge.try_at = now + self._settings.standby_poll_s
            except (ViewLayoutChanged, CodeChanged) as error:
                charge.standing, charge.error = "halted", str(error)
                # Another process may have the code that this build needs.
                await self._store.release(charge.projection)
                _logger.error("The view %s stops: %s", charge.projection.name, error)
                if all(other.standing == "halted" for other in self._charges):
                    raise
            except LogIdentityChanged:
                raise
            except Exception as error:
                self._put_off(charge, error)

    def _put_off(self, charge: _Charge, error: Exception) -> None:
        """Try again later, and later each time that it did not go well for a while."""
        now = asyncio.get_running_loop().time()
        if charge.view is not None and now - charge.reading_since > self._settings.retry_s_max:
            charge.failures = 0
        delay_s = min(
            self._settings.retry_s * 2 ** min(charge.failures, 30), self._settings.retry_s_max
        )
        charge.failures += 1
        charge.view = None
        charge.standing, charge.error = "failing", str(error)
        charge.try_at = now + delay_s
        _logger.warning(
            "The view %s is tried again in %.1f s: %s", charge.projection.name, delay_s, error
        )

    # -- lanes ---------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Give every view at hand a lane, together with those that are about as far."""
        within = self._settings.merge_within_records
        for lane in self._lanes:
            others = [view for other in self._lanes if other is not lane for view in other.views]
            near = [*others, *self._idle()]
            if any(abs(_progress(a) - _progress(b)) <= within for a in lane.views for b in near):
                # They come back here when they have finished, and start together.
                lane.finish()
        if any(lane.is_finishing for lane in self._lanes):
            return
        for views in _groups(self._idle(), within):
            lane = Lane(self._log, self._store, views, self._settings, self._news)
            self._lanes[lane] = asyncio.create_task(lane.run())

    def _idle(self) -> list[View]:
        # One that has just failed is not at hand: its lane has left it, and nobody has seen to it.
        placed = {
            view
            for lane in self._lanes
            for view in (*lane.views, *(failed for failed, _ in lane.failed))
        }
        return [c.view for c in self._charges if c.view is not None and c.view not in placed]

    async def _watch(self) -> None:
        """Wait until something ends, fails or is due, and take care of what ended or failed."""
        now = asyncio.get_running_loop().time()
        due = [c.try_at - now for c in self._charges if c.view is None and c.standing != "halted"]
        if len(self._lanes) > 1:
            due.append(self._settings.standby_poll_s)
        events = [asyncio.create_task(e.wait()) for e in (self._stopping, self._news)]
        try:
            await asyncio.wait(
                [*events, *self._lanes.values()],
                timeout=max(0.0, min(due)) if due else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for event in events:
                event.cancel()
        self._news.clear()
        for lane, task in [*self._lanes.items()]:
            failed, lane.failed = lane.failed, []
            if task.done():
                del self._lanes[lane]
                error = task.exception()
                if isinstance(error, _HALTING):
                    raise error
                if isinstance(error, Exception):
                    failed += [(view, error) for view in lane.views]
            for view, error in failed:
                await self._failed(view, error)

    async def _failed(self, view: View, error: Exception) -> None:
        charge = next(c for c in self._charges if c.view is view)
        self._put_off(charge, error)
        if isinstance(error, CheckpointMoved):
            charge.standing = "standing_by"
        with contextlib.suppress(StoreUnavailable):
            await self._store.release(charge.projection)

    async def _wind_up(self) -> None:
        for lane in self._lanes:
            lane.finish()
        late: set[asyncio.Task[None]] = set()
        if self._lanes:
            _, late = await asyncio.wait(self._lanes.values(), timeout=self._settings.stop_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        self._lanes.clear()
        for charge in self._charges:
            # A store that did not answer has lost its session, and with it what it held.
            if charge.view is not None and not late:
                with contextlib.suppress(StoreUnavailable):
                    await self._store.release(charge.projection)


def _progress(view: View) -> int:
    return sum(checkpoint.offset for checkpoint in view.checkpoints.values())


def _groups(views: Sequence[View], within: int) -> list[list[View]]:
    """Put views together that are at most so many records apart."""
    groups: list[list[View]] = []
    for view in sorted(views, key=_progress):
        if groups and _progress(view) - _progress(groups[-1][0]) <= within:
            groups[-1].append(view)
        else:
            groups.append([view])
    return groups
