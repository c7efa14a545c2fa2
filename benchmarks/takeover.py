"""How soon a worker holds partitions with many open runs, from snapshots and from the log alone.

python benchmarks/takeover.py [--runs 100000] [--log postgres|kafka] [--since 5000]

One worker takes in runs that wait for an approval, and stops: a snapshot of each partition is
kept. Then others, each in a process of its own, begin: one with the snapshots, one without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from three_step import address_of, show, trigger, waiting

from meshline.engine.postgres_snapshots import PostgresSnapshots
from meshline.engine.worker import Worker
from meshline.events import Publisher
from meshline.events.log import open_log
from meshline.workflow import Registry

PARTITIONS = 8


async def filled(log_address: str, dsn: str, runs: int, since: int) -> None:
    """Leave a log with so many open runs, snapshots of them, and some more since."""
    log = open_log(log_address)
    await log.open(create_partitions=PARTITIONS)
    snapshots = PostgresSnapshots(dsn, log.identity.log_id)
    await snapshots.open()
    for kept, first, count in ((snapshots, 0, runs), (None, runs, since)):
        worker = Worker(log, Registry(waiting), name="first", snapshots=kept)
        running = asyncio.create_task(worker.run())
        await worker.ready()
        async with Publisher(log) as publisher:
            triggers = (trigger("waiting", "t", first + number) for number in range(count))
            async for _ in publisher.publish_many(triggers):
                pass
        await all_wait(worker, first + count)
        await asyncio.sleep(1.0)
        worker.stop()
        await running
    await snapshots.aclose()
    await log.aclose()


async def all_wait(worker: Worker, runs: int) -> None:
    while worker.status().open_runs < runs or worker.status().steps_under_way:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def take_over(log_address: str, dsn: str | None) -> dict[str, Any]:
    """Begin as a worker that is alone; return when all partitions are held."""
    log = open_log(log_address)
    await log.open()
    snapshots = None
    if dsn is not None:
        snapshots = PostgresSnapshots(dsn, log.identity.log_id)
        await snapshots.open()
    worker = Worker(log, Registry(waiting), name="heir", snapshots=snapshots)
    began, cpu_began = time.monotonic(), time.process_time()
    running = asyncio.create_task(worker.run())
    await worker.ready()
    took_s = time.monotonic() - began
    cpu_s = time.process_time() - cpu_began
    status = worker.status()
    worker.stop()
    await running
    await log.aclose()
    return {
        "held_after_s": took_s,
        "cpu_s": cpu_s,
        "open_runs": status.open_runs,
        "records_read": status.records_read,
    }


async def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        dsn = await address_of("postgres", stack)
        log = dsn if arguments.log == "postgres" else await address_of(arguments.log, stack)
        await filled(log, dsn, arguments.runs, arguments.since)
        figures: dict[str, Any] = {"log": arguments.log, "runs": arguments.runs}
        for name, more in (("from_snapshots", ["--snapshots", dsn]), ("from_the_log", [])):
            command = [sys.executable, __file__, "--heir", log, *more]
            done = await asyncio.to_thread(
                subprocess.run, command, check=True, stdout=subprocess.PIPE, text=True
            )
            figures[name] = json.loads(done.stdout)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", choices=("postgres", "kafka"), default="kafka")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--since", type=int, default=5_000, help="runs after the snapshots")
    parser.add_argument("--heir", metavar="LOG", help=argparse.SUPPRESS)
    parser.add_argument("--snapshots", metavar="DSN", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    uvloop.install()
    if arguments.heir is not None:
        print(json.dumps(asyncio.run(take_over(arguments.heir, arguments.snapshots))))
    else:
        show(asyncio.run(bench(arguments)))


if __name__ == "__main__":
    main()
