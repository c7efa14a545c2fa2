"""A worker as a process of its own, with short times: `python -m` this, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.engine.settings import WorkerSettings
from meshline.engine.worker import Worker
from meshline.events.clock import SystemClock
from meshline.events.log import EventLog, LogReader, LogRecord, Membership, open_log
from meshline.workflow.loading import load_app
from tests.acceptance.support.process_entry import QUICK, run_until_stopped, stop_at_signal


class ClockAhead:
    """The machine's clock, so many seconds later."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)
        self._clock = SystemClock()

    def now(self) -> datetime:
        return self._clock.now() + self._ahead


class LateNews:
    """A log whose news come late: while the file is there, nothing that was read comes through.

    What this process appends goes out all the same. So is a zombie for sure, and not only if its
    tries happen to end before it has read that another holds its partitions.
    """

    def __init__(self, log: EventLog, file: Path) -> None:
        self._log = log
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def come(self) -> None:
        while self._file.exists():  # noqa: ASYNC110 - another process takes it away
            await asyncio.sleep(0.02)

    def reader(self, start: Mapping[int, int]) -> LogReader:
        return _LateReader(self, self._log.reader(start))

    def membership(self, group: str, member: str) -> Membership:
        return _LateMembership(self, self._log.membership(group, member))


class _LateReader:
    def __init__(self, news: LateNews, reader: LogReader) -> None:
        self._news = news
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        fetched = await self._reader.fetch(records_max, wait_s)
        await self._news.come()
        return fetched


class _LateMembership:
    def __init__(self, news: LateNews, membership: Membership) -> None:
        self._news = news
        self._membership = membership

    def __getattr__(self, name: str) -> Any:
        return getattr(self._membership, name)

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        assigned = await self._membership.changed(known)
        await self._news.come()
        return assigned


class Insistent:
    """A log whose groups give this process every partition, whoever else has them."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def membership(self, group: str, member: str) -> Membership:
        return _All(frozenset(range(self._log.identity.partitions)))


class _All:
    def __init__(self, assigned: frozenset[int]) -> None:
        self.assigned = assigned

    async def start(self) -> None:
        """There is nobody to ask."""

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        if known == self.assigned:
            await asyncio.Event().wait()
        return self.assigned

    async def aclose(self) -> None:
        """There is nobody to tell."""


def lose_count(log: Any) -> None:
    """Let the producer leave out a number, as a bug in a client would: brokers refuse the next."""
    producer = log._appender._producer
    if producer is not None:
        for partition in producer._txn_manager._sequence_numbers:
            producer._txn_manager.increment_sequence_number(partition, 1)


async def work(given: argparse.Namespace) -> None:
    log = open_log(given.log, QUICK)
    await log.open()
    snapshots = None
    if given.snapshots:
        snapshots = PostgresSnapshots(given.snapshots, log.identity.log_id)
        await snapshots.open()
    settings = WorkerSettings(
        reclaim_s=1.5, sweep_s=0.25, drain_s=5.0, snapshot_records=given.snapshot_records,
        clock_off_s_max=given.off_s_max,
    )  # fmt: skip
    seen: Any = LateNews(log, given.late_news) if given.late_news else log
    if given.insists:
        seen = Insistent(log)
    if given.log.startswith("kafka:"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, lose_count, log)
    worker = Worker(
        seen, load_app(given.app), name=given.name, settings=settings, snapshots=snapshots,
        clock=ClockAhead(given.ahead_s),
    )  # fmt: skip
    try:
        stop_at_signal(worker.stop)
        await worker.run()
    finally:
        if snapshots is not None:
            await snapshots.aclose()
        await log.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--snapshots", help="DSN of the database that keeps them")
    parser.add_argument("--snapshot-records", type=int, default=100_000)
    parser.add_argument("--late-news", type=Path, help="nothing it reads comes while this is there")
    parser.add_argument("--insists", action="store_true", help="on all partitions, at once")
    parser.add_argument("--ahead-s", type=float, default=0.0)
    parser.add_argument("--off-s-max", type=float, default=WorkerSettings().clock_off_s_max)
    run_until_stopped(work(parser.parse_args()))
