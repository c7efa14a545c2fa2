from __future__ import annotations

from typing import Any

from meshline.events import facts
from meshline.projections.ownership_view import ownership, periods
from tests.projections.given import at, rows_after, said
from tests.projections.test_runs_view import STARTED


def to(owner: str, assignee: str | None = None, rule: str | None = None) -> facts.OwnerAssigned:
    return facts.OwnerAssigned(owner=owner, assignee=assignee, rule=rule, reason=f"to {owner}")


async def periods_after(*events: Any) -> list[tuple[Any, ...]]:
    rows = await rows_after(periods, STARTED, *events)
    assert [row.number for row in rows] == [*range(1, len(rows) + 1)]
    return [(row.owner, row.assignee, row.since, row.until) for row in rows]


async def test_the_first_period_begins_with_the_run() -> None:
    assert await periods_after() == [("team:revops", None, at(0), None)]


async def test_an_assignment_ends_one_period_and_begins_the_next() -> None:
    assert await periods_after(to("team:emea"), to("team:emea", "user:ada")) == [
        ("team:revops", None, at(0), at(1)),
        ("team:emea", None, at(1), at(2)),
        ("team:emea", "user:ada", at(2), None),
    ]


async def test_an_assignment_to_the_same_pair_begins_nothing() -> None:
    assert await periods_after(to("team:emea"), to("team:emea")) == [
        ("team:revops", None, at(0), at(1)),
        ("team:emea", None, at(1), None),
    ]


async def test_the_end_of_the_run_ends_the_last_period_at_its_event_time() -> None:
    ended = said(facts.RunSucceeded(), time=at(-30))

    assert await periods_after(to("team:emea"), ended) == [
        ("team:revops", None, at(0), at(1)),
        ("team:emea", None, at(1), at(-30)),
    ]


async def test_a_reopened_run_goes_back_to_whom_it_had() -> None:
    assert await periods_after(
        to("team:emea", "user:ada"), facts.RunSucceeded(), facts.RunReopened(reason="again")
    ) == [
        ("team:revops", None, at(0), at(1)),
        ("team:emea", "user:ada", at(1), at(2)),
        ("team:emea", "user:ada", at(3), None),
    ]


async def test_an_assignment_after_the_end_changes_nothing() -> None:
    assert await periods_after(facts.RunSucceeded(), to("team:emea")) == [
        ("team:revops", None, at(0), at(1))
    ]


async def test_ownership_says_who_owns_now_and_why() -> None:
    (row,) = await rows_after(ownership, STARTED, to("team:emea", rule="route"))

    assert (row.owner, row.since, row.until, row.number) == ("team:emea", at(1), None, 2)
    assert (row.actor, row.rule, row.reason) == ("user:ada", "route", "to team:emea")
