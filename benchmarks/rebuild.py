"""How fast views are built anew, beside the bare pipeline: python benchmarks/rebuild.py.

    python benchmarks/rebuild.py --log postgres|kafka|ADDRESS [--events 1000000] [--output json]

Measured, with the log, PostgreSQL and the rebuild on the same machine: events/s until the views are
loaded and have their indexes, processor time of the rebuild's process for each event, and its
memory on the way. Beside it, in the same run: the bare pipeline, which reads the same log with the
bare client library, parses with orjson and copies one row for each event (it checks, folds and
updates nothing); and the library ``eventsourcing``, where it is installed, which keeps the same
rows with its own recorder and runner. Absolute numbers are this machine's, and noisy; the ratio to
the bare pipeline and the processor time are what to compare.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from rebuild_log import PARTITIONS, fill

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.log import EventLog, open_log
from meshline.projections import exception_view, history_view, ownership_view, runs_view
from meshline.projections.postgres_connection import parse_address
from meshline.projections.rebuild import Rebuild

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "bench"
SAMPLES = (100_000, 1_000_000)
THREE = [runs_view.projection, ownership_view.projection, exception_view.projection]
NOT_INSTALLED = "not installed: pip install 'eventsourcing[postgres]' to see it beside"


class Meter:
    """Events/s and processor time of this process, from its making on."""

    def __init__(self) -> None:
        self._started, self._processor = time.perf_counter(), time.process_time()

    def read(self, events: int) -> dict[str, float]:
        took, processor = time.perf_counter() - self._started, time.process_time() - self._processor
        return {"events_per_s": events / took, "cpu_us_per_event": processor / events * 1e6}


async def bare(log: EventLog, log_address: str, views: str) -> dict[str, float]:
    """Read, parse and COPY, 12,000 at a time."""
    connection = await asyncpg.connect(
        parse_address(views).dsn, server_settings={"synchronous_commit": "off"}
    )
    table = f"bare_{uuid.uuid4().hex[:8]}"
    await connection.execute(
        f"create table {table} (run_id text, partition int, log_offset bigint, type text, "
        "id text, time text, data text, primary key (partition, log_offset))"
    )
    ends = await log.ends()
    total, done = sum(ends.values()), 0
    records = (
        consumed(log_address, ends) if log_address.startswith("kafka") else read(log, ends, total)
    )
    rows: list[tuple[Any, ...]] = []
    meter = Meter()
    async for partition, some in records:
        for offset, key, value in some:
            event = orjson.loads(value)
            data = orjson.dumps(event["data"]).decode()
            row = (key, partition, offset, event["type"], event["id"], event["time"], data)
            rows.append(row)
        done += len(some)
        if len(rows) >= 12_000 or done >= total:
            await connection.copy_records_to_table(table, records=rows)
            rows = []
    found = meter.read(total)
    await connection.execute(f"drop table {table}")
    await connection.close()
    return found


Records = AsyncIterator[tuple[int, list[tuple[int, str, bytes]]]]


async def read(log: EventLog, ends: dict[int, int], total: int) -> Records:
    """Our own reader; what there is for a log in PostgreSQL."""
    reader = log.reader(dict.fromkeys(ends, 0))
    while total > 0:
        for partition, records in (await reader.fetch(4_000, 5.0)).items():
            yield partition, [(record.offset, record.key, record.value) for record in records]
            total -= len(records)
    await reader.aclose()


async def consumed(log_address: str, ends: dict[int, int]) -> Records:
    """The client library's consumer, and nothing of ours."""
    servers, namespace = log_address.removeprefix("kafka://").split("/")
    topic = f"{namespace}.events"
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in ends])
    await consumer.seek_to_beginning()
    left = sum(ends.values())
    while left > 0:
        batch = await consumer.getmany(timeout_ms=5_000, max_records=4_000)
        for place, records in batch.items():
            yield (
                place.partition,
                [(r.offset, (r.key or b"").decode(), r.value) for r in records],
            )
            left -= len(records)
    await consumer.stop()


