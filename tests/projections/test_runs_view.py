from __future__ import annotations

from typing import Any

import pytest

from meshline.events import facts
from meshline.projections.runs_view import RunRow, runs
from tests.projections.given import RUN, at, rows_after, said

STARTED = facts.RunStarted(
    workflow="lead", version=2, trigger_id="f-1", trigger_type="Form", source="web.forms",
    owner="team:revops", exception_route="queue:triage", expected_outcome="Lead", due_at=at(100),
)  # fmt: skip
ACCEPTED = facts.TriggerAccepted(
    source="web.forms", trigger_id="f-1", trigger_type="Form", payload_hash="x", workflow="lead",
    version=2,
)  # fmt: skip
RETRY = facts.Wait(kind="retry", about="enrich", since=at(1), until=at(5), owner="team:revops")
OUTSIDE = facts.Wait(kind="outside", about="vendor", since=at(0), owner="vendor:x")
OPENED = facts.ExceptionOpened(
    exception_id="ex-1", workflow="lead", kind="step_failed", about="enrich", route="queue:triage",
    owner="queue:triage", severity="high", cause="c", message="m", blocking=True,
)  # fmt: skip


async def run_after(*events: Any) -> RunRow:
    (row,) = await rows_after(runs, ACCEPTED, STARTED, *events)
    assert isinstance(row, RunRow)
    return row


async def test_a_run_carries_its_five_answers() -> None:
    row = await run_after()

    assert row == RunRow(
        run_id=RUN, workflow="lead", version=2, source="web.forms", trigger_type="Form",
        trigger_id="f-1", state="running", waits=[], wait_kind=None, waiting_since=None,
        wait_until=None, owner="team:revops", assignee=None, exception_route="queue:triage",
        expected_outcome="Lead", due_at=at(100), started_at=at(1), ended_at=None, outcome=None,
        reason=None, open_exceptions=0, observed=False, partition=0, log_offset=1,
        changed_at=at(1), events=1,
    )  # fmt: skip


async def test_a_wait_says_on_what_since_when_until_when_and_whose() -> None:
    row = await run_after(facts.RunWaiting(waits=(RETRY, OUTSIDE)))

    assert (row.state, row.wait_kind, row.waiting_since, row.wait_until) == (
        "waiting", "retry", at(0), at(5),
    )  # fmt: skip
    assert [wait["owner"] for wait in row.waits] == ["team:revops", "vendor:x"]


@pytest.mark.parametrize(
    "moves",
    [
        facts.StepStarted(step="enrich", attempt=2),
        facts.TimerFired(timer="nap"),
        facts.MessageMatched(message="paid"),
        facts.ApprovalApproved(approval="a", by="user:ada"),
    ],
)
async def test_what_moves_a_run_ends_its_wait(moves: facts.Fact) -> None:
    row = await run_after(facts.RunWaiting(waits=(RETRY,)), moves)

    assert (row.state, row.waits, row.wait_kind, row.wait_until) == ("running", [], None, None)


async def test_a_timer_set_leaves_the_run_as_it_is() -> None:
    row = await run_after(facts.RunWaiting(waits=(RETRY,)), facts.TimerSet(timer="nap", at=at(9)))

    assert row.state == "waiting"
    assert (row.events, row.log_offset, row.changed_at) == (3, 3, at(3))


async def test_an_exception_holds_a_run_until_it_is_resolved() -> None:
    held = (OPENED, facts.RunHeld(waits=(RETRY,)))

    row = await run_after(*held)
    assert (row.state, row.open_exceptions) == ("held", 1)

    row = await run_after(*held, facts.ExceptionResolved(exception_id="ex-1", how="retried"))
    assert (row.state, row.open_exceptions) == ("running", 0)


async def test_a_paused_run_stays_paused_while_a_step_finishes() -> None:
    paused = (facts.RunPaused(reason="holiday"), facts.StepSucceeded(step="enrich", attempt=1))

    row = await run_after(*paused)
    assert (row.state, row.reason, row.wait_kind) == ("paused", "holiday", "task")

    row = await run_after(*paused, facts.RunResumed())
    assert (row.state, row.reason, row.waits) == ("running", None, [])


@pytest.mark.parametrize(
    ("ends", "state", "outcome", "reason"),
    [
        (facts.RunSucceeded(outcome={"crm": 1}), "succeeded", {"crm": 1}, None),
        (facts.RunFailed(reason="no"), "failed", None, "no"),
        (facts.RunCancelled(reason="late"), "cancelled", None, "late"),
    ],
)
async def test_an_end_says_how(ends: facts.Fact, state: str, outcome: Any, reason: Any) -> None:
    row = await run_after(facts.RunWaiting(waits=(RETRY,)), ends)

    assert (row.state, row.outcome, row.reason, row.ended_at) == (state, outcome, reason, at(3))
    assert row.waits == []


async def test_nothing_but_reopening_brings_an_ended_run_back() -> None:
    row = await run_after(
        facts.RunSucceeded(), facts.ActivityRecorded(activity="late", waits=(OUTSIDE,))
    )
    assert row.state == "succeeded"

    row = await run_after(facts.RunSucceeded(), facts.RunReopened(reason="not solved"))
    assert (row.state, row.ended_at, row.reason) == ("running", None, "not solved")


async def test_an_observed_run_waits_as_its_last_activity_says() -> None:
    waiting = facts.ActivityRecorded(activity="asked", waits=(OUTSIDE,))

    assert (await run_after(waiting)).state == "waiting"
    assert (await run_after(waiting, facts.ActivityRecorded(activity="went on"))).state == "running"


async def test_the_owner_now_is_the_last_assigned() -> None:
    row = await run_after(facts.OwnerAssigned(owner="team:emea", assignee="user:bob"))

    assert (row.owner, row.assignee) == ("team:emea", "user:bob")


async def test_facts_of_a_run_that_never_started_make_no_row() -> None:
    rejected = facts.TriggerRejected(
        source="s", trigger_id="1", trigger_type="", code="invalid", reason="no"
    )

    assert await rows_after(runs, said(rejected), said(OPENED)) == []


async def test_exceptions_that_are_dismissed_are_not_open_and_may_be_again() -> None:
    dismissed = facts.ExceptionDismissed(exception_id="ex-1", reason="no problem")
    again = facts.ExceptionReopened(exception_id="ex-1", owner="queue:triage")

    assert (await run_after(OPENED, dismissed)).open_exceptions == 0
    assert (await run_after(OPENED, dismissed, again)).open_exceptions == 1
