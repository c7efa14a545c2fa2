"""Another rule of ownership, while a real process goes on: built anew, compared, swapped and back.

The incidents of `examples/incidents.py` come in at 200 requests a second. A later release, in which
the person owns an incident and not the group, builds its view beside the live one; what the diff
says is recomputed without any of Meshline, from the records and from the file. `make test` takes
a part of the incidents, `make soak` most: MESHLINE_SOAK_CASES says how many are there before,
MESHLINE_SOAK_SWAPS how often the view is swapped and rolled back.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from examples import incidents

from meshline.events import Publisher
from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections import ownership_view
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.rebuild import swap_when_ready
from tests.acceptance.support import owners, person_owns, reference
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.histories import ACTOR, Feed, History, publish
from tests.acceptance.support.onlookers import Answer, Onlooker
from tests.acceptance.support.places import Place, Views, every_record, until

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("MESHLINE_SOAK_CASES", "250"))
SWAPS = int(os.environ.get("MESHLINE_SOAK_SWAPS", "25"))

PER_S = 200.0
PARTITIONS = 4
READERS = 3
PATIENCE_S = 180.0
THIS = "meshline.cli.main"
NEXT = "tests.acceptance.support.next_release"
# On a machine that is too busy, it takes a while until both stand at the same positions by chance.
DIFF = ("diff", "ownership", "--output", "json", "--wait", "100s")
OLD_VIEW, NEW_VIEW = Build("ownership", 1, 1), Build("ownership", 2, 1)
RECORDED = "meshline.activity.recorded.v1"

Records = dict[int, list[tuple[int, owners.Row]]]


@pytest.mark.parametrize(
    "place",
    [pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres])],
    indirect=True,
)
async def test_a_changed_rule_is_built_compared_and_swapped_while_events_come_in(
    place: Place, tmp_path: Path
) -> None:
    lines = reference.real_cases("incidents")
    before, later = history(lines[:CASES]), history(lines[CASES:])
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            release = start(fleet, place)
            await until("the views", PATIENCE_S, views.are_there, alive=release)
            await publish(log, before)
            async with Publisher(log, actor=ACTOR) as publisher, feeding(publisher, later) as feed:
                await typed(place, NEXT, "rebuild", "ownership", "--throttle", "4000")
                next_projector = at_address(fleet, place, "next", "projector")
                next_projector.start()
                diff = await typed(place, NEXT, *DIFF)
                onlookers = [Onlooker(place, views) for _ in range(READERS)]
                await swapped_under(onlookers, place, log, publisher)
            published = [*lines[:CASES], *feed.lines]
            await settled(log, views, place, published)
            diff_at_end = await typed(place, NEXT, *DIFF)
            for member in (next_projector, *release):
                assert member.end() == 0, member.said()[-3000:]

        records = await records_of(log)
        check_diff(orjson.loads(diff), records)
        check_diff(orjson.loads(diff_at_end), records)
        for onlooker in onlookers:
            check_answers(onlooker.answers, records)
        await check_owners(views, published)
        assert await compare_views(views.store, await fold_views(log)) == []
        later_views = [person_owns.projection]
        scratch = await fold_views(log, later_views)
        assert await compare_views(views.store, scratch, later_views) == []
        print(
            f"{len(published)} incidents, {sum(map(len, records.values()))} records; "
            f"{feed.requests} requests at {PER_S:g}/s meanwhile; "
            f"{sum(len(o.answers) for o in onlookers)} answers during {2 * SWAPS} changes"
        )


def history(lines: list[reference.Line]) -> History:
    return History(incidents.incidents, incidents.convert, reference.incident, lines)


def at_address(fleet: Fleet, place: Place, name: str, *words: str) -> Member:
    where = ("--log", place.log, "--views", place.views)
    if name == "next":
        return fleet.add(name, NEXT.rpartition(".")[2], *words, *where)
    return fleet.command(name, *words, *where)


def start(fleet: Fleet, place: Place) -> list[Member]:
    worker = fleet.worker("worker", place.log, "examples/incidents.py")
    projector = at_address(fleet, place, "projector", "projector")
    for member in (worker, projector):
        member.start()
    worker.wait_ready()
    return [worker, projector]


@asynccontextmanager
async def feeding(publisher: Publisher, later: History) -> AsyncGenerator[Feed]:
    feed, stop = Feed(later), asyncio.Event()
    task = asyncio.create_task(feed.run(publisher, PER_S, stop))
    try:
        yield feed
    finally:
        stop.set()
        await task


async def typed(place: Place, release: str, *words: str) -> bytes:
    """Type a command about views, see that it ends well, and return its data."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", release, "view", *words),
        *("--log", place.log, "--views", place.views),
        cwd=reference.REPOSITORY,
        stdout=PIPE,
        stderr=PIPE,
    )
    data, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, f"{words}: {said.decode()}"
    return data


