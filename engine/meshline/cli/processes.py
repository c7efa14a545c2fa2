"""Worker and projector as parts of one process: composed from addresses, stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from meshline.cli.place import is_postgres
from meshline.events.errors import LogNotFound, MeshlineError
from meshline.events.log import EventLog, open_log

if TYPE_CHECKING:
    from types import TracebackType

    from meshline.engine.snapshots import SnapshotStore
    from meshline.engine.worker import Worker
    from meshline.projections.postgres_store import ChangedCode
    from meshline.projections.projection import Projection
    from meshline.workflow.registry import Registry

__all__ = [
    "PARTITIONS",
    "Service",
    "Viewing",
    "caught_up",
    "either",
    "import_parts",
    "open_or_create",
    "opened_or_created",
    "process_name",
    "show_logs",
    "snapshots_at",
    "stop_signal",
    "viewing_on",
    "worker_on",
]

PARTITIONS = 8
"""Of a log that is created without being told how many; it can't be changed afterwards."""

DRAIN_S = 7.0
"""For the steps under way at a stop. With what comes after, a process ends within 10 s."""

CATCH_UP_S = 1.5
"""For the views to take in what the worker said last."""

POLL_S = 0.02
"""How often to look where there is nothing to wait for."""


def import_parts() -> None:
    """Import what a worker and a projector consist of: a good half of a second."""
    import meshline.engine.postgres_snapshots
    import meshline.engine.worker
    import meshline.projections.postgres_store
    import meshline.projections.projector  # noqa: F401


def process_name() -> str:
    """Return what this process is called where people see who holds a partition."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def opened_or_created(address: str, partitions: int = PARTITIONS) -> tuple[EventLog, bool]:
    """Return the log at the address, open, and whether it was made now."""
    log = open_log(address)
    try:
        await log.open()
    except LogNotFound:
        # A log is opened once, whether there was one or not.
        log = open_log(address)
        await log.open(create_partitions=partitions)
        return log, True
    return log, False


@asynccontextmanager
async def open_or_create(address: str, partitions: int = PARTITIONS) -> AsyncGenerator[EventLog]:
    """The log at the address, made if there is none."""
    log, _ = await opened_or_created(address, partitions)
    try:
        yield log
    finally:
        await log.aclose()


@asynccontextmanager
async def worker_on(
    log: EventLog, registry: Registry, *, views: str | None, name: str | None = None
) -> AsyncGenerator[Worker]:
    """A worker, not yet running; its snapshots go to the views' database where there is one."""
    from meshline.engine.settings import WorkerSettings
    from meshline.engine.worker import Worker

    settings = WorkerSettings(drain_s=DRAIN_S)
    async with snapshots_at(views, log.identity.log_id) as snapshots:
        yield Worker(
            log, registry, name=name or process_name(), settings=settings, snapshots=snapshots
        )


@asynccontextmanager
async def snapshots_at(views: str | None, log_id: str) -> AsyncGenerator[SnapshotStore | None]:
    """Where the workers keep snapshots; None where nobody does."""
    if views is None or not is_postgres(views):
        yield None
        return
    from meshline.engine.postgres_snapshots import PostgresSnapshots
    from meshline.projections.postgres_connection import parse_address

    address = parse_address(views)
    snapshots = PostgresSnapshots(address.dsn, log_id, schema=f"{address.namespace}_engine")
    await snapshots.open()
    try:
        yield snapshots
    finally:
        await snapshots.aclose()


