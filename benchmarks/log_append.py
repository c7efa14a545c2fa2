"""How fast a log appends and is read, in one process: python benchmarks/log_append.py [ADDRESS].

Without an address: an embedded PostgreSQL in a temporary folder.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import uvloop

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.log import Accepted, Entry, EventLog, LogReader, open_log

PARTITIONS = 16
SECONDS = 3.0


def shown(latencies_s: list[float]) -> str:
    quantiles = statistics.quantiles(latencies_s, n=100)
    return f"p50 {quantiles[49] * 1000:6.2f} ms  p99 {quantiles[98] * 1000:6.2f} ms"


async def append(log: EventLog, batch: int, callers: int) -> None:
    """Print appends and records a second, while a reader reads all of it back."""
    ends = await log.ends()
    reader = log.reader(ends)
    value = os.urandom(400)
    stop = time.perf_counter() + SECONDS
    latencies: list[float] = []

    async def call(caller: int) -> None:
        entries = [Entry(f"run-{caller:032}", value)] * batch
        while time.perf_counter() < stop:
            started = time.perf_counter()
            answer = await log.append(caller % PARTITIONS, entries)
            latencies.append(time.perf_counter() - started)
            assert isinstance(answer, Accepted)

    async def read_back() -> None:
        seen = 0
        while not writing.done() or seen < len(latencies) * batch:
            seen += sum(map(len, (await reader.fetch(1_000, 0.05)).values()))

    started, cpu = time.perf_counter(), time.process_time()
    writing = asyncio.gather(*(call(caller) for caller in range(callers)))
    await read_back()
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    await reader.aclose()
    print(
        f"append  batch {batch:4}  callers {callers:3}  {len(latencies) / took:8.0f} appends/s  "
        f"{len(latencies) * batch / took:8.0f} records/s, read back too   "
        f"{shown(latencies)}  own CPU {cpu / took:4.0%}"
    )


async def append_and_read_back(log: EventLog) -> None:
    """Print how long it takes until a single append was fetched by a waiting reader."""
    reader = log.reader(await log.ends())
    latencies: list[float] = []
    for number in range(300):
        fetching = asyncio.create_task(reader.fetch(10, 5.0))
        await asyncio.sleep(0.002)
        started = time.perf_counter()
        await log.append(number % PARTITIONS, [Entry("run", b"x" * 400)])
        await fetching
        latencies.append(time.perf_counter() - started)
    await reader.aclose()
    print(f"append and read back     {shown(latencies)}")


async def wake_another(log: EventLog, other: EventLog) -> None:
    """Print the same for a reader that belongs to another object, as in another process."""
    reader = other.reader(await other.ends())
    latencies: list[float] = []
    for number in range(200):
        fetching = asyncio.create_task(reader.fetch(10, 5.0))
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        await log.append(number % PARTITIONS, [Entry("run", b"x" * 400)])
        await fetching
        latencies.append(time.perf_counter() - started)
    await reader.aclose()
    print(f"append and wake another  {shown(latencies)}")


async def drain(reader: LogReader, count: int) -> int:
    seen = 0
    while seen < count:
        seen += sum(map(len, (await reader.fetch(2_000, 1.0)).values()))
    return seen


async def main(address: str) -> None:
    log, other = open_log(address), open_log(address)
    await log.open(create_partitions=PARTITIONS)
    await other.open()
    await append_and_read_back(log)
    await wake_another(log, other)
    for callers in (1, 64):
        for batch in (1, 10, 100):
            await append(log, batch, callers)
    total = sum((await log.ends()).values())
    reader = log.reader(dict.fromkeys(range(PARTITIONS), 0))
    started = time.perf_counter()
    seen = await drain(reader, total)
    print(f"read from the beginning  {seen / (time.perf_counter() - started):.0f} records/s")
    await log.aclose()
    await other.aclose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(main(sys.argv[1]))
    else:
        with EmbeddedPostgres(Path(tempfile.mkdtemp(prefix="meshline-bench-"))) as server:
            uvloop.run(main(f"{server.dsn}&meshline_namespace=bench_{uuid.uuid4().hex[:8]}"))
