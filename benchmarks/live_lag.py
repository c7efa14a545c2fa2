"""How far the views are behind what was just appended: python benchmarks/live_lag.py.

Kafka and PostgreSQL on this machine, `meshline projector` with all built-in views. Events come in
at a steady rate; the lag of one is the time from the answer to its append until all views have it
committed, as another connection sees it. The goal: 99 % within a second at 2,000 events/s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from rebuild_log import PARTITIONS, START, entries_of

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events import facts
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.log import Accepted, Entry, EventLog, open_log
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_connection import parse_address

ROOT = Path(__file__).resolve().parent.parent
SECONDS_MAX = 600
TICK_S = 0.01
POLL_S = 0.004
CATCH_UP_S = 120.0
WARM_UP = 0.1
"""The first part of the time, in which it is not measured: caches and plans are made."""


class Watch:
    """When which offsets were seen committed in every view, by partition."""

    def __init__(self, connection: Any, namespace: str) -> None:
        self._connection = connection
        self._sql = f"""
            select c.partition, min(c.next_offset), count(*)
            from {namespace}_views.checkpoints c
            join {namespace}_views.views v on (v.name, v.version, v.build)
                = (c.name, c.version, c.build)
            where v.state = 'live' group by c.partition
        """
        self.seen: dict[int, list[tuple[int, float]]] = {p: [] for p in range(PARTITIONS)}

    async def look(self) -> dict[int, int]:
        try:
            rows = await self._connection.fetch(self._sql)
        except asyncpg.UndefinedTableError:
            return {}  # The projector makes them first.
        now = time.monotonic()
        at = {row[0]: row[1] for row in rows if row[2] == len(BUILT_IN)}
        for partition, offset in at.items():
            seen = self.seen[partition]
            if not seen or offset > seen[-1][0]:
                seen.append((offset, now))
        return at

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.look()
            await asyncio.sleep(POLL_S)

    async def until(self, ends: dict[int, int]) -> None:
        give_up = time.monotonic() + CATCH_UP_S
        while await self.look() != ends:
            if time.monotonic() > give_up:
                raise TimeoutError(f"the views are not at {ends} within {CATCH_UP_S:g} s")
            await asyncio.sleep(POLL_S)


async def claim(log: EventLog, partition: int) -> int:
    data = facts.PartitionClaimed(keeper="keeper", reducer_version=1)
    event = Event(
        id=f"claim-{partition}", source="bench", subject="", time=START, data=data,
        recorded_at=START,
    )  # fmt: skip
    answer = await log.append(partition, [Entry("", encode(event))])
    assert isinstance(answer, Accepted), answer
    return answer.first


Appended = tuple[int, int, int, float, float]
"""Partition, first offset, number, when they were to go, when the answer came."""


async def append_at(log: EventLog, rate: float, seconds: float) -> list[Appended]:
    """Append a few events each tick, to one partition after the other."""
    count = int(rate * seconds)
    epochs = [await claim(log, p) for p in range(PARTITIONS)]
    sources = [entries_of(p, count, epoch) for p, epoch in enumerate(epochs)]
    appended: list[Appended] = []
    last: dict[int, asyncio.Task[None]] = {}

    async def append(
        partition: int, entries: list[Entry], at: float, before: asyncio.Task[None] | None
    ) -> None:
        # A keeper numbers its facts, so the next ones wait for those before.
        if before is not None:
            await before
        answer = await log.append(partition, entries)
        assert isinstance(answer, Accepted), answer
        appended.append((partition, answer.first, len(entries), at, time.monotonic()))

    started, given, tick = time.monotonic(), 0, 0
    async with asyncio.TaskGroup() as tasks:
        while given < count:
            at = started + tick * TICK_S
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            partition = tick % PARTITIONS
            tick += 1
            due = min(count, int(tick * TICK_S * rate)) - given
            entries = [*islice(sources[partition], due)]
            given += due
            coming = append(partition, entries, at, last.get(partition))
            last[partition] = tasks.create_task(coming)
    return appended


def lags(appended: list[Appended], watch: Watch) -> Iterator[float]:
    """The lag of each event, in seconds, in the order of the partitions."""
    for partition in range(PARTITIONS):
        seen = iter(watch.seen[partition])
        offset, at = next(seen)
        for first, count, answered in sorted(
            (a[1], a[2], a[4]) for a in appended if a[0] == partition
        ):
            for place in range(first, first + count):
                while offset <= place:
                    offset, at = next(seen)
                yield max(0.0, at - answered)


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max_ms": 1000 * ordered[-1],
    }


async def measure(log_address: str, views: str, rate: float, seconds: float) -> dict[str, Any]:
    namespace = parse_address(views).namespace
    async with AsyncExitStack() as stack:
        log = open_log(log_address)
        await log.open(create_partitions=PARTITIONS)
        stack.push_async_callback(log.aclose)
        projector = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "meshline.cli.main", "projector"),
            *("--log", log_address, "--views", views),
        )
        stack.push_async_callback(projector.wait)
        stack.callback(projector.terminate)
        connection = await asyncpg.connect(parse_address(views).dsn)
        stack.push_async_callback(connection.close)
        watch, stop = Watch(connection, namespace), asyncio.Event()
        await watch.until(await log.ends())
        watching = asyncio.create_task(watch.run(stop))
        started = time.monotonic()
        appended = await append_at(log, rate, seconds)
        took = time.monotonic() - started
        stop.set()
        await watching
        await watch.until(await log.ends())
        parked = await connection.fetchval(f"select count(*) from {namespace}_views.parked")
        assert not parked, f"{parked} events are parked: the log of this benchmark is wrong"
    events = sum(each[2] for each in appended)
    measured = [each for each in appended if each[3] >= started + WARM_UP * seconds]
    return {
        "log": log_address.partition(":")[0],
        "views": len(BUILT_IN),
        "events": events,
        "events_per_s": events / took,
        "lag": percentiles([*lags(measured, watch)]),
        "append": percentiles([answered - at for *_, at, answered in measured]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2_000.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--log", choices=["kafka", "postgres"], default="kafka")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    given = parser.parse_args()
    if not 0 < given.seconds <= SECONDS_MAX:
        parser.error(f"--seconds {given.seconds:g}: expected at most {SECONDS_MAX}")
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "db") as server:
        Path(folder).chmod(0o755)
        views = f"{server.dsn}&meshline_namespace=bench_{uuid.uuid4().hex[:8]}"
        if given.log == "postgres":
            found = uvloop.run(measure(views, views, given.rate, given.seconds))
        else:
            sys.path.insert(0, str(ROOT))
            from deploy.kafka.broker import KafkaBroker

            broker = KafkaBroker(Path(folder) / "kafka")
            broker.start()
            try:
                log = f"kafka://{broker.address}/bench"
                found = uvloop.run(measure(log, views, given.rate, given.seconds))
            finally:
                broker.kill()
    if given.output == "json":
        print(json.dumps(found))
        return
    print(
        f"{found['events']:,} events at {found['events_per_s']:,.0f}/s into {found['views']} views"
    )
    for name, words in (("lag", "appended → in all views"), ("append", "due → append answered")):
        part = found[name]
        print(
            f"{words:24} p50 {part['p50_ms']:8.1f} ms  p99 {part['p99_ms']:8.1f} ms  "
            f"most {part['max_ms']:8.1f} ms"
        )


if __name__ == "__main__":
    main()
