"""Keeps the builds up to date that a projector does not already have: warm ones, for going back.

A projector has one build of each view. Of the other loaded builds of the same versions, each gets
a projector of its own here, so that no build waits for another. What other code has built is left
to a process that has that code: before and after a swap the two run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from meshline.events.errors import MeshlineError
from meshline.events.log import EventLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.code_hash import code_hash_of
from meshline.projections.errors import CodeChanged, ViewLayoutChanged
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_store import ChangedCode, PostgresStore
from meshline.projections.projection import Projection
from meshline.projections.projector import Projector, ViewHealth
from meshline.projections.settings import ProjectorSettings
from meshline.projections.store import ViewStatus

__all__ = ["WarmBuilds"]

_logger = logging.getLogger("meshline.projections")

LOOK_S = 1.0
"""How often the books are asked for builds that are new or gone."""


class WarmBuilds:
    """Run it as a task beside a projector; cancelling ends it.

    Args:
        beside: the projector's store: what that one holds is left to it.
        health: of the projector; its errors are noted in the books, for `meshline view list`.
    """

    def __init__(
        self,
        log: EventLog,
        address: str,
        beside: PostgresStore,
        health: Callable[[], Sequence[ViewHealth]],
        projections: Iterable[Projection] = BUILT_IN,
        settings: ProjectorSettings | None = None,
        *,
        changed_code: ChangedCode = "refuse",
    ) -> None:
        self._log = log
        self._address = address
        self._beside = beside
        self._health = health
        self._projections = {(p.name, p.version): p for p in projections}
        self._settings = settings
        self._changed_code = changed_code
        self._running: dict[Build, asyncio.Task[None]] = {}
        self._left: set[Build] = set()

    async def run(self) -> None:
        books = Builds(self._address)
        try:
            while True:
                try:
                    await self._look(books)
                except MeshlineError as error:
                    _logger.info("The books of the views did not answer: %s", error)
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            await books.aclose()

    async def _look(self, books: Builds) -> None:
        statuses = await books.statuses()
        await self._note_errors(books, statuses)
        loaded = {
            Build(s.name, s.version, s.build)
            for s in statuses
            if not s.bulk and not s.scratch and (s.name, s.version) in self._projections
        }
        wanted = {build for build in loaded if build not in self._beside.held}
        for build in [*self._running]:
            if build not in wanted or self._running[build].done():
                task = self._running.pop(build)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        hashes = {Build(s.name, s.version, s.build): s.code_hash for s in statuses}
        for build in wanted - {*self._running, *self._left, *self._projectors(statuses)}:
            if self._is_of_our_code(build, hashes[build]):
                self._running[build] = asyncio.create_task(self._keep(build))

    def _projectors(self, statuses: Sequence[ViewStatus]) -> set[Build]:
        """The builds that the projector has, or takes as soon as nobody else has them."""
        halted = {(h.name, h.version) for h in self._health() if h.standing == "halted"}
        meant = {build[:2]: build for build in map(Build._make, self._beside.meant)}
        for s in sorted(statuses, key=lambda s: (s.state != "live", s.build)):
            if s.state != "retired" and not s.scratch:
                meant.setdefault((s.name, s.version), Build(s.name, s.version, s.build))
        return {build for version, build in meant.items() if version not in halted}

    def _is_of_our_code(self, build: Build, built_with: str) -> bool:
        if self._changed_code != "refuse":
            return True
        is_ours = code_hash_of(self._projections[build.name, build.version]) == built_with
        if not is_ours:
            self._left.add(build)
            _logger.info(
                "%s was built with other code: it is left to a projector that has it", build
            )
        return is_ours

    async def _note_errors(self, books: Builds, statuses: Sequence[ViewStatus]) -> None:
        said = {
            (h.name, h.version): h.error or ""
            for h in self._health()
            if h.standing != "standing_by"
        }
        for status in statuses:
            build = Build(status.name, status.version, status.build)
            error = said.get(build[:2], status.error)
            is_ours = build in self._beside.held or (error and status.state == "live")
            if is_ours and build not in self._running and error != status.error:
                await books.note_error(build, error)

    async def _keep(self, build: Build) -> None:
        store = PostgresStore(
            self._address, builds={build.name: build.build}, changed_code=self._changed_code
        )
        projection = self._projections[build.name, build.version]
        projector = Projector(self._log, store, [projection], self._settings)
        running = asyncio.create_task(projector.run())
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            projector.stop()
            with contextlib.suppress(MeshlineError):
                await running
            raise
        except (CodeChanged, ViewLayoutChanged):
            # The projector has said so. It can't change while this process runs.
            self._left.add(build)
        except MeshlineError as error:
            _logger.warning("%s is not kept up to date: %s", build, error)
        finally:
            await store.aclose()
