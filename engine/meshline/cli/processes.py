"""Worker and projector as parts of a process: composed from addresses, run until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from meshline.cli.place import is_postgres
from meshline.events.errors import LogNotFound, LogUnavailable
from meshline.events.log import EventLog, open_log

if TYPE_CHECKING:
    from meshline.engine.snapshots import SnapshotStore
    from meshline.engine.worker import Worker
    from meshline.projections.projector import Projector
    from meshline.workflow.registry import Registry

__all__ = [
    "PARTITIONS",
    "close_on_end",
    "on_stop_signal",
    "open_or_create",
    "process_name",
    "projector_on",
    "run_fast",
    "show_logs",
    "together",
    "worker_on",
]

PARTITIONS = 8
"""Of a log that is created without being told how many; it can't be changed afterwards."""


def process_name() -> str:
    """Return what this process is called where people see who holds a partition."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_fast(work: Awaitable[None]) -> None:
    """Run the coroutine on uvloop where there is one: for what handles many events."""

    async def main() -> None:
        await work

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@asynccontextmanager
async def open_or_create(address: str, partitions: int = PARTITIONS) -> AsyncIterator[EventLog]:
    """The log at the address, made if there is none."""
    log = open_log(address)
    try:
        await log.open()
    except LogNotFound:
        await log.open(create_partitions=partitions)
    try:
        yield log
    finally:
        await log.aclose()


@asynccontextmanager
async def worker_on(
    log: EventLog, registry: Registry, *, views: str | None
) -> AsyncGenerator[Worker]:
    """A worker, not yet running; its snapshots go to the views' database where there is one."""
    from meshline.engine.worker import Worker

    async with _snapshots(views, log.identity.log_id) as snapshots:
        yield Worker(log, registry, name=process_name(), snapshots=snapshots)


@asynccontextmanager
async def _snapshots(views: str | None, log_id: str) -> AsyncGenerator[SnapshotStore | None]:
    if views is None or not is_postgres(views):
        yield None
        return
    from meshline.engine.postgres_snapshots import PostgresSnapshots
    from meshline.projections.postgres_connection import parse_address

    snapshots = PostgresSnapshots(parse_address(views).dsn, log_id)
    await snapshots.open()
    try:
        yield snapshots
    finally:
        await snapshots.aclose()


@asynccontextmanager
async def projector_on(log: EventLog, views: str) -> AsyncGenerator[Projector]:
    """A projector of the built-in views, not yet running."""
    from meshline.projections.postgres_store import PostgresStore
    from meshline.projections.projector import Projector

    store = PostgresStore(views)
    await store.open()
    try:
        yield Projector(log, store)
    finally:
        await store.aclose()


@contextlib.contextmanager
def on_stop_signal(stop: Callable[[], None]) -> Any:
    """Call ``stop`` at SIGTERM or Ctrl-C; the second time the process ends at once."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def together(*parts: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
    """Run the parts until all have ended. If one fails, the others are told to stop.

    Raises:
        Exception: what the first one to fail raised.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        stop()
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        task.result()


def show_logs(level: int = logging.WARNING) -> None:
    """Let what the rooms log appear on stderr, a line each, without names of modules."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("meshline")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
