"""The incidents' rule, on small stories and on the real history."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

import pytest
from examples import incidents

from meshline.workflow import Activity, Observation
from tests.examples.histories import fold, owner_periods, real_cases


def story(*lines: str) -> list[Observation]:
    """`Accepted/In Progress Ada S1`: status, person and group of each activity."""
    activities = []
    for number, line in enumerate(lines):
        name, person, group = line.rsplit(" ", 2)
        payload = {"resource": person, "group": group}
        activities.append(Activity(name, f"2026-01-01T00:00:{number:02}+00:00", payload))
    return fold(incidents.observe, activities)


def kinds(observation: Observation) -> list[str]:
    return [raised.kind for raised in observation.raised]


def test_who_has_it_and_who_works_on_it() -> None:
    taken, queued = story("Accepted/In Progress Ada S1", "Queued/Awaiting Assignment Ada S2")

    assert (taken.owner, taken.assignee, taken.waiting_on) == ("team:S1", "user:Ada", None)
    assert (queued.owner, queued.assignee, queued.actor) == ("team:S2", None, "user:Ada")
    assert queued.waiting_on == "assignment"


def test_the_ticket_systems_own_account_is_nobody_who_works_on_it() -> None:
    (waiting,) = story("Accepted/Wait - User Siebel S1")

    assert (waiting.assignee, waiting.actor, waiting.waiting_on) == (None, "system:Siebel", "user")


def test_resolved_ends_it_closing_changes_nothing_and_anything_else_opens_it_again() -> None:
    resolved, closed, again, in_call = story(
        "Completed/Resolved Ada S1",
        "Completed/Closed Siebel S1",
        "Accepted/In Progress Ada S1",
        "Completed/In Call Ada S1",
    )

    assert (resolved.ended, closed.ended, again.ended) == ("succeeded", "succeeded", None)
    assert [kinds(each) for each in (resolved, closed, again)] == [[], [], ["reopened"]]
    assert in_call.ended == "succeeded"
    assert "reopened" in in_call.settled


def test_cancelled_is_no_success() -> None:
    assert story("Completed/Cancelled Ada S1")[0].ended == "cancelled"


def test_the_third_handback_is_ping_pong() -> None:
    seen = story(*(f"Queued/Awaiting Assignment Ada S{1 + n % 2}" for n in range(5)))

    assert [kinds(each) for each in seen] == [[], [], [], [], ["ping_pong"]]


def test_what_the_source_left_out_changes_nothing() -> None:
    bare = Activity("Accepted/In Progress", "2026-01-01T00:00:00+00:00", {})

    (seen,) = fold(incidents.observe, [bare])

    assert (seen.owner, seen.assignee, seen.actor) == (None, None, None)


def test_a_line_becomes_a_trigger_and_activities() -> None:
    event = {"time": "2011-04-04T16:51:24+02:00", "activity": "Accepted"}
    event |= {"transition": "In Progress", "resource": "-", "group": "S42", "role": "V3_2"}
    line = {"case": "1-5", "impact": "Low", "product": "P", "country": "Sweden", "events": [event]}

    trigger, activities = incidents.convert(line)

    assert incidents.incidents.spec.trigger.validate_python(trigger).case == "1-5"
    payload = {"group": "S42", "role": "V3_2"}
    assert activities == [Activity("Accepted/In Progress", "2011-04-04T14:51:24+00:00", payload)]


@pytest.mark.slow
def test_the_real_history_has_the_owners_that_the_file_says() -> None:
    for case in real_cases("incidents"):
        _, activities = incidents.convert(case)

        periods = owner_periods(activities, fold(incidents.observe, activities))

        assert [(owner, moment(time)) for owner, time in periods] == owners_in_file(case)


def owners_in_file(case: dict[str, Any]) -> list[tuple[str, datetime]]:
    runs = [list(events) for _, events in groupby(case["events"], key=lambda e: e["group"])]
    return [(f"team:{'_'.join(r[0]['group'].split(' '))}", moment(r[0]["time"])) for r in runs]


def moment(time: str) -> datetime:
    return datetime.fromisoformat(time)


@pytest.mark.slow
def test_the_real_history_has_the_exceptions_that_the_file_says() -> None:
    found, in_file = [], []
    for case in real_cases("incidents"):
        seen = fold(incidents.observe, incidents.convert(case)[1])
        found.append(({k for each in seen for k in kinds(each)}, seen[-1].ended is not None))
        in_file.append(exceptions_in_file(case))

    assert found == in_file
    assert sum("ping_pong" in each for each, _ in found) == 411
    assert sum("reopened" in each for each, _ in found) == 514
    assert sum(not ended for _, ended in found) == 8


def exceptions_in_file(case: dict[str, Any]) -> tuple[set[str], bool]:
    groups = [group for group, _ in groupby(event["group"] for event in case["events"])]
    done = [event["activity"] == "Completed" for event in case["events"]]
    expected = set()
    if len(groups) - len(set(groups)) >= 3:
        expected.add("ping_pong")
    if (True, False) in pairwise(done):
        expected.add("reopened")
    return expected, done[-1]


@pytest.mark.slow
def test_the_memo_of_the_real_history_stays_small() -> None:
    sizes = [
        len(str(observation.memo))
        for case in real_cases("incidents")
        for observation in fold(incidents.observe, incidents.convert(case)[1])
    ]

    assert max(sizes) < 400
