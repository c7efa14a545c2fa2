"""The two worked examples of projections, given events and given a whole observed process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from examples import incidents
from examples.projections import breaches, time_to_owner

from meshline.events.envelope import Position
from meshline.events.facts import ExceptionOpened, OwnerAssigned, RunStarted, RunSucceeded
from meshline.projections.loading import beside_built_in, load_projections
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.queries import Views
from meshline.testing import WorkflowTest
from meshline.testing.projections import ProjectionTest
from tests.projections.recorded_log import log_of

MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)


def started(**more: Any) -> RunStarted:
    given: dict[str, Any] = {
        "workflow": "lead", "version": 1, "trigger_id": "F-1", "trigger_type": "Form",
        "source": "web.forms", "owner": "queue:triage", "exception_route": "queue:triage",
        "expected_outcome": "Lead",
    }  # fmt: skip
    return RunStarted(**given | more)


def handed(owner: str, assignee: str | None = None) -> OwnerAssigned:
    return OwnerAssigned(owner=owner, assignee=assignee, previous="queue:triage")


def overdue() -> ExceptionOpened:
    return ExceptionOpened(
        exception_id="ex-1", workflow="lead", kind="overdue", about="run", route="queue:triage",
        owner="queue:triage", severity="high", cause="overdue", message="late", blocking=False,
    )  # fmt: skip


def test_a_team_is_nobody_and_the_first_person_counts() -> None:
    test = ProjectionTest(time_to_owner.projection).given(started(), handed("team:emea"))
    (row,) = test.rows(time_to_owner.time_to_owner)
    assert (row.person, row.seconds) == (None, None)

    test.when(handed("user:ada"), handed("user:bob"))

    (row,) = test.rows(time_to_owner.time_to_owner)
    assert (row.source, row.person, row.seconds) == ("web.forms", "user:ada", 120.0)


def test_who_works_on_it_is_somebody_and_an_owner_from_the_start_takes_no_time() -> None:
    test = ProjectionTest(time_to_owner.projection)
    test.given(started(), handed("team:emea", "user:cleo"), run="a")
    test.given(started(owner="user:ada"), run="b")

    rows = {row.run_id: row for row in test.rows(time_to_owner.time_to_owner)}
    assert (rows["a"].person, rows["a"].seconds) == ("user:cleo", 60.0)
    assert (rows["b"].person, rows["b"].seconds) == ("user:ada", 0.0)


def test_a_breach_counts_once_against_the_owner_of_then() -> None:
    test = ProjectionTest(breaches.projection, start=MONDAY)
    due_at = MONDAY + timedelta(days=1)
    test.given(started(due_at=due_at), handed("team:emea"))
    assert test.rows(breaches.breaches) == []

    test.when(overdue(), at=due_at)
    test.when(handed("team:apac"), RunSucceeded(), at=due_at + timedelta(days=2))

    (row,) = test.rows(breaches.breaches)
    assert (row.owner, row.due_at) == ("team:emea", due_at)
    assert row.ended_at == due_at + timedelta(days=2, minutes=1)


def test_in_time_and_without_a_due_time_there_is_no_breach() -> None:
    test = ProjectionTest(breaches.projection, start=MONDAY)
    test.given(started(due_at=MONDAY + timedelta(days=1)), RunSucceeded(), run="a")
    test.given(started(), RunSucceeded(), run="b")

    assert test.rows(breaches.breaches) == []


def observed() -> WorkflowTest:
    """An incident that a person takes after an hour and ends after 40 days."""
    test = WorkflowTest(incidents.incidents)
    payload = {"case": "1-1", "impact": "Low", "product": "P", "country": "Sweden"}
    run = test.start(payload, id="1-1", time=MONDAY)
    run.observe("Queued/Awaiting Assignment", {"group": "S1", "resource": "Ada"}, time=MONDAY)
    taken = MONDAY + timedelta(hours=1)
    run.observe("Accepted/In Progress", {"group": "S1", "resource": "Ada"}, time=taken)
    ended = MONDAY + timedelta(days=40)
    run.observe("Completed/Resolved", {"group": "S1", "resource": "Ada"}, time=ended)
    return test


def test_what_a_keeper_really_writes_is_understood() -> None:
    log = observed()

    (owned,) = ProjectionTest(time_to_owner.projection).given_log_of(log).rows(
        time_to_owner.time_to_owner
    )  # fmt: skip
    (late,) = ProjectionTest(breaches.projection).given_log_of(log).rows(breaches.breaches)

    assert (owned.source, owned.person, owned.seconds) == ("itsm.incidents", "user:Ada", 3600.0)
    assert (late.owner, late.due_at) == ("team:S1", MONDAY + timedelta(days=30))


@pytest.mark.postgres
async def test_people_query_stable_names(postgres_address: str) -> None:
    log = log_of(observed().records)
    names = [f"examples.projections.{each}" for each in ("time_to_owner", "breaches")]
    everything = load_projections(names)
    assert everything == beside_built_in([time_to_owner.projection, breaches.projection])
    store, views = PostgresStore(postgres_address), Views(postgres_address)
    await store.open()
    projector = Projector(log, store, everything)
    feeding = asyncio.create_task(projector.run())
    ends = [Position(p, end - 1) for p, end in (await log.ends()).items()]

    await views.reached(ends, ["time_to_owner", "breaches"], timeout_s=30)
    (source,) = await views._fetch("select * from {ns}.time_to_owner_by_source")
    (week,) = await views._fetch("select * from {ns}.breaches_by_team_and_week")

    assert (source["runs"], source["owned"], source["median_s"]) == (1, 1, 3600.0)
    assert (week["team"], str(week["week"]), week["breaches"]) == ("team:S1", "2026-02-02", 1)
    assert week["days_late"] == 10.0
    projector.stop()
    await feeding
    await views.aclose()
    await store.aclose()