async def swapped_under(
    onlookers: list[Onlooker], place: Place, log: EventLog, publisher: Publisher
) -> None:
    """Swap and roll back, again and again, while they read; one of them also writes."""
    stop, books = asyncio.Event(), Builds(place.views)
    async with asyncio.TaskGroup() as reading:
        for onlooker in onlookers:
            reading.create_task(onlooker.read_until(stop))
        try:
            await typed(place, NEXT, "swap", "ownership")
            await typed(place, THIS, "rollback", "ownership")
            for number in range(2 * (SWAPS - 1)):
                if number % 5 == 0:
                    await write_and_see(onlookers[0], log, publisher, number)
                await swap_when_ready(
                    books,
                    log,
                    (NEW_VIEW, OLD_VIEW)[number % 2],
                    actor="user:ada",
                    behind_max=100_000,
                    wait_s=30,
                    is_rollback=number % 2 == 1,
                )
        finally:
            stop.set()
            await books.aclose()


async def write_and_see(
    onlooker: Onlooker, log: EventLog, publisher: Publisher, number: int
) -> None:
    payload = {"case": f"own-{number}", "impact": "Low", "product": "P", "country": "SE"}
    answer = await publisher.publish(
        "itsm.incidents", payload, trigger_id=payload["case"], wait_s=PATIENCE_S
    )
    assert answer.status == "accepted", answer
    at = answer.position.partition
    await onlooker.see(answer.run_id, [Position(at, (await log.ends())[at] - 1)])


async def settled(
    log: EventLog, views: Views, place: Place, published: list[reference.Line]
) -> None:
    """Wait until each activity is answered, and both builds have read all there is."""
    activities = sum(len(line["events"]) for line in published)
    books = Builds(place.views)

    async def read() -> bool:
        if (await views.said())[RECORDED] < activities:
            return False
        ends = await log.ends()
        statuses = await books.statuses()
        return all({p: c.offset for p, c in s.checkpoints.items()} == ends for s in statuses)

    await until("all builds at the end", PATIENCE_S, read)
    await books.aclose()


async def records_of(log: EventLog) -> Records:
    """All records that count, by partition, with their offsets."""
    values: dict[int, list[tuple[int, bytes]]] = {}
    async for record in every_record(log):
        values.setdefault(record.partition, []).append((record.offset, record.value))
    return {partition: [*owners.counting(each)] for partition, each in values.items()}


def until_offsets(records: Records, ends: dict[int, int]) -> Iterable[owners.Row]:
    return (
        event for p, each in records.items() for offset, event in each if offset < ends.get(p, 0)
    )


def check_diff(diff: Any, records: Records) -> None:
    """What it counts and shows is what two foldings of the same records differ in."""
    assert diff["old"]["version"] != diff["new"]["version"]
    assert diff["old"]["positions"] == diff["new"]["positions"]
    ends = {int(p): end for p, end in diff["old"]["positions"].items()}
    by_version = {
        version: owners.periods(until_offsets(records, ends), person_owns=version == 2)
        for version in (1, 2)
    }
    old, new = (by_version[diff[side]["version"]] for side in ("old", "new"))
    for table, rows_of in zip(diff["tables"], (owners.current, owners.period_rows), strict=True):
        before, after = rows_of(old), rows_of(new)
        expected = owners.difference(before, after)
        assert {name: table[name] for name in expected} == expected
        assert expected["changed"] > 0 and table["samples"]
        for sample in table["samples"]:
            key = tuple(sample["key"].values())
            assert as_row(sample["old"]) == before.get(key)
            assert as_row(sample["new"]) == after.get(key)


def as_row(shown: owners.Row | None) -> owners.Row | None:
    if shown is None:
        return None
    times = {name: shown[name] and datetime.fromisoformat(shown[name]) for name in owners.TIMES}
    return {**shown, **times}


def check_answers(answers: list[Answer], records: Records) -> None:
    """What was read just after a change is what that version is at that place of the log."""
    changes = [after for before, after in pairwise(answers) if before.version != after.version]
    assert len(changes) >= SWAPS, "they must have read in between"
    for answer in changes[:: max(1, len(changes) // 10)]:
        events = until_offsets(records, answer.offsets)
        found = owners.periods(events, person_owns=answer.version == 2)
        assert answer.runs == len(found)
        assert answer.periods == sum(map(len, found.values()))


async def check_owners(views: Views, published: list[reference.Line]) -> None:
    """Both versions say of each incident what its file says, by their rule."""
    run_ids = history(published).run_ids
    for table, person in ((ownership_view.periods, False), (person_owns.periods, True)):
        found: dict[str, list[Any]] = {}
        for row in await views.rows(table):
            found.setdefault(row.run_id, []).append((row.owner, row.assignee, row.since, row.until))
        for run_id, line in zip(run_ids, published, strict=True):
            expected = reference.incident(line, person_owns=person).stretches
            assert found[run_id] == expected, (table.projection, line["case"])
