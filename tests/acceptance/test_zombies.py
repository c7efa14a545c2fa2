"""Workers that are stopped (SIGSTOP) past their session, replaced, and continued (SIGCONT).

A worker that wakes up believes that the partitions are still its own, and says what came of its
tries. Membership does not keep it from that. What it says stands in the log, behind the claim of
the worker that replaced it, and is void: for whoever folds the log, and for the views.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from meshline.events import Publisher
from meshline.events.codec import decode
from meshline.events.facts import PartitionClaimed, StepSucceeded
from meshline.events.ids import run_id_of
from meshline.events.log import EventLog
from meshline.projections import runs_view
from meshline.workflow.registry import Registry
from tests.acceptance.support.audit import Audit, audit, executions_in
from tests.acceptance.support.driven import EXECUTIONS
from tests.acceptance.support.driving import Orders, consenting
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.places import Place, Views, every_record, until
from tests.acceptance.support.slow import SOURCE, slow
from tests.acceptance.support.verdict import (
    REGISTRY,
    check_ends,
    check_outcomes,
    check_readers,
    check_views,
)

pytestmark = pytest.mark.slow

PARTITIONS = 2
ERRANDS = 60
PATIENCE_S = 120.0
FREEZES = int(os.environ.get("MESHLINE_SOAK_FREEZES", "6"))
ORDERS = 60 * FREEZES
SLOW_APP = "tests/acceptance/support/slow.py"
DRIVEN_APP = "tests/acceptance/support/driven.py"


async def test_what_a_zombie_appends_is_void_for_everybody(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHLINE_TEST_EXECUTIONS", str(tmp_path))
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            projector = fleet.projector("projector", place.log, place.views)
            deaf = tmp_path / "deaf"
            zombie = fleet.worker("zombie", place.log, SLOW_APP, "--late-news", str(deaf))
            heir = fleet.worker("heir", place.log, SLOW_APP)
            for member in (projector, zombie):
                member.start()
                member.wait_ready()
            await until("the views", PATIENCE_S, views.are_there)

            await publish(log, range(ERRANDS))
            await until("all errands under way", PATIENCE_S, begun(tmp_path, ERRANDS))
            zombie.signal(signal.SIGSTOP)
            deaf.touch()
            heir.start()
            await until("errands begun again", PATIENCE_S, begun(tmp_path, 2 * ERRANDS))
            zombie.signal(signal.SIGCONT)
            await until("the zombie speaks", PATIENCE_S, speaks_too_late(log))
            deaf.unlink()

            await until("errands done", PATIENCE_S, done(views, ERRANDS))
            await until("the zombie as a keeper again", PATIENCE_S, claims_again(log, "zombie"))
            assert heir.end() == 0, heir.said()[-3000:]
            await publish(log, range(ERRANDS, ERRANDS + 20))
            await until("more errands done", PATIENCE_S, done(views, ERRANDS + 20))
            assert zombie.end() == 0, zombie.said()[-3000:]
            await until("views that have read all", PATIENCE_S, read_all(log, views))
            assert projector.end() == 0

        found = await audit(log, Registry(slow))
        check_void(found)
        assert set(found.statuses.values()) == {"succeeded"}
        started, ended = executions_in(tmp_path / EXECUTIONS)
        check_outcomes(found, started, ended)
        await check_views(log, views)
        print(f"{place.kind}: {len(found.void)} void facts of the zombie, {described(found)}")


async def test_workers_that_freeze_and_go_on_harm_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = Random().randrange(1, 10**6)
    print(f"seed {seed}")
    monkeypatch.setenv("MESHLINE_TEST_EXECUTIONS", str(tmp_path))
    orders = Orders(ORDERS)
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            projector = fleet.projector("projector", place.log, place.views)
            workers = [fleet.worker(f"worker-{n}", place.log, DRIVEN_APP) for n in (1, 2)]
            for member in (projector, *workers):
                member.start()
                member.wait_ready()
            await until("the views", PATIENCE_S, views.are_there)
            async with Publisher(log) as publisher, consenting(publisher, views, orders):
                await asyncio.gather(
                    orders.publish(publisher, FREEZES * 3.0), freeze(workers, Random(seed))
                )
                arrived = arrival(views, orders)
                await until("every run where it should be", PATIENCE_S, arrived)
            for member in workers:
                assert member.end() == 0, member.said()[-3000:]
            await until("views that have read all", PATIENCE_S, read_all(log, views))
            assert projector.end() == 0

        found = await audit(log, REGISTRY)
        check_ends(found, orders)
        check_outcomes(found, *executions_in(tmp_path / EXECUTIONS))
        await check_readers(found, place, log, seed)
        await check_views(log, views)
        print(f"{place.kind}: {FREEZES} freezes, {len(found.void)} void facts, {described(found)}")


async def freeze(workers: list[Member], random: Random) -> None:
    """Stop one worker after the other for longer than its session."""
    for _ in range(FREEZES):
        member = random.choice(workers)
        await asyncio.sleep(random.uniform(0.5, 1.5))
        member.signal(signal.SIGSTOP)
        await asyncio.sleep(random.uniform(1.5, 2.5))
        member.signal(signal.SIGCONT)


def check_void(found: Audit) -> None:
    """The zombie did say what came of its tries, behind the claim of its heir, and in vain."""
    claims = claims_in(found)
    assert any(isinstance(event.data, StepSucceeded) for _, event in found.void)
    for record, event in found.void:
        epochs = [offset for offset, _ in claims[record.partition] if offset < record.offset]
        assert event.epoch in epochs[:-1], "its epoch is not the latest before it"
        assert dict(claims[record.partition])[event.epoch].startswith("zombie#")
        state = found.states[record.partition]
        assert event.subject in state.ended, "the run came to its end all the same"
    # What was said in vain was said again to whoever holds the run by then, and counts once.
    said = counted_successes(found)
    in_vain = [event for _, event in found.void if isinstance(event.data, StepSucceeded)]
    for event in in_vain:
        [epoch] = said[event.subject, event.data.step]
        assert epoch > event.epoch


def counted_successes(found: Audit) -> dict[tuple[str, str], list[int]]:
    """By run and step the epochs of the successes that count."""
    void = {(record.partition, record.offset) for record, _ in found.void}
    said: dict[tuple[str, str], list[int]] = {}
    for partition, records in found.records.items():
        for record in records:
            event = decode(record.value)
            if isinstance(event.data, StepSucceeded) and (partition, record.offset) not in void:
                assert event.epoch is not None
                said.setdefault((event.subject, event.data.step), []).append(event.epoch)
    return said


def claims_in(found: Audit) -> dict[int, list[tuple[int, str]]]:
    """By partition the offsets of the claims and whose they are."""
    claims: dict[int, list[tuple[int, str]]] = {}
    for partition, records in found.records.items():
        for record in records:
            data = decode(record.value).data
            if isinstance(data, PartitionClaimed):
                claims.setdefault(partition, []).append((record.offset, data.keeper))
    return claims


def described(found: Audit) -> str:
    return "; ".join(
        f"partition {partition}: "
        + ", ".join(f"{keeper.partition('#')[0]} at {offset}" for offset, keeper in claims)
        for partition, claims in claims_in(found).items()
    )


async def publish(log: EventLog, numbers: range) -> None:
    async with Publisher(log) as publisher:
        for number in numbers:
            await publisher.publish(SOURCE, {"number": number}, trigger_id=str(number))


def begun(folder: Path, count: int) -> Any:
    async def reached() -> bool:
        file = folder / EXECUTIONS
        if not file.exists():
            return False
        started, _ = executions_in(file)
        return sum(n for each, n in started.items() if each.step == "walk") >= count

    return reached


def done(views: Views, count: int) -> Any:
    expected = {run_id_of(SOURCE, str(number)): number for number in range(count)}

    async def reached() -> bool:
        rows = await views.rows(runs_view.runs)
        return {r.run_id: r.outcome["number"] for r in rows if r.outcome} == expected

    return reached


def claims_again(log: EventLog, name: str) -> Any:
    """Whether it holds a partition that another had after it."""

    async def reached() -> bool:
        keepers: dict[int, list[str]] = {}
        async for record in every_record(log):
            data = decode(record.value).data
            if isinstance(data, PartitionClaimed):
                keeper = data.keeper.partition("#")[0]
                keepers.setdefault(record.partition, []).append(keeper)
        return any(each[-1] == name and len(set(each)) > 1 for each in keepers.values())

    return reached


def speaks_too_late(log: EventLog) -> Any:
    """Whether a try's outcome stands behind a claim that is newer than its epoch."""

    async def reached() -> bool:
        latest: dict[int, int] = {}
        async for record in every_record(log):
            event = decode(record.value)
            if isinstance(event.data, PartitionClaimed):
                latest[record.partition] = record.offset
            elif isinstance(event.data, StepSucceeded) and event.epoch != latest[record.partition]:
                return True
        return False

    return reached


def arrival(views: Views, orders: Orders) -> Any:
    async def reached() -> bool:
        rows = await views.query("select run_id, state from {ns}.runs")
        return {row["run_id"]: row["state"] for row in rows} == orders.expected

    return reached


def read_all(log: EventLog, views: Views) -> Any:
    async def reached() -> bool:
        return await views.are_at(await log.ends())

    return reached
