"""What follows when people do not decide: reminders, the next in the chain, and the end of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from meshline.events import facts
from meshline.testing import RequestRefused
from meshline.testing.workflow_test import START
from tests.engine.core.test_task_answers import asked


def hours(time: datetime) -> float:
    return (time - START) / timedelta(hours=1)


def test_a_chain_of_two_days_each_with_its_own_time_and_reminders() -> None:
    test, run = asked(
        due="8h", remind=["2h", "30m"], escalate=[("team:sales", "16h"), ("queue:board", "1d")],
    )  # fmt: skip

    test.advance("3d")

    told = [
        (hours(event.time), type(event.data).__name__, getattr(event.data, "owner", ""))
        for event in test.facts(run.id)
        if isinstance(
            event.data, facts.TaskReminded | facts.ApprovalEscalated | facts.ApprovalExpired
        )
    ]
    assert told == [
        (6.0, "TaskReminded", "role:lead"),
        (7.5, "TaskReminded", "role:lead"),
        (8.0, "ApprovalEscalated", "team:sales"),
        (22.0, "TaskReminded", "team:sales"),
        (23.5, "TaskReminded", "team:sales"),
        (24.0, "ApprovalEscalated", "queue:board"),
        (46.0, "TaskReminded", "queue:board"),
        (47.5, "TaskReminded", "queue:board"),
        (48.0, "ApprovalExpired", ""),
    ]
    assert run.exception.kind == "approval_expired"
    assert run.problems == []
    assert "role:lead is reminded of deal, due until 2026-01-05 17:00:00 UTC" in run.story()


def test_a_wait_ends_at_the_due_time_and_not_at_the_reminder() -> None:
    test, run = asked(due="8h", remind="2h")

    assert run.waits[0].until == START + timedelta(hours=8)
    test.advance("7h")
    assert run.waits[0].until == START + timedelta(hours=8)


def test_nobody_is_reminded_of_what_is_decided_or_late() -> None:
    test, run = asked(due="8h", remind="2h")
    run.approve("deal", by="user:ada")
    test.advance("1d")
    assert not any(isinstance(fact, facts.TaskReminded) for fact in run.history)

    # Nobody kept the partition between the reminder and the due time.
    test, run = asked(due="8h", remind="2h")
    test.clock.set(START + timedelta(hours=9))
    test.restart()
    assert not any(isinstance(fact, facts.TaskReminded) for fact in run.history)
    assert run.exception.kind == "approval_expired"


def test_to_whom_it_goes_may_decide_and_who_was_asked_before_still_may() -> None:
    test, run = asked(due="8h", escalate="queue:board")
    with pytest.raises(RequestRefused, match="not_allowed"):
        run.approve("deal", by="user:dot")
    test.advance("8h")
    run.approve("deal", by="user:dot")
    assert run.state == "succeeded"

    test, run = asked(due="8h", escalate="queue:board")
    test.advance("8h")
    run.approve("deal", by="user:ada")
    assert run.state == "succeeded"


def test_it_is_denied_on_expiry_where_the_definition_says_so() -> None:
    test, run = asked(due="8h", escalate="queue:board", on_expiry="deny")

    test.advance("15h")
    assert run.state == "waiting"
    test.advance("1h")

    assert (run.state, run.reason) == ("cancelled", "deal was denied")
    (denied,) = [fact for fact in run.history if isinstance(fact, facts.ApprovalDenied)]
    assert (denied.by, denied.reason) == ("rule:expiry", "nobody decided by 2026-01-06 01:00 UTC")


def test_the_run_goes_on_without_a_decision_where_the_definition_says_so() -> None:
    test, run = asked(due="8h", on_expiry="go on")

    test.advance("8h")

    assert run.state == "succeeded" and run.outcome.number == -1
    (skipped,) = [fact for fact in run.history if isinstance(fact, facts.StepSkipped)]
    assert (skipped.step, skipped.why) == ("deal", "expired")


def test_what_expires_while_the_run_is_paused_does_so_when_it_goes_on() -> None:
    test, run = asked(due="8h", remind="2h", on_expiry="deny")
    run.pause()

    test.advance("10h")
    assert run.state == "paused"
    run.resume()

    assert run.state == "cancelled"
