"""The permits' rule, on small stories and on the real history."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

import pytest
from examples import permits

from meshline.workflow import Activity, Observation
from tests.examples.histories import fold, owner_periods, real_cases

DEADLINE = "2026-02-01T00:00:00.000+00:00"


def story(*codes: str, group: str = "Group 1") -> list[Observation]:
    """One activity a day from the first of January, in the same group."""
    activities = [
        Activity(code, f"2026-01-{day:02}T00:00:00.000+00:00", {"resource": "R1", "group": group})
        for day, code in enumerate(codes, 1)
    ]
    activities[0].payload["deadline"] = DEADLINE
    return fold(permits.observe, activities)


def kinds(observation: Observation) -> list[str]:
    return [raised.kind for raised in observation.raised]


@pytest.mark.parametrize("codes", [("T05", "T10"), ("T10", "T05"), ("T05", "T06", "T06", "T10")])
def test_a_receipt_is_complete_with_confirmation_and_decision(codes: tuple[str, ...]) -> None:
    *earlier, last = story("Confirmation of receipt", *codes)

    assert {each.ended for each in earlier} == {None}
    assert last.ended == "succeeded"


def test_a_report_opens_it_again_until_it_is_printed() -> None:
    seen = story("T05", "T10", "T16", "T17", "T19", "T20")

    assert [each.ended for each in seen] == [None, "succeeded", None, None, None, "succeeded"]


def test_the_group_that_is_none_leaves_the_owner_as_it_was() -> None:
    (seen,) = story("T05", group="EMPTY")

    assert (seen.owner, seen.assignee) == (None, "user:R1")


def test_rework_is_open_until_it_is_determined() -> None:
    adjusted, checked, determined = story("T03", "T02", "T04")

    assert kinds(adjusted) == ["rework"]
    assert (checked.settled, determined.settled) == ((), ("rework",))


def test_work_after_the_deadline_is_seen_once() -> None:
    late = Activity("T06", "2026-02-01T00:00:00.001+00:00", {})

    first, second = fold(permits.observe, [Activity("T05", DEADLINE, {"deadline": DEADLINE}), late])
    (again,) = fold(lambda activity, _: permits.observe(activity, second.memo), [late])

    assert [kinds(each) for each in (first, second, again)] == [[], ["past_deadline"], []]


@pytest.mark.slow
def test_the_real_history_has_the_owners_that_the_file_says() -> None:
    for case in real_cases("permits"):
        _, activities = permits.convert(case)

        periods = owner_periods(activities, fold(permits.observe, activities))

        assert [(owner, moment(time)) for owner, time in periods] == owners_in_file(case)


def owners_in_file(case: dict[str, Any]) -> list[tuple[str, datetime]]:
    known = [event for event in case["events"] if event["group"] != "EMPTY"]
    firsts = [next(events) for _, events in groupby(known, key=lambda e: e["group"])]
    return [(f"team:{event['group'].replace(' ', '_')}", moment(event["time"])) for event in firsts]


def moment(time: str) -> datetime:
    """The history has microseconds; no more than milliseconds are kept."""
    exact = datetime.fromisoformat(time)
    return exact.replace(microsecond=exact.microsecond // 1000 * 1000)


@pytest.mark.slow
def test_the_real_history_ends_as_the_file_says() -> None:
    for case in real_cases("permits"):
        seen = fold(permits.observe, permits.convert(case)[1])

        late = any("past_deadline" in kinds(each) for each in seen)

        assert (seen[-1].ended is not None) == is_complete_in_file(case), case["case"]
        assert late == (time_of(case["events"][-1]["time"]) > time_of(case["deadline"]))


def time_of(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def is_complete_in_file(case: dict[str, Any]) -> bool:
    last = {event["activity"][:3]: number for number, event in enumerate(case["events"])}
    begun = [(first, end) for first, end in (("T11", "T15"), ("T16", "T20")) if first in last]
    return {"T05", "T10"} <= last.keys() and all(
        last.get(end, -1) > last[first] for first, end in begun
    )
