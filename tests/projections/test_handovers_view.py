from __future__ import annotations

from typing import Any

from meshline.events import facts
from meshline.events.envelope import Actor
from meshline.projections.handovers_view import handovers
from tests.projections.given import at, rows_after, said
from tests.projections.test_runs_view import OPENED, STARTED


async def went(*events: Any) -> list[tuple[Any, ...]]:
    rows = await rows_after(handovers, STARTED, OPENED, *events)
    return [tuple(row)[3:] for row in rows]


async def test_a_run_an_exception_and_an_approval_are_told_with_whose_they_were() -> None:
    assert await went(
        facts.OwnerAssigned(owner="user:bob", previous="user:ada", reason="she left"),
        facts.ExceptionAssigned(exception_id="ex-1", owner="user:bob", previous="queue:triage"),
        facts.TaskTransferred(task="deal", owner="user:bob", previous="user:ada", reason="left"),
    ) == [
        (at(2), "run", "", "user:ada", "user:bob", "user:ada", None, "she left"),
        (at(3), "exception", "ex-1", "queue:triage", "user:bob", "user:ada", None, ""),
        (at(4), "approval", "deal", "user:ada", "user:bob", "user:ada", None, "left"),
    ]


async def test_what_a_rule_gives_is_the_rules() -> None:
    assigned = facts.OwnerAssigned(owner="team:emea", previous="team:revops", rule="route")
    event = said(assigned, 2)
    by_rule = event._replace(event=event.event._replace(actor=Actor("rule", "route")))

    ((*_, actor, rule, _reason),) = await went(by_rule)

    assert (actor, rule) == (None, "route")


async def test_what_stays_where_it_was_went_nowhere() -> None:
    stays = facts.OwnerAssigned(owner="team:emea", assignee="user:ada", previous="team:emea")

    assert await went(stays) == []
