"""Views as of a moment: on small stories, and on the real incidents against plain Python."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from examples import incidents

from meshline.events.facts import OwnerAssigned
from meshline.events.ids import run_id_of
from meshline.projections import exception_view, history_view, ownership_view, runs_view
from meshline.projections.as_of import Moment, fold_as_of, fold_history, item_of, rows_until
from meshline.projections.as_of_queries import ABOUT_RUNS, ViewsFolded, views_at
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.projections.history_view import HistoryRow
from meshline.projections.intake import Undecodable
from meshline.projections.memory_store import MemoryStore
from meshline.testing import WorkflowTest
from tests.acceptance.support import reference
from tests.projections.filled_views import filled_views
from tests.projections.given import at, said
from tests.projections.kept_views import KeptInMemory
from tests.projections.recorded_log import log_of
from tests.projections.streams import fill, new_log, write
from tests.projections.test_runs_view import STARTED

PAIRS = 2_000
LISTS = 6


def handed(owner: str) -> OwnerAssigned:
    return OwnerAssigned(owner=owner, previous="team:revops")


def admitted(moment: Moment, *events: Any) -> list[int]:
    admits = moment.admits()
    return [item.position.offset for item in events if admits(item)]


def late(data: Any, offset: int, *, time: float, recorded: float, run: str = "run") -> Any:
    item = said(data, offset, run=run, time=at(time))
    return item._replace(event=item.event._replace(recorded_at=at(recorded)))


def test_by_event_time_a_late_report_counts_at_the_time_when_it_happened() -> None:
    story = [
        late(STARTED, 0, time=0, recorded=0),
        late(handed("a"), 1, time=30, recorded=31),
        late(handed("b"), 2, time=10, recorded=32),
    ]

    assert admitted(Moment(at(15)), *story) == [0, 2]
    assert admitted(Moment(at(15), "recorded"), *story) == [0]
    assert admitted(Moment(at(31), "recorded"), *story) == [0, 1]


def test_by_recorded_time_a_run_is_its_beginning_even_if_a_writers_clock_went_back() -> None:
    story = [
        late(STARTED, 0, time=0, recorded=0),
        late(handed("a"), 1, time=5, recorded=20),
        late(handed("b"), 2, time=6, recorded=10),
        late(STARTED, 3, time=6, recorded=10, run="other"),
    ]

    assert admitted(Moment(at(15), "recorded"), *story) == [0, 3]


def test_by_position_the_last_one_counts_and_other_partitions_are_whole() -> None:
    story = [said(STARTED, 0), said(handed("a"), 1), said(handed("b"), 2)]

    assert admitted(Moment(offsets={0: 1}), *story) == [0, 1]
    assert admitted(Moment(offsets={7: 1}), *story) == [0, 1, 2]
    assert admitted(Moment(at(0.5), offsets={0: 1}), *story) == [0]


async def test_as_of_now_is_what_the_views_are_and_a_position_is_a_beginning_of_the_log() -> None:
    log = await new_log()
    await fill(log, write(5, 40).entries)

    now = await fold_as_of(log, ABOUT_RUNS, Moment(at(10**6)))
    half = {p: end // 2 for p, end in (await log.ends()).items()}
    earlier = await fold_as_of(log, ABOUT_RUNS, Moment(offsets=half))

    assert await compare_views(now, await fold_views(log), ABOUT_RUNS) == []
    until = {p: offset + 1 for p, offset in half.items()}
    assert await compare_views(earlier, await fold_views(log, until=until), ABOUT_RUNS) == []
    assert await earlier.rows(runs_view.runs) != await now.rows(runs_view.runs)


async def test_one_run_folded_from_its_history_is_the_same_run_as_in_the_whole_log() -> None:
    log = await new_log()
    await fill(log, write(6, 30).entries)
    whole = await fold_views(log)
    histories = by_run(await whole.rows(history_view.history))
    drawn = random.Random(1)

    for run_id, history in histories.items():
        moment = Moment(drawn.choice(history).time, drawn.choice(["event", "recorded"]))
        expected = await fold_as_of(log, ABOUT_RUNS, moment)
        one = await fold_history(history, ABOUT_RUNS, moment)
        for projection in ABOUT_RUNS:
            for table in projection.tables:
                if "run_id" in table.row._fields:
                    rows = [row for row in await expected.rows(table) if row.run_id == run_id]
                    assert await one.rows(table) == rows


async def test_an_event_of_a_newer_program_stops_the_run_there() -> None:
    row = HistoryRow(
        "run", 0, 3, "meshline.run.teleported.v1", "e", at(0), at(0), None, None, None, 0, 3, {}
    )

    item = item_of(row)

    assert isinstance(item, Undecodable) and item.stops
    assert rows_until([row], Moment(at(1))) == [row]


# -- the real incidents ------------------------------------------------------------------------


class Told(NamedTuple):
    """One line of the file, and when Meshline was told of it."""

    event: reference.Line
    recorded_at: datetime


class Imported(NamedTuple):
    lines: dict[str, reference.Line]
    told: dict[str, list[Told]]
    whole: MemoryStore
    test: WorkflowTest


def by_run(rows: list[HistoryRow]) -> dict[str, list[HistoryRow]]:
    found: dict[str, list[HistoryRow]] = {}
    for row in rows:
        found.setdefault(row.run_id, []).append(row)
    return found


@pytest.fixture(scope="module")
def story() -> Imported:
    """Import incidents that are drawn, all of them at once, in a random order of cases."""
    drawn = random.Random(20_261_117)
    lines = drawn.choices(reference.real_cases("incidents"), k=PAIRS)
    by_id = {run_id_of("itsm.incidents", line["case"]): line for line in lines}
    test = WorkflowTest(incidents.incidents)
    told: dict[str, list[Told]] = {run_id: [] for run_id in by_id}
    order = [run_id for run_id, line in by_id.items() for _ in line["events"]]
    drawn.shuffle(order)
    waiting: dict[str, Iterator[tuple[Any, reference.Line]]] = {}
    runs: dict[str, Any] = {}
    for run_id in order:
        test.clock.set(test.now + timedelta(milliseconds=drawn.randrange(1, 40)))
        if run_id not in runs:
            trigger, activities = incidents.convert(by_id[run_id])
            begun = datetime.fromisoformat(activities[0].time)
            runs[run_id] = test.start(trigger, id=trigger["case"], time=begun)
            waiting[run_id] = zip(activities, by_id[run_id]["events"], strict=True)
        activity, event = next(waiting[run_id])
        time = datetime.fromisoformat(activity.time)
        runs[run_id].observe(activity.name, activity.payload, time=time)
        told[run_id].append(Told(event, test.now))
    whole = asyncio.run(fold_views(log_of(test.records), [history_view.projection]))
    return Imported(by_id, told, whole, test)


def known(story: Imported, run_id: str, moment: Moment) -> reference.Case | None:
    """What the file says of the case at the moment: plain Python, none of Meshline."""
    assert moment.time is not None
    events = [
        told.event
        for told in story.told[run_id]
        if (
            told.recorded_at
            if moment.by == "recorded"
            else datetime.fromisoformat(told.event["time"])
        )
        <= moment.time
    ]
    return reference.incident({**story.lines[run_id], "events": events}) if events else None


async def check(store: MemoryStore, run_id: str, case: reference.Case | None) -> None:
    def own(rows: list[Any]) -> list[Any]:
        return [row for row in rows if row.run_id == run_id]

    periods = own(await store.rows(ownership_view.periods))
    if case is None:
        assert periods == []
        return
    assert [(p.owner, p.assignee, p.since, p.until) for p in periods] == case.stretches
    (run,) = own(await store.rows(runs_view.runs))
    assert (run.owner, run.assignee) == (case.owner, case.assignee)
    waits_for = run.waits[0]["about"] if run.waits else None
    state = case.ended or ("waiting" if case.waits_for else "running")
    assert (run.state, waits_for) == (state, case.waits_for)
    raised = [
        (e.kind, e.opened_at, e.resolved_at)
        for e in own(await store.rows(exception_view.exceptions))
        if e.kind != "overdue"
    ]
    assert sorted(raised, key=str) == sorted(map(tuple, case.raised), key=str)


@pytest.mark.slow
async def test_2000_moments_of_real_incidents_are_those_of_the_file(story: Imported) -> None:
    drawn = random.Random(1)
    histories = by_run(await story.whole.rows(history_view.history))
    checked = {"event": 0, "recorded": 0}

    for run_id in drawn.choices([*story.lines], k=PAIRS):
        for by in ("event", "recorded"):
            moment = a_moment(drawn, story.told[run_id], by)
            store = await fold_history(histories[run_id], ABOUT_RUNS, moment)
            await check(store, run_id, known(story, run_id, moment))
            checked[by] += 1

    assert checked == {"event": PAIRS, "recorded": PAIRS}


@pytest.mark.slow
async def test_whole_lists_of_real_incidents_are_those_of_the_file(story: Imported) -> None:
    drawn = random.Random(7)
    log = log_of(story.test.records)
    kept = KeptInMemory(log)
    ends = sorted(told[-1].recorded_at for told in story.told.values())
    # By then there surely is a snapshot that serves.
    later = ends[len(ends) * 3 // 4]
    for projection in ABOUT_RUNS:
        await kept.keep(projection, drawn, shares=[0.1, 0.4], spans=40)

    for number in range(LISTS):
        by = ("event", "recorded")[number % 2]
        moment = a_moment(drawn, story.told[drawn.choice([*story.told])], by)
        if number == LISTS - 1:
            moment = Moment(later, "recorded")
        store = await fold_as_of(log, ABOUT_RUNS, moment)
        cases = {run_id: known(story, run_id, moment) for run_id in story.lines}
        owners = {row.run_id: (row.owner, row.assignee) for row in await store.rows(
            ownership_view.ownership
        )}  # fmt: skip
        assert owners == {r: (c.owner, c.assignee) for r, c in cases.items() if c is not None}
        from_kept = await fold_as_of(log, ABOUT_RUNS, moment, kept)
        assert await compare_views(from_kept, store, ABOUT_RUNS) == []
        for run_id in drawn.sample([*cases], k=20):
            await check(from_kept, run_id, cases[run_id])
    assert kept.used, "no list was folded from a snapshot"


@pytest.mark.slow
@pytest.mark.postgres
async def test_lists_of_real_incidents_made_quickly_are_those_of_the_fold(
    story: Imported, postgres_address: str
) -> None:
    drawn, log = random.Random(8), log_of(story.test.records)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("owners", {}),
        ("runs", {"limit": 1_000}),
        ("runs", {"states": ["waiting"], "limit": 1_000}),
        ("exceptions", {"limit": 1_000}),
        ("exception_groups", {"open_only": False}),
    ]
    moment = a_moment(drawn, story.told[drawn.choice([*story.told])], "event")
    async with filled_views(postgres_address, log) as views:
        folded = ViewsFolded(views, await fold_as_of(log, ABOUT_RUNS, moment))
        quick = await views_at(views, moment, log)
        for name, given in asked:
            expected = await getattr(folded, name)(**given)
            assert await getattr(quick, name)(**given) == expected
            assert expected != await getattr(views, name)(**given), "it is as it is now"
        assert sum(load.runs for load in await quick.owners()) > 10


def a_moment(drawn: random.Random, told: list[Told], by: Any) -> Moment:
    """Somewhere around what the case went through: at an event, between two, before, after."""
    times = [
        t.recorded_at if by == "recorded" else datetime.fromisoformat(t.event["time"]) for t in told
    ]
    if drawn.random() < 0.3:
        return Moment(drawn.choice(times), by)
    span = times[-1] - times[0] + timedelta(minutes=1)
    return Moment(times[0] + span * drawn.uniform(-0.1, 1.1), by)
