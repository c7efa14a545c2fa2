"""kill -9 at random moments, while orders go through two workers and a projector.

`make test` kills a dozen times on each log, `make soak` fifty: MESHLINE_SOAK_KILLS says how often,
MESHLINE_SOAK_RUNS how many orders there are, MESHLINE_SOAK_SEED when and whom.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from meshline.events import Publisher
from meshline.events.log import EventLog
from tests.acceptance.support.audit import (
    Audit,
    Execution,
    audit,
    executions_in,
)
from tests.acceptance.support.driven import EXECUTIONS
from tests.acceptance.support.driving import Orders, Reaper, consenting
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, Views, until
from tests.acceptance.support.verdict import (
    REGISTRY,
    check_ends,
    check_outcomes,
    check_readers,
    check_views,
)

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MESHLINE_SOAK_KILLS", "12"))
RUNS = int(os.environ.get("MESHLINE_SOAK_RUNS", "2000"))
SEED = int(os.environ.get("MESHLINE_SOAK_SEED", "0")) or Random().randrange(1, 10**6)

PARTITIONS = 4
MEAN_S = 2.75
"""Between two kills."""

PATIENCE_S = 120.0
APP = "tests/acceptance/support/driven.py"


async def test_every_run_comes_to_its_end_whoever_is_killed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"seed {SEED}")
    monkeypatch.setenv("MESHLINE_TEST_EXECUTIONS", str(tmp_path))
    orders = Orders(RUNS)
    started = time.monotonic()
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            workers, projector = start(fleet, place)
            await until("the views", PATIENCE_S, views.are_there)
            reaper = Reaper(fleet, SEED)
            async with Publisher(log) as publisher, consenting(publisher, views, orders):
                await asyncio.gather(
                    orders.publish(publisher, KILLS * MEAN_S),
                    reaper.reap(workers, [projector], KILLS),
                )
                killed_s = time.monotonic() - started
                await until("every run where it should be", PATIENCE_S, arrived(views, orders))
            for member in workers:
                member.wait_ready()
                assert member.end() == 0, member.said()[-3000:]
            await until("views that have read all", PATIENCE_S, read_all(log, views))
            projector.wait_ready()
            assert projector.end() == 0, projector.said()[-3000:]

        found = await audit(log, REGISTRY)
        begun, ended = executions_in(tmp_path / EXECUTIONS)
        check_ends(found, orders)
        check_outcomes(found, begun, ended)
        assert sum(reaper.kills[member.name] for member in workers) == KILLS
        await check_readers(found, place, log, SEED)
        await check_views(log, views)
        report(place, reaper, found, ended, killed_s, time.monotonic() - started)


def start(fleet: Fleet, place: Place) -> tuple[list[Member], Member]:
    snapshots = ("--snapshots", place.snapshots, "--snapshot-records", "2000")
    workers = [fleet.worker(f"worker-{n}", place.log, APP, *snapshots) for n in (1, 2)]
    projector = fleet.projector("projector", place.log, place.views)
    for member in (*workers, projector):
        member.start()
    for member in (*workers, projector):
        member.wait_ready()
    return workers, projector


def arrived(views: Views, orders: Orders) -> Callable[[], Awaitable[bool]]:
    expected = Counter(orders.expected.values())

    async def reached() -> bool:
        rows = await views.query("select state, count(*) from {ns}.runs group by state")
        return {row[0]: row[1] for row in rows} == expected

    return reached


def read_all(log: EventLog, views: Views) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return await views.are_at(await log.ends())

    return reached


def report(
    place: Place,
    reaper: Reaper,
    found: Audit,
    ended: Counter[Execution],
    killed_s: float,
    total_s: float,
) -> None:
    per_step = Counter((each.run_id, each.step) for each in ended.elements())
    twice = sum(count > 1 for count in per_step.values())
    print(
        f"{place.kind}: {RUNS} runs, kills {dict(reaper.kills)} in {killed_s:.0f} s, "
        f"{sum(found.claims.values())} claims, {found.why['taken_over']} tries taken over, "
        f"{twice} of {len(per_step)} steps done more than once, {len(found.void)} void facts, "
        f"{sum(len(r) for r in found.records.values())} records, {total_s:.0f} s in all"
    )
