"""How fast views are built anew, beside the bare pipeline: python benchmarks/rebuild.py.

The log: runs of 10 to 16 events, one in eight with an exception, 200 at a time in each partition.
The bare pipeline reads the same log with the same reader, parses with orjson and copies one row
for each event; it checks, folds and updates nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvloop

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events import facts, requests
from meshline.events.codec import encode
from meshline.events.envelope import Actor, Event
from meshline.events.ids import run_id_of
from meshline.events.log import Accepted, Entry, EventLog, open_log
from meshline.projections import exception_view, history_view, ownership_view, runs_view
from meshline.projections.postgres_connection import parse_address
from meshline.projections.rebuild import Rebuild

PARTITIONS = 8
OPEN_RUNS = 200
SAMPLE = 100_000
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
RUN, EPOCH, SEQUENCE = run_id_of("bench", "0"), 12_345_678_987, 98_765_432_123
THREE = [runs_view.projection, ownership_view.projection, exception_view.projection]


def story(is_held: bool) -> list[bytes]:
    """Return one run's events, with a placeholder for its id and its numbers."""
    source = {"source": "web.forms", "trigger_id": RUN, "trigger_type": "Form"}
    received = requests.TriggerReceived(**source, payload={"company": "Acme", "employees": 12})
    said: list[Any] = [
        facts.TriggerAccepted(**source, payload_hash="ab", workflow="lead", version=1),
        facts.RunStarted(
            **source,
            workflow="lead",
            version=1,
            owner="team:revops",
            exception_route="queue:triage",
            expected_outcome="Lead",
            due_at=START + timedelta(days=2),
        ),
        facts.StepStarted(step="enrich", attempt=1),
    ]
    if is_held:
        error = requests.StepError(type="ValueError", message="no such company")
        exception_id = f"x-{RUN}"
        said += [
            facts.StepFailed(step="enrich", attempt=1, error=error),
            facts.ExceptionOpened(
                exception_id=exception_id,
                workflow="lead",
                kind="step_failed",
                about="enrich",
                route="queue:triage",
                owner="queue:triage",
                severity="high",
                cause="enrich:ValueError",
                message="no such company",
                blocking=True,
                due_at=START + timedelta(hours=4),
                error=error,
            ),
            facts.ExceptionAssigned(
                exception_id=exception_id, owner="user:bob", previous="queue:triage"
            ),
            facts.ExceptionResolved(exception_id=exception_id, how="retried"),
            facts.StepStarted(step="enrich", attempt=2),
        ]
    said += [
        facts.StepSucceeded(step="enrich", attempt=1, result={"size": 12}),
        facts.OwnerAssigned(
            owner="team:emea", previous="team:revops", rule="route", values={}, reason="by country"
        ),
        facts.StepStarted(step="create_lead", attempt=1),
        facts.StepSucceeded(step="create_lead", attempt=1, result={"id": 7}),
        facts.RunSucceeded(outcome={"crm_id": "7"}),
    ]
    events = [_event(received, 0)]
    events += [
        _event(data, n).numbered(EPOCH, SEQUENCE, "keeper") for n, data in enumerate(said, 1)
    ]
    return [encode(event) for event in events]


def _event(data: Any, number: int) -> Event[Any]:
    moment = START + timedelta(seconds=number)
    return Event(
        id=f"{RUN}-{number}",
        source="bench",
        subject=RUN,
        time=moment,
        data=data,
        recorded_at=moment,
        actor=Actor("rule", "route"),
    )


def entries_of(partition: int, count: int, epoch: int) -> Iterator[Entry]:
    """Give a partition's events: some runs at a time, one event of each in turn."""
    stories = [story(True), *[story(False)] * 7]
    sequence = given = batch = 0
    while given < count:
        runs = [
            (run_id_of("bench", f"{partition}-{batch}-{n}"), stories[n % 8])
            for n in range(OPEN_RUNS)
        ]
        batch += 1
        for place in range(max(map(len, stories))):
            for run_id, events in runs:
                if place >= len(events) or given >= count:
                    continue
                value = events[place].replace(RUN.encode(), run_id.encode())
                if place:
                    sequence += 1
                    value = value.replace(b"%d" % EPOCH, b"%d" % epoch)
                    value = value.replace(b"%d" % SEQUENCE, b"%d" % sequence)
                given += 1
                yield Entry(run_id, value)


