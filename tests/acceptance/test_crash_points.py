"""A process ends at each named point of the real code, at its first passing, its second …

One log goes through all of it: orders come in all the time, two workers and a projector crash at
one point after the other and are started again, and at the end everything must hold. `make test`
crashes at the first passings of each point, `make soak` at more: MESHLINE_SOAK_PASSINGS says at how
many.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshline.events import Publisher
from meshline.events.crash_points import EXIT_CODE, POINTS, VARIABLE
from tests.acceptance.support.audit import audit, executions_in
from tests.acceptance.support.driven import EXECUTIONS
from tests.acceptance.support.driving import SOURCE, Orders, consenting, order_of
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, until
from tests.acceptance.support.verdict import (
    REGISTRY,
    check_ends,
    check_outcomes,
    check_readers,
)
from tests.acceptance.test_kills import APP, PATIENCE_S, arrived, read_all

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

PASSINGS_MAX = int(os.environ.get("MESHLINE_SOAK_PASSINGS", "2"))
PARTITIONS = 4
ORDERS_PER_S = 8.0
CRASH_S = 60.0
"""A point that is not passed so often within this time is not passed so often."""

OF_WORKERS = [name for name in POINTS if name.startswith(("append", "claim", "snapshot"))]
OF_PROJECTORS = [name for name in POINTS if name.startswith("commit")]
OF_REBUILDS = [name for name in POINTS if name.startswith("finish")]
OF_SWAPS = [name for name in POINTS if name.startswith("swap")]


@pytest.fixture
def place(postgres_address: str) -> Place:
    return Place("postgres", postgres_address, postgres_address)


async def test_everything_holds_after_a_crash_at_each_point(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {*OF_WORKERS, *OF_PROJECTORS, *OF_REBUILDS, *OF_SWAPS} == {*POINTS}
    monkeypatch.setenv("MESHLINE_TEST_EXECUTIONS", str(tmp_path))
    orders, crashes = Orders(0), Counter[str]()
    started = time.monotonic()
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            snapshots = ("--snapshots", place.snapshots, "--snapshot-records", "25")
            workers = [fleet.worker(f"worker-{n}", place.log, APP, *snapshots) for n in (1, 2)]
            projector = fleet.projector("projector", place.log, place.views)
            # Somebody consents to what the views show: they must be there.
            start(projector, "")
            await until("the views", PATIENCE_S, views.are_there)
            assert projector.end() == 0
            async with Publisher(log) as publisher, consenting(publisher, views, orders):
                enough = asyncio.Event()
                coming = asyncio.create_task(come(publisher, orders, enough))
                await asyncio.gather(
                    crash_at(workers[0], OF_WORKERS[0::2], crashes),
                    crash_at(workers[1], OF_WORKERS[1::2], crashes),
                    crash_at(projector, OF_PROJECTORS, crashes),
                )
                enough.set()
                await coming
                crashed_s = time.monotonic() - started
                for member in (*workers, projector):
                    start(member, "")
                await until("every run where it should be", PATIENCE_S, arrived(views, orders))
            for member in workers:
                member.wait_ready()
                assert member.end() == 0, member.said()[-3000:]
            await until("views that have read all", PATIENCE_S, read_all(log, views))
            projector.wait_ready()
            assert projector.end() == 0, projector.said()[-3000:]

            where = ("--log", place.log, "--views", place.views)
            await crash_command(fleet, crashes, OF_REBUILDS, "view", "rebuild", "runs", *where)
            await crash_command(fleet, crashes, OF_SWAPS, "view", "swap", "runs", *where)
            verify = fleet.command("verify", "verify", APP, *where)
            verify.start()
            assert await ended(verify, 120.0) == 0, verify.said()[-3000:]

        found = await audit(log, REGISTRY)
        check_ends(found, orders)
        check_outcomes(found, *executions_in(tmp_path / EXECUTIONS))
        await check_readers(found, place, log, seed=1)
    assert {*crashes} == {*POINTS}, "a point was never passed"
    print(
        f"{sum(crashes.values())} crashes at {len(crashes)} points, {orders.count} orders, "
        f"{sum(found.claims.values())} claims, {len(found.void)} void facts, "
        f"{crashed_s:.0f} s of crashes, {time.monotonic() - started:.0f} s in all"
    )


async def come(publisher: Publisher, orders: Orders, enough: asyncio.Event) -> None:
    """Let one order come after the other."""
    while not enough.is_set():
        number = orders.count
        for _ in range(2 if number % 20 == 0 else 1):
            answer = await publisher.publish(
                SOURCE, order_of(number), trigger_id=str(number), trigger_type="Order"
            )
            orders.statuses[answer.status] += 1
        orders.count += 1
        await asyncio.sleep(1 / ORDERS_PER_S)


def start(member: Member, crash_at: str) -> None:
    member.environment = {VARIABLE: crash_at}
    member.start()


async def crash_at(member: Member, points: Sequence[str], crashes: Counter[str]) -> None:
    """Start the process again and again, to end at each point's first passing, its second …"""
    for point in points:
        often = point.startswith(("append", "commit"))
        for passing in range(1, 1 + (PASSINGS_MAX if often else PASSINGS_MAX // 2)):
            start(member, f"{point}:{passing}")
            if await ended(member, CRASH_S) is None:
                member.wait_ready()
                assert member.end() == 0, member.said()[-3000:]
                break
            assert member.exit_code == EXIT_CODE, member.said()[-3000:]
            crashes[point] += 1


async def crash_command(
    fleet: Fleet, crashes: Counter[str], points: Sequence[str], *words: str
) -> None:
    """Crash the command at each point; at last it comes to its end."""
    member = fleet.command(words[1], *words)
    for point in points:
        start(member, point)
        assert await ended(member, 60.0) == EXIT_CODE, (point, member.said()[-3000:])
        crashes[point] += 1
    start(member, "")
    assert await ended(member, 60.0) == 0, member.said()[-3000:]


async def ended(member: Member, within_s: float) -> int | None:
    """Wait for the process to end, and return its exit code; None if it goes on."""
    give_up = time.monotonic() + within_s
    while member.is_running and time.monotonic() < give_up:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)
    return member.exit_code
