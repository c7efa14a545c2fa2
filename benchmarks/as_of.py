"""How long a list of the past takes: quickly, from what is kept, and from the first record.

    .venv/bin/python benchmarks/as_of.py --events 400000

Also what keeping costs: rebuilds of the same views with and without snapshots, in turn, and how
large these are. The log is the one of `rebuild.py`, with times that go on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from rebuild_log import PARTITIONS, START, entries_of

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events import facts
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.log import Accepted, Entry, EventLog, open_log
from meshline.projections import history_view
from meshline.projections.as_of import fold_as_of
from meshline.projections.as_of_queries import ABOUT_RUNS, ViewsFolded, ViewsThen
from meshline.projections.moment import Moment
from meshline.projections.postgres_builds import Builds
from meshline.projections.postgres_snapshots import PostgresSnapshots
from meshline.projections.queries import Views
from meshline.projections.rebuild import SNAPSHOTS, Rebuild, swap_when_ready
from meshline.projections.settings import SnapshotSettings

VIEWS = (*ABOUT_RUNS, history_view.projection)
NEVER = SnapshotSettings(every_events=1 << 60)
EVERY_S = 0.25
"""From one event of a partition to the next."""

_TIME = re.compile(rb'"time":"[^"]*"')


def timed(entries: Iterator[Entry]) -> Iterator[Entry]:
    for number, entry in enumerate(entries):
        said = (START + timedelta(seconds=number * EVERY_S)).isoformat().replace("+00:00", "Z")
        yield entry._replace(value=_TIME.sub(b'"time":"%s"' % said.encode(), entry.value, 1))


async def fill(log: EventLog, events: int) -> None:
    async def append(partition: int, entries: list[Entry]) -> int:
        answer = await log.append(partition, entries, deadline_s=60)
        assert isinstance(answer, Accepted), answer
        return answer.first

    async def one(partition: int) -> None:
        data = facts.PartitionClaimed(keeper="keeper", reducer_version=1)
        claim = Event(f"claim-{partition}", "bench", "", START, data, START)
        epoch = await append(partition, [Entry("", encode(claim))])
        waiting: list[Entry] = []
        for entry in timed(entries_of(partition, events // PARTITIONS, epoch)):
            waiting.append(entry)
            if len(waiting) == 500:
                await append(partition, waiting)
                waiting = []
        if waiting:
            await append(partition, waiting)

    await asyncio.gather(*(one(partition) for partition in range(PARTITIONS)))


async def build(log: EventLog, address: str, settings: SnapshotSettings) -> float:
    """Return the events/s of a rebuild, and make it the live one."""
    rebuild = Rebuild(log, address, VIEWS, snapshots=settings)
    started = time.perf_counter()
    async for _ in rebuild.run():
        pass
    took = time.perf_counter() - started
    books = Builds(address)
    try:
        for target in rebuild.builds.values():
            await swap_when_ready(books, log, target, actor="benchmark", behind_max=0, wait_s=10)
    finally:
        await books.aclose()
    return sum((await log.ends()).values()) / took


async def folded(
    log: EventLog, views: Views, moment: Moment, kept: PostgresSnapshots | None
) -> tuple[Any, float]:
    started = time.perf_counter()
    store = await fold_as_of(log, ABOUT_RUNS, moment, kept)
    found = await ViewsFolded(views, store).owners()
    return found, time.perf_counter() - started


async def quick(views: Views, moment: Moment) -> tuple[Any, float | None]:
    if moment.time is None or moment.by != "event":
        return None, None
    started = time.perf_counter()
    found = await ViewsThen(views, moment.time).owners()
    return found, time.perf_counter() - started


def moments(ends: dict[int, int], share: float) -> dict[str, Moment]:
    then: datetime = START + timedelta(seconds=max(ends.values()) * share * EVERY_S)
    return {
        "event": Moment(then),
        "recorded": Moment(then, "recorded"),
        "position": Moment(offsets={p: int(end * share) for p, end in ends.items()}),
    }


async def measure(log_address: str, views: str, events: int, rounds: int) -> dict[str, Any]:
    log = open_log(log_address)
    await log.open(create_partitions=PARTITIONS)
    print(f"Writing {events:,} events …", file=sys.stderr)
    await fill(log, events)
    rates: dict[str, list[float]] = {"without": [], "with": []}
    address = ""
    for number in range(rounds):
        for name, settings in (("without", NEVER), ("with", SNAPSHOTS)):
            print(f"Building {name} snapshots, {number + 1} of {rounds} …", file=sys.stderr)
            address = f"{views}&meshline_namespace=bench_{uuid.uuid4().hex[:8]}"
            rates[name].append(await build(log, address, settings))
    books = Builds(address)
    sizes = (await books.sizes()).values()
    await books.aclose()
    found: dict[str, Any] = {
        "events": events,
        "rebuild_events_per_s": rates,
        "table_mb": sum(size.bytes for size in sizes) / 1e6,
        "snapshot_mb": sum(size.snapshot_bytes for size in sizes) / 1e6,
        "lists": [],
    }
    ends = await log.ends()
    kept, views = PostgresSnapshots(address), Views(address)
    for share in (0.999, 0.9, 0.5, 0.1):
        for kind, moment in moments(ends, share).items():
            print(f"Owners by {kind} at {share:.1%} …", file=sys.stderr)
            here, with_s = await folded(log, views, moment, kept)
            there, without_s = await folded(log, views, moment, None)
            at_once, quick_s = await quick(views, moment)
            assert here == there and at_once in (None, there), "the answers differ"
            found["lists"].append(
                {"by": kind, "at": share, "quick_s": quick_s, "kept_s": with_s,
                 "from_the_first_record_s": without_s}
            )  # fmt: skip
    await views.aclose()
    await kept.aclose()
    await log.aclose()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        log = f"{server.dsn}&meshline_namespace=bench_log"
        found = uvloop.run(measure(log, server.dsn, options.events, options.rounds))
    if options.output == "json":
        print(json.dumps(found))
        return
    for name, rates in found["rebuild_events_per_s"].items():
        print(f"rebuild {name:7} snapshots  {', '.join(f'{r:,.0f}' for r in rates)} events/s")
    print(f"tables {found['table_mb']:.0f} MB, snapshots {found['snapshot_mb']:.0f} MB")
    for line in found["lists"]:
        kept, first = line["kept_s"], line["from_the_first_record_s"]
        at_once = "" if line["quick_s"] is None else f"{line['quick_s'] * 1000:6.0f} ms quickly"
        print(
            f"owners by {line['by']:8} at {line['at']:5.1%}  {kept:6.2f} s kept  "
            f"{first:6.2f} s from the first record  {first / kept:5.1f} times  {at_once}"
        )


if __name__ == "__main__":
    main()