async def fill(log: EventLog, events: int) -> None:
    async def one(partition: int) -> None:
        claim = facts.PartitionClaimed(keeper="keeper", reducer_version=1)
        moment = START - timedelta(days=1)
        event = Event(
            id=f"claim-{partition}",
            source="bench",
            subject="",
            time=moment,
            data=claim,
            recorded_at=moment,
        )
        answer = await log.append(partition, [Entry("", encode(event))])
        assert isinstance(answer, Accepted), answer
        waiting: list[Entry] = []
        for entry in entries_of(partition, events // PARTITIONS, answer.first):
            waiting.append(entry)
            if len(waiting) == 500:
                assert isinstance(await log.append(partition, waiting, deadline_s=60), Accepted)
                waiting = []
        if waiting:
            assert isinstance(await log.append(partition, waiting, deadline_s=60), Accepted)

    await asyncio.gather(*(one(partition) for partition in range(PARTITIONS)))


async def bare(log: EventLog, views: str) -> float:
    """Return events/s of read, parse and COPY, 12,000 at a time."""
    parsed = parse_address(views)
    connection = await asyncpg.connect(parsed.dsn, server_settings={"synchronous_commit": "off"})
    table = f"bare_{uuid.uuid4().hex[:8]}"
    await connection.execute(
        f"create table {table} (run_id text, partition int, log_offset bigint, type text, "
        "id text, time text, data text, primary key (partition, log_offset))"
    )
    ends = await log.ends()
    reader = log.reader(dict.fromkeys(ends, 0))
    total, done = sum(ends.values()), 0
    rows: list[tuple[Any, ...]] = []
    started = time.perf_counter()
    while done < total:
        for partition, records in (await reader.fetch(4_000, 5.0)).items():
            for _, offset, key, value, _ in records:
                event = orjson.loads(value)
                data = orjson.dumps(event["data"]).decode()
                row = (key, partition, offset, event["type"], event["id"], event["time"], data)
                rows.append(row)
            done += len(records)
        if len(rows) >= 12_000 or done >= total:
            await connection.copy_records_to_table(table, records=rows)
            rows = []
    took = time.perf_counter() - started
    await reader.aclose()
    await connection.execute(f"drop table {table}")
    await connection.close()
    return total / took


async def build(log: EventLog, views: str, projections: list[Any]) -> dict[str, float]:
    """Return events/s until it is loaded and has its indexes, and the memory on the way."""
    namespace = f"bench_{uuid.uuid4().hex[:8]}"
    address = f"{views}{'&' if '?' in views else '?'}meshline_namespace={namespace}"
    rebuild = Rebuild(log, address, projections)
    total, at_sample = sum((await log.ends()).values()), 0.0
    started = time.perf_counter()
    async for progress in rebuild.run():
        if progress.done >= SAMPLE and not at_sample:
            at_sample = memory_mb()
    took = time.perf_counter() - started
    connection = await asyncpg.connect(parse_address(address).dsn)
    parked = await connection.fetchval(f"select count(*) from {namespace}_views.parked")
    await connection.close()
    assert not parked, f"{parked} events are parked: the log of this benchmark is wrong"
    return {
        "events_per_s": total / took,
        "memory_mb_at_100k": at_sample,
        "memory_mb_at_end": memory_mb(),
    }


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
    found["bare_events_per_s"] = await bare(log, views)
    for name, projections in (
        ("three", THREE),
        ("with_history", [*THREE, history_view.projection]),
    ):
        print(f"Building {name} …", file=sys.stderr)
        found[name] = await build(log, views, projections)
        found[name]["of_bare"] = found[name]["events_per_s"] / found["bare_events_per_s"]
    await log.aclose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--log", help="instead of the embedded PostgreSQL: kafka://host:9092/NEW")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        log = options.log or f"{server.dsn}&meshline_namespace=bench_log"
        found = uvloop.run(measure(log, server.dsn, options.events))
    if options.output == "json":
        print(json.dumps(found))
        return
    print(f"bare pipeline           {found['bare_events_per_s']:10,.0f} events/s")
    for name in ("three", "with_history"):
        part = found[name]
        print(
            f"{name:23} {part['events_per_s']:10,.0f} events/s  {part['of_bare']:4.0%} of bare  "
            f"{part['memory_mb_at_100k']:.0f} MB at 100,000, "
            f"{part['memory_mb_at_end']:.0f} MB at the end"
        )


if __name__ == "__main__":
    main()
