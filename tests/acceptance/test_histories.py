"""Two real histories, whole: what Meshline says of them is what the files say.

7,554 incidents with 65,533 activities and 1,434 permits with 8,577 go in as a ticket system would
publish them, with a worker and a projector as processes of their own. What the views hold is
compared with `support/reference.py`, which reads the files without any of Meshline. Then all of it
is published once more, and nothing may change but that it was said.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from examples import incidents, permits

from meshline.projections import exception_view, ownership_view, runs_view
from meshline.projections.projection import Table
from tests.acceptance.support import reference
from tests.acceptance.support.fleet import Fleet, Member
from tests.acceptance.support.histories import History, publish
from tests.acceptance.support.places import Place, Views, until

pytestmark = pytest.mark.slow

PARTITIONS = 4
PATIENCE_S = 300.0
QUIET_S = 3600 + 60.0
"""More than the time after which an observed run that is past its due time counts as late."""

RECEIVED, REPORTED = "meshline.trigger.received.v1", "meshline.activity.reported.v1"
RECORDED, REJECTED = "meshline.activity.recorded.v1", "meshline.request.rejected.v1"
REOPENED = "meshline.run.reopened.v1"
KEPT: tuple[Table[Any], ...] = (
    ownership_view.ownership, ownership_view.periods, exception_view.exceptions, runs_view.runs,
)  # fmt: skip


@pytest.fixture(params=["permits", "incidents"])
def history(request: pytest.FixtureRequest) -> History:
    lines = reference.real_cases(request.param)
    if request.param == "permits":
        return History(permits.permits, permits.convert, reference.permit, lines)
    return History(incidents.incidents, incidents.convert, reference.incident, lines)


async def test_what_meshline_says_is_what_the_file_says(
    place: Place, history: History, tmp_path: Path
) -> None:
    app = Path("examples") / f"{history.workflow.spec.source.partition('.')[2]}.py"
    arguments = ("--snapshots", place.snapshots, "--snapshot-records", "20000")
    async with place.opened_log(PARTITIONS) as log, place.opened_views() as views:
        with Fleet(tmp_path) as fleet:
            worker = fleet.worker("worker", place.log, app, *arguments)
            projector = fleet.projector("projector", place.log, place.views)
            for member in (worker, projector):
                member.start()
                member.wait_ready()
            cases = history.cases

            first = await publish(log, history)
            await settled(place, views, history, times=1)
            said = await views.said()
            before = await contents(views)

            assert first.triggers == {"accepted": len(cases)}
            assert (said[RECEIVED], said[REPORTED]) == (len(cases), history.activities)
            assert (said[REJECTED], said[RECORDED]) == (0, history.activities)
            assert said[REOPENED] == sum(case.reopened for case in cases.values())
            check_owners(views_of(before), cases)
            check_exceptions(before, cases)
            check_waits(before, cases)
            await check_times(views, history)

            again = await publish(log, history)
            await settled(place, views, history, times=2)
            said_again = await views.said()

            assert again.triggers == {"repeated": len(cases)}
            assert await contents(views) == before
            assert said_again - said == {
                RECEIVED: len(cases), "meshline.trigger.deduplicated.v1": len(cases),
                REPORTED: history.activities, REJECTED: history.activities,
            }  # fmt: skip
            assert await views.parked() == []

            assert worker.end() == 0
            ahead = ("--ahead-s", str(QUIET_S), "--off-s-max", "0")
            later = fleet.worker("later", place.log, app, *arguments, *ahead)
            await check_overdue(later, views, cases)
            assert (later.end(), projector.end()) == (0, 0)


async def settled(place: Place, views: Views, history: History, *, times: int) -> None:
    """Wait until every activity is answered, and the views have read all there is."""
    expected = times * history.activities

    async def answered() -> bool:
        said = await views.said()
        return said[RECORDED] + said[REJECTED] >= expected

    async def read() -> bool:
        async with place.opened_log() as log:
            return await views.are_at(await log.ends())

    await until(f"{expected} activities answered", PATIENCE_S, answered)
    await until("views that have read all", PATIENCE_S, read)


Contents = dict[str, list[Any]]


async def contents(views: Views) -> Contents:
    return {table.name: await views.rows(table) for table in KEPT}


def views_of(before: Contents) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    current = {row.run_id: row for row in before["ownership"]}
    periods: dict[str, list[Any]] = {}
    for row in before["ownership_periods"]:
        periods.setdefault(row.run_id, []).append(row)
    return current, periods


def check_owners(
    rows: tuple[dict[str, Any], dict[str, list[Any]]], cases: dict[str, reference.Case]
) -> None:
    """Each case has the owner of the file now, and had those of the file, from when until when."""
    current, periods = rows
    assert current.keys() == cases.keys() == periods.keys()
    different = {}
    for run_id, case in cases.items():
        ours = [(row.owner, row.assignee, row.since, row.until) for row in periods[run_id]]
        now = (current[run_id].owner, current[run_id].assignee)
        if ours != case.stretches or now != (case.owner, case.assignee):
            different[case.case_id] = (ours, case.stretches)
    some = dict(islice(different.items(), 3))
    assert not some, f"{len(different)} of {len(cases)} have other owners, such as {some}"


def check_exceptions(before: Contents, cases: dict[str, reference.Case]) -> None:
    found = Counter(
        (row.run_id, row.kind, row.opened_at, row.resolved_at) for row in before["exceptions"]
    )
    expected = Counter(
        (run_id, each.kind, each.at, each.settled_at)
        for run_id, case in cases.items()
        for each in case.raised
    )
    assert found == expected


def check_waits(before: Contents, cases: dict[str, reference.Case]) -> None:
    """Each case has ended as the file says, or waits for what it says, or is being worked on."""
    found = {
        row.run_id: (row.state, row.waits[0]["about"] if row.waits else None)
        for row in before["runs"]
    }
    assert found == {run_id: state_of(case) for run_id, case in cases.items()}


def state_of(case: reference.Case) -> tuple[str, str | None]:
    if case.ended is not None:
        return case.ended, None
    return ("waiting" if case.waits_for else "running"), case.waits_for


async def check_times(views: Views, history: History) -> None:
    """The times of the file stand in the history, each as often as the file has it."""
    rows = await views.query(
        "select run_id, time, data ->> 'activity' as activity from {ns}.history where type = $1",
        REPORTED,
    )
    assert Counter((row["run_id"], row["time"], row["activity"]) for row in rows) == Counter(
        (run_id, *reference.time_and_name(event, history.workflow.name))
        for run_id, line in zip(history.run_ids, history.lines, strict=True)
        for event in line["events"]
    )


async def check_overdue(later: Member, views: Views, cases: dict[str, reference.Case]) -> None:
    """An hour after the last report, what never ended is late, and nothing else is."""
    never_ended = {run_id for run_id, case in cases.items() if case.ended is None}
    later.start()
    later.wait_ready()

    async def overdue() -> bool:
        rows = await views.query("select run_id from {ns}.exceptions where kind = 'overdue'")
        return {row["run_id"] for row in rows} == never_ended and len(rows) == len(never_ended)

    await until(f"{len(never_ended)} overdue", 30.0, overdue)