async def build(log: EventLog, views: str, projections: list[Any]) -> dict[str, float]:
    """Build until it is loaded and has its indexes; with the memory on the way."""
    namespace = f"bench_{uuid.uuid4().hex[:8]}"
    address = f"{views}{'&' if '?' in views else '?'}meshline_namespace={namespace}"
    rebuild = Rebuild(log, address, projections)
    total = sum((await log.ends()).values())
    memory: dict[str, float] = {}
    meter = Meter()
    async for progress in rebuild.run():
        for sample in SAMPLES:
            if progress.done >= sample:
                memory.setdefault(f"memory_mb_at_{sample}", memory_mb())
    found = meter.read(total)
    connection = await asyncpg.connect(parse_address(address).dsn)
    parked = await connection.fetchval(f"select count(*) from {namespace}_views.parked")
    await connection.close()
    assert not parked, f"{parked} events are parked: the log of this benchmark is wrong"
    return {**found, **memory, "memory_mb_at_end": memory_mb()}


def memory_mb() -> float:
    """Resident now, of this process; elsewhere than on Linux the most that it ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 1e6


async def measure(log_address: str, views: str, events: int) -> dict[str, Any]:
    log = open_log(log_address)
    await log.open(create_partitions=PARTITIONS)
    print(f"Writing {events:,} events …", file=sys.stderr)
    await fill(log, events)
    found: dict[str, Any] = {"log": log_address.partition(":")[0], "events": events}
    print("Reading …", file=sys.stderr)
    found["bare"] = await bare(log, log_address, views)
    for name, projections in (
        ("three", THREE),
        ("with_history", [*THREE, history_view.projection]),
    ):
        print(f"Building {name} …", file=sys.stderr)
        found[name] = await build(log, views, projections)
        found[name]["of_bare"] = found[name]["events_per_s"] / found["bare"]["events_per_s"]
    await log.aclose()
    return found


def beside(views: str, events: int) -> dict[str, float] | str:
    try:
        from rebuild_eventsourcing import project
    except ModuleNotFoundError as error:
        if error.name not in ("eventsourcing", "psycopg", "psycopg_pool"):
            raise
        return NOT_INSTALLED
    print(f"Projecting {events:,} events with eventsourcing …", file=sys.stderr)
    return project(views, events)


def log_address_of(name: str, views: str, folder: Path, stack: ExitStack) -> str:
    if name == "postgres":
        return f"{views}{'&' if '?' in views else '?'}meshline_namespace=bench_log"
    if name == "kafka":
        sys.path.insert(0, str(ROOT))
        from deploy.kafka.broker import KafkaBroker

        broker = KafkaBroker(folder / "kafka")
        broker.start()
        stack.callback(broker.kill)
        return f"kafka://{broker.address}/{NAMESPACE}"
    return name


def show(found: dict[str, Any]) -> None:
    for name in ("bare", "three", "with_history", "eventsourcing"):
        part = found[name]
        if isinstance(part, str):
            print(f"{name:14} {part}")
            continue
        line = f"{name:14} {part['events_per_s']:8,.0f} events/s  "
        line += f"{part['cpu_us_per_event']:6.1f} µs of processor time each"
        if "of_bare" in part:
            line += f"  {part['of_bare']:4.0%} of bare"
            line += "  MB: " + ", ".join(
                f"{value:.0f} at {key.removeprefix('memory_mb_at_')}"
                for key, value in part.items()
                if key.startswith("memory")
            )
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--log", default="postgres", help="postgres, kafka, or a NEW address")
    parser.add_argument(
        "--beside-events", type=int, default=20_000, help="for eventsourcing; 0: leave it out"
    )
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meshline-bench-")))
        folder.chmod(0o755)
        views = stack.enter_context(EmbeddedPostgres(folder / "postgres")).dsn
        log = log_address_of(options.log, views, folder, stack)
        found = uvloop.run(measure(log, views, options.events))
        found["eventsourcing"] = (
            beside(views, options.beside_events) if options.beside_events else "left out"
        )
    if options.output == "json":
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