async def either(
    *works: Coroutine[Any, Any, Any], beside: Iterable[asyncio.Task[Any]] = ()
) -> None:
    """Wait until one of the works or of the tasks ``beside`` is done; the works are ended then.

    Raises:
        Exception: what the one that was done raised.
    """
    doing = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait([*beside, *doing], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
    for task in done:
        task.result()


class Viewing:
    """A projector and the store that it writes, with what keeps warm builds warm."""

    def __init__(
        self,
        log: EventLog,
        address: str,
        projections: Sequence[Projection],
        changed_code: ChangedCode,
        actor: str,
    ) -> None:
        self._log = log
        self._address = address
        self._changed_code = changed_code
        self._actor = actor
        self._next: Sequence[Projection] | None = None
        self._begin(projections)

    def _begin(self, projections: Sequence[Projection]) -> None:
        from meshline.projections.postgres_store import PostgresStore
        from meshline.projections.projector import Projector

        self._projections = projections
        self.store = PostgresStore(
            self._address, changed_code=self._changed_code, actor=self._actor
        )
        self.projector = Projector(self._log, self.store, projections)

    @property
    def is_read(self) -> bool:
        """Whether this process reads all views that it can; another may have them."""
        return all(view.standing in ("reading", "halted") for view in self.projector.health())

    def go_on_with(self, projections: Sequence[Projection]) -> list[str]:
        """Feed the views by this code from the next commit on; return which views it changes."""
        from meshline.projections.code_hash import code_hash_of

        now = {(p.name, p.version, code_hash_of(p)) for p in self._next or self._projections}
        names = [p.name for p in projections if (p.name, p.version, code_hash_of(p)) not in now]
        if names or len(projections) != len(now):
            self._next = projections
            self.projector.stop()
        return names

    def stop(self) -> None:
        self._next = None
        self.projector.stop()

    async def run(self) -> None:
        """Feed the views until ``stop``; see ``Projector.run`` for what it raises."""
        await self._feed()
        while self._next is not None:
            projections, self._next = self._next, None
            await self.store.aclose()
            self._begin(projections)
            await self.store.open()
            await self._feed()

    async def _feed(self) -> None:
        from meshline.cli.silence import SilenceWatch
        from meshline.projections.asked_rebuilds import RebuildsOnDemand
        from meshline.projections.queries import Views
        from meshline.projections.snapshot_maker import SnapshotMaker
        from meshline.projections.warm import WarmBuilds

        warm = WarmBuilds(
            self._log,
            self._address,
            self.store,
            self.projector.health,
            self._projections,
            changed_code=self._changed_code,
        )
        views = Views(self._address, connections_max=1)
        # What keeps warm builds warm, what makes snapshots of the live ones, what sees by the views
        # that a source has fallen silent, and what rebuilds the views that somebody asks for.
        beside = [
            asyncio.create_task(warm.run()),
            asyncio.create_task(SnapshotMaker(self._address, self._projections).run()),
            asyncio.create_task(SilenceWatch(self._log, views).run()),
            asyncio.create_task(
                RebuildsOnDemand(self._log, self._address, self._projections).run()
            ),
        ]
        try:
            await self.projector.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await views.aclose()


@asynccontextmanager
async def viewing_on(
    log: EventLog,
    views: str,
    projections: Sequence[Projection] = (),
    *,
    changed_code: ChangedCode = "say",
    actor: str = "",
) -> AsyncGenerator[Viewing]:
    """A projector, not yet running.

    Args:
        projections: the built-in ones where none are given.
    """
    from meshline.projections.built_in import BUILT_IN

    viewing = Viewing(log, views, projections or BUILT_IN, changed_code, actor)
    await viewing.store.open()
    try:
        yield viewing
    finally:
        await viewing.store.aclose()


class Service:
    """A worker, a projector, or both, at work while the context is open.

    At its end the worker stops first, so that the views still hear what it said last.
    """

    def __init__(
        self, log: EventLog, *, worker: Worker | None = None, viewing: Viewing | None = None
    ) -> None:
        self._log = log
        self._worker = worker
        self._viewing = viewing
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        if self._worker is not None:
            self._tasks["worker"] = asyncio.create_task(self._worker.run())
        if self._viewing is not None:
            self._tasks["projector"] = asyncio.create_task(self._viewing.run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._worker is not None:
            self._worker.stop()
            await asyncio.wait([self._tasks["worker"]])
        if self._viewing is not None:
            if not self._tasks["projector"].done():
                await self._let_views_catch_up(self._viewing)
            self._viewing.stop()
            await asyncio.wait([self._tasks["projector"]])
        if error is None:
            for task in self._tasks.values():
                task.result()

    async def ready(self) -> None:
        """Wait until the worker holds its partitions and the projector reads."""
        if self._worker is not None:
            await self._worker.ready()
        if self._viewing is not None:
            while not self._viewing.is_read:  # noqa: ASYNC110 - the projector tells nobody
                await asyncio.sleep(POLL_S)

    async def during(self, *works: Coroutine[Any, Any, Any]) -> None:
        """Wait until one of the works is done; the others are cancelled.

        Raises:
            Exception: what that work raised, or a part of the service that ended meanwhile.
        """
        await either(*works, beside=self._tasks.values())

    async def _let_views_catch_up(self, viewing: Viewing) -> None:
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await caught_up(self._log, viewing)
        except (TimeoutError, MeshlineError):
            return  # They go on from where they are, with the next projector.


async def caught_up(log: EventLog, viewing: Viewing) -> None:
    """Wait until the views have read all that the log holds now."""
    ends = await log.ends()
    names = {health.name for health in viewing.projector.health() if health.standing == "reading"}
    while True:
        reached = await viewing.store.live_checkpoints(names)
        if all(reached.get(n, {}).get(p, 0) >= end for n in names for p, end in ends.items()):
            return
        await asyncio.sleep(POLL_S)


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and Ctrl-C set; the second time the process ends at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def begin() -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, begin)
    try:
        yield stop
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)


def show_logs(level: int = logging.WARNING) -> None:
    """Let what the rooms log appear on stderr, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("meshline")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
