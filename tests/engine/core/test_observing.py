"""Observed runs: what others did, in the order in which it is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from meshline.events import facts
from meshline.testing import START, RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import Activity, Observation, ObservedWorkflow, Raised
from tests.engine.core.workflows import Order


def tickets(**changed: Any) -> WorkflowTest:
    given: dict[str, Any] = {
        "trigger": Order, "source": "desk", "owner": "team:desk", "exceptions": "queue:desk",
        "outcome": "it works again",
    }  # fmt: skip
    wf = ObservedWorkflow("tickets", **(given | changed))

    @wf.observe
    def observe(activity: Activity, memo: Any) -> Observation:
        count = (memo or 0) + 1
        match activity.name:
            case "taken":
                return Observation(
                    owner="team:second", assignee="user:ada", actor="user:bob", memo=count
                )
            case "asked":
                return Observation(waiting_on="vendor", memo=count)
            case "handed back":
                return Observation(raised=(Raised("ping_pong", f"number {count}"),), memo=count)
            case "agreed":
                return Observation(settled=("ping_pong",), memo=count)
            case "closed":
                return Observation(ended="succeeded", memo=memo)
            case "given up":
                return Observation(ended="failed", memo=memo)
            case "own kind":
                return Observation(raised=(Raised("no_worker", "mine"),))
            case "nobody's":
                return Observation(owner="somebody")
            case _:
                raise LookupError(f"what is {activity.name}?\x00")

    return WorkflowTest(wf)


def opened() -> tuple[WorkflowTest, RunUnderTest]:
    test = tickets()
    return test, test.start(Order())


def test_an_activity_says_whose_the_run_is_now_and_who_works_on_it() -> None:
    test, run = opened()

    run.observe("taken", time=START - timedelta(hours=5))

    (event,) = [e for e in test.facts(run.id) if isinstance(e.data, facts.OwnerAssigned)]
    assert (run.owner, event.data.assignee) == ("team:second", "user:ada")
    assert event.time == START - timedelta(hours=5)
    assert event.recorded_at == START
    assert event.actor is not None
    assert event.actor.id == "user:bob"


def test_what_it_waits_for_outside_is_known() -> None:
    test, run = opened()

    run.observe("asked")
    state = test.state.runs[run.id]
    assert [(w.kind, w.about, w.owner) for w in state.waits] == [("outside", "vendor", "team:desk")]
    run.observe("taken")

    assert state.waits == () or test.state.runs[run.id].waits == ()


def test_it_ends_as_its_activity_says() -> None:
    _, run = opened()

    run.observe("given up")

    assert (run.state, run.reason) == ("failed", "given up")


def test_a_report_that_comes_twice_counts_once() -> None:
    test, run = opened()
    run.observe("handed back", event_id="r1")

    with pytest.raises(RequestRefused, match="repeated"):
        run.observe("handed back", event_id="r1")

    assert test.state.runs[run.id].memo == 1


def test_what_goes_on_after_the_end_reopens_the_run() -> None:
    _, run = opened()
    run.observe("closed")

    run.observe("taken")

    assert (run.state, run.owner) == ("running", "team:second")
    assert any(isinstance(fact, facts.RunReopened) for fact in run.history)
    run.observe("closed")
    assert run.state == "succeeded"


def test_an_end_that_is_told_twice_is_noted_and_changes_nothing() -> None:
    _, run = opened()
    run.observe("closed")

    run.observe("closed")

    assert run.state == "succeeded"
    assert sum(isinstance(fact, facts.RunSucceeded) for fact in run.history) == 1


def test_another_end_takes_the_place_of_the_first() -> None:
    _, run = opened()
    run.observe("closed")

    run.observe("given up")

    assert run.state == "failed"


def test_reports_out_of_order_are_taken_as_they_come_with_their_own_times() -> None:
    test, run = opened()

    run.observe("taken", time=START + timedelta(hours=2))
    run.observe("asked", time=START + timedelta(hours=1))

    times = [e.time for e in test.facts(run.id) if isinstance(e.data, facts.ActivityRecorded)]
    assert times == [START + timedelta(hours=2), START + timedelta(hours=1)]


def test_exceptions_that_the_rule_sees_are_open_once_and_closed_by_it() -> None:
    _, run = opened()

    run.observe("handed back")
    run.observe("handed back")
    assert (run.exception.kind, run.exception.message) == ("ping_pong", "number 1")
    run.observe("agreed")

    assert run.exceptions == []


def test_a_rule_that_raises_is_an_exception_and_the_activity_is_recorded() -> None:
    test, run = opened()
    run.observe("handed back")

    run.observe("lost")

    assert [e.kind for e in run.exceptions] == ["ping_pong", "rule_failed"]
    assert "LookupError" in run.exceptions[1].message
    assert test.state.runs[run.id].memo == 1


def test_a_rule_that_raises_after_the_end_leaves_it_ended() -> None:
    _, run = opened()
    run.observe("closed")

    run.observe("lost")

    assert (run.state, run.exception.kind) == ("succeeded", "rule_failed")
    assert run.problems == []


@pytest.mark.parametrize("activity", ["own kind", "nobody's"])
def test_what_a_rule_may_not_say_is_as_if_it_raised(activity: str) -> None:
    _, run = opened()

    run.observe(activity)

    assert run.exception.kind == "rule_failed"


def test_it_is_late_only_after_a_silence() -> None:
    test = tickets(due="1d", quiet="2h")
    run = test.start(Order(), time=START - timedelta(days=30))

    test.advance("1h")
    assert run.exceptions == []
    run.observe("asked", time=START - timedelta(days=29, hours=12))
    test.advance("1h59m")
    assert run.exceptions == []
    test.advance("1m")

    assert run.exception.kind == "overdue"
    (event,) = [e for e in test.facts(run.id) if isinstance(e.data, facts.ExceptionOpened)]
    assert event.time == START - timedelta(days=29)
    run.observe("closed", time=START - timedelta(days=28))
    assert (run.state, run.exceptions) == ("succeeded", [])


def test_history_that_is_brought_in_at_once_is_not_late() -> None:
    test = tickets(due="1d")
    run = test.start(Order(), time=START - timedelta(days=30))
    run.observe("closed", time=START - timedelta(days=29, hours=12))

    test.advance("30d")

    assert not any(isinstance(fact, facts.ExceptionOpened) for fact in run.history)


def test_it_is_not_paused_from_here_but_may_be_given_up() -> None:
    _, run = opened()

    with pytest.raises(RequestRefused, match="observed"):
        run.pause()
    run.cancel("not ours")

    assert run.state == "cancelled"


def test_a_report_without_a_worker_is_refused_and_may_be_sent_again() -> None:
    test = tickets()
    registry = list(test.registry)
    run = test.start(Order())
    test.replace()
    with pytest.raises(RequestRefused, match="no_worker"):
        run.observe("taken", event_id="r1")
    assert run.exception.kind == "no_worker"

    test.replace(*registry)
    run.observe("taken", event_id="r1")

    assert (run.owner, run.exceptions) == ("team:second", [])
