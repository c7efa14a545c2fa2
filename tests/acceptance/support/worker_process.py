"""A worker as a process of its own, with short times: `python -m` this, until SIGTERM."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.engine.settings import WorkerSettings
from meshline.engine.worker import Worker
from meshline.events.clock import SystemClock
from meshline.events.log import open_log
from meshline.workflow.loading import load_app
from tests.acceptance.support.process_entry import QUICK, run_until_stopped, stop_at_signal


class ClockAhead:
    """The machine's clock, so many seconds later."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)
        self._clock = SystemClock()

    def now(self) -> datetime:
        return self._clock.now() + self._ahead


async def work(given: argparse.Namespace) -> None:
    log = open_log(given.log, QUICK)
    await log.open()
    snapshots = None
    if given.snapshots:
        snapshots = PostgresSnapshots(given.snapshots, log.identity.log_id)
        await snapshots.open()
    settings = WorkerSettings(
        reclaim_s=1.5, sweep_s=0.25, drain_s=5.0, snapshot_records=given.snapshot_records
    )
    worker = Worker(
        log, load_app(given.app), name=given.name, settings=settings, snapshots=snapshots,
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
    parser.add_argument("--ahead-s", type=float, default=0.0)
    run_until_stopped(work(parser.parse_args()))
