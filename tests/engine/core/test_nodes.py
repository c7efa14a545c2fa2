"""Nodes of every kind: how they begin, what they wait for, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.engine.core.nodes import LOSSES_MAX
from meshline.events import facts
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest, crash
from meshline.workflow import Approval, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow


class Paid(BaseModel):
    amount: int


def finish(wf: Workflow, **options: Any) -> Workflow:
    @wf.step(**options)
    def finish(trigger: Order) -> Done:
        return Done(number=trigger.number)

    return wf


def kinds(run: RunUnderTest) -> list[str]:
    return [wait.kind for wait in run.waits]


def skipped(run: RunUnderTest) -> dict[str, str]:
    return {fact.step: fact.why for fact in run.history if isinstance(fact, facts.StepSkipped)}


# -- order, conditions, joins ------------------------------------------------------------------


def test_steps_run_as_soon_as_what_they_need_is_there() -> None:
    wf = new_workflow()

    @wf.step
    def left(trigger: Order) -> int:
        return 1

    @wf.step
    def right(trigger: Order) -> int:
        return 2

    @wf.step
    def join(left: int, right: int) -> Done:
        return Done(number=left + right)

    run = WorkflowTest(wf).start(Order())

    assert run.outcome == Done(number=3)
    assert run.steps == ["left", "right", "join"]


def test_a_branch_goes_on_while_another_waits() -> None:
    wf = new_workflow()
    wf.sleep("nap", "1d")

    @wf.step
    def quick(trigger: Order) -> int:
        return 1

    @wf.step(after="nap")
    def join(quick: int) -> Done:
        return Done(number=quick)

    test = WorkflowTest(wf)
    run = test.start(Order())
    assert (run.steps, run.state, kinds(run)) == (["quick"], "waiting", ["timer"])
    test.advance("1d")

    assert run.outcome == Done(number=1)


def test_a_condition_that_does_not_hold_skips_its_step_and_what_needs_it() -> None:
    wf = new_workflow()

    @wf.step(when=lambda trigger: trigger.number > 10)
    def big(trigger: Order) -> int:
        return 1

    @wf.step
    def after_big(big: int) -> int:
        return big

    @wf.step
    def always(big: int | None) -> Done:
        return Done(number=-1 if big is None else big)

    test = WorkflowTest(wf)
    small, large = test.start(Order(number=1)), test.start(Order(number=11))

    assert skipped(small) == {"big": "condition", "after_big": "upstream"}
    assert (small.outcome, large.outcome) == (Done(number=-1), Done(number=1))


def test_a_skipped_step_says_by_which_condition_what_it_saw_and_what_was_skipped_before() -> None:
    wf = new_workflow()

    @wf.step(when=lambda trigger: trigger.number > 10)
    def big(trigger: Order) -> int:
        return 1

    @wf.step
    def after_big(big: int) -> int:
        return big

    run = WorkflowTest(finish(wf)).start(Order(number=3))

    first, second = (fact for fact in run.history if isinstance(fact, facts.StepSkipped))
    assert (first.rule, first.values) == ("trigger.number > 10", {"trigger": {"number": 3}})
    assert (second.rule, second.values, second.upstream) == (None, None, "big")


def test_a_condition_that_raises_is_an_exception_and_can_be_tried_again() -> None:
    asked = []

    def fragile(trigger: Order) -> bool:
        asked.append(trigger)
        if len(asked) == 1:
            raise ZeroDivisionError("by \x00 zero")
        return True

    run = WorkflowTest(finish(new_workflow(), when=fragile)).start(Order())
    assert (run.state, run.exception.kind, run.exception.about) == ("held", "rule_failed", "finish")
    assert "ZeroDivisionError" in run.exception.message
    run.exception.retry()

    assert run.state == "succeeded"


def test_an_outcome_that_was_skipped_is_missed() -> None:
    wf = finish(new_workflow(), when=lambda trigger: trigger.number > 10)

    run = WorkflowTest(wf).start(Order())
    assert (run.state, run.exception.kind) == ("held", "outcome_missing")
    run.exception.skip({"number": 7})

    assert (run.state, run.outcome) == ("succeeded", Done(number=7))


def test_a_missing_outcome_that_is_retried_asks_the_condition_again() -> None:
    wf = finish(new_workflow(), when=lambda trigger: trigger.number > 10)
    run = WorkflowTest(wf).start(Order())
    first = run.exception.id

    run.exception.retry()

    assert run.exception.kind == "outcome_missing"
    assert run.exception.id != first


# -- owner rules -------------------------------------------------------------------------------


def test_an_owner_rule_hands_the_run_over_and_what_it_saw_is_kept() -> None:
    wf = finish(new_workflow(), after="route")

    @wf.assign
    def route(trigger: Order) -> str:
        return f"team:number-{trigger.number}"

    run = WorkflowTest(wf).start(Order(number=4))

    (assigned,) = [fact for fact in run.history if isinstance(fact, facts.OwnerAssigned)]
    assert run.owner == "team:number-4"
    assert (assigned.rule, assigned.previous) == ("route", "team:orders")
    assert assigned.values == {"trigger": {"number": 4}}


@pytest.mark.parametrize("given", ["nobody", "", "team:", 7, None])
def test_an_owner_that_is_no_principal_is_an_exception(given: Any) -> None:
    wf = finish(new_workflow(), after="route")

    @wf.assign
    def route(trigger: Order) -> str:
        return given  # type: ignore[no-any-return]

    run = WorkflowTest(wf).start(Order())

    assert (run.state, run.exception.kind, run.owner) == ("held", "rule_failed", "team:orders")


def test_an_owner_rule_that_raises_is_an_exception_with_its_error() -> None:
    wf = finish(new_workflow(), after="route")

    @wf.assign
    def route(trigger: Order) -> str:
        raise LookupError("no such region")

    run = WorkflowTest(wf).start(Order())

    assert run.exception.said.error is not None
    assert run.exception.said.error.type == "LookupError"


# -- sleeps ------------------------------------------------------------------------------------


def test_a_sleep_ends_when_it_is_over_and_not_before() -> None:
    wf = finish(new_workflow(), after="nap")
    wf.sleep("nap", "2d")
    test = WorkflowTest(wf)

    run = test.start(Order())
    test.advance(timedelta(days=2) - timedelta(microseconds=1))
    assert (run.state, kinds(run)) == ("waiting", ["timer"])
    test.advance(timedelta(microseconds=1))

    assert run.state == "succeeded"
    assert sum(isinstance(fact, facts.TimerFired) for fact in run.history) == 1


def test_a_sleep_until_a_moment_that_has_passed_is_no_sleep() -> None:
    wf = finish(new_workflow(), after="embargo")
    wf.sleep("embargo", until=lambda trigger: datetime(2020, 1, 1, tzinfo=UTC))

    assert WorkflowTest(wf).start(Order()).state == "succeeded"


@pytest.mark.parametrize(
    "moment",
    [datetime(2027, 1, 1), None, "tomorrow", datetime.max.replace(tzinfo=UTC)],  # noqa: DTZ001
)
def test_a_sleep_until_what_is_no_moment_is_an_exception(moment: Any) -> None:
    def until(trigger: Order) -> datetime:
        return moment  # type: ignore[no-any-return]

    wf = finish(new_workflow(), after="embargo")
    wf.sleep("embargo", until=until)

    run = WorkflowTest(wf).start(Order())

    if isinstance(moment, datetime) and moment.tzinfo is not None:
        assert run.waits[0].until == moment
    else:
        assert run.exception.kind == "rule_failed"


# -- messages ----------------------------------------------------------------------------------


def with_message(**options: Any) -> WorkflowTest:
    wf = new_workflow()
    wf.sleep("nap", "1h")
    wf.message("paid", payload=Paid, after="nap", **options)

    @wf.step
    def book(paid: Paid) -> Done:
        return Done(number=paid.amount)

    return WorkflowTest(wf)


def test_a_run_waits_for_its_message() -> None:
    test = with_message()
    run = test.start(Order())
    test.advance("1h")
    assert kinds(run) == ["message"]

    run.send("paid", Paid(amount=5))

    assert run.outcome == Done(number=5)


def test_a_message_that_comes_early_is_kept() -> None:
    test = with_message()
    run = test.start(Order())

    run.send("paid", {"amount": 5})
    assert kinds(run) == ["timer"]
    test.advance("1h")

    assert run.outcome == Done(number=5)


def test_a_message_counts_once() -> None:
    test = with_message()
    run = test.start(Order())
    run.send("paid", {"amount": 5})

    with pytest.raises(RequestRefused, match="already_matched"):
        run.send("paid", {"amount": 6})

    test.advance("1h")
    assert run.outcome == Done(number=5)


def test_a_message_that_does_not_fit_or_is_not_waited_for_is_refused() -> None:
    run = with_message().start(Order())

    with pytest.raises(RequestRefused, match=r"invalid: .*amount"):
        run.send("paid", {"amount": "much"})
    with pytest.raises(RequestRefused, match="unknown_message"):
        run.send("praised")


def test_a_message_that_does_not_come_is_an_exception_once_and_still_waited_for() -> None:
    test = with_message(due="2h")
    run = test.start(Order())

    test.advance("2d")
    assert (run.exception.kind, run.exception.blocking) == ("message_overdue", False)
    assert (run.state, kinds(run)) == ("waiting", ["message"])
    run.send("paid", {"amount": 5})

    assert (run.state, run.exceptions) == ("succeeded", [])


def test_the_message_closes_the_exception_that_it_was_late() -> None:
    wf = new_workflow()
    wf.message("paid", due="1h")
    wf.sleep("nap", "10d", after="paid")
    test = WorkflowTest(finish(wf, after="nap"))
    run = test.start(Order())
    test.advance("2h")

    run.send("paid")

    assert (run.state, run.exceptions) == ("waiting", [])
    resolved = [fact.how for fact in run.history if isinstance(fact, facts.ExceptionResolved)]
    assert resolved == ["outcome"]


# -- approvals ---------------------------------------------------------------------------------


class Terms(BaseModel):
    discount: int


def with_approval(**options: Any) -> WorkflowTest:
    wf = new_workflow()
    form = options.pop("form", False)
    decorate = wf.approval("deal", **({"by": "role:lead"} | options))
    if form:
        decorate(Terms)

    @wf.step
    def book(deal: Approval) -> Done:
        return Done(number=int(deal.approved))

    return WorkflowTest(wf)


def test_an_approval_waits_for_a_person_and_goes_on() -> None:
    run = with_approval().start(Order())
    assert [(wait.kind, wait.about, wait.owner) for wait in run.waits] == [
        ("approval", "deal", "role:lead")
    ]

    run.approve("deal", by="user:ada")

    assert run.outcome == Done(number=1)
    (approved,) = [fact for fact in run.history if isinstance(fact, facts.ApprovalApproved)]
    assert approved.by == "user:ada"


def test_a_denial_ends_the_run() -> None:
    run = with_approval().start(Order())

    run.deny("deal", "too dear")

    assert (run.state, run.reason) == ("cancelled", "deal was denied")


def test_a_denial_may_be_an_answer_like_another() -> None:
    run = with_approval(denied="continue").start(Order())

    run.deny("deal", "too dear")

    assert run.outcome == Done(number=0)


def test_a_denial_needs_a_reason() -> None:
    run = with_approval().start(Order())

    with pytest.raises(RequestRefused, match="reason_missing"):
        run.deny("deal", "  ")


def test_only_the_person_who_is_named_may_decide() -> None:
    run = with_approval(by="user:ada").start(Order())

    with pytest.raises(RequestRefused, match=r"not_allowed.*only user:ada"):
        run.approve("deal", by="user:bob")
    run.approve("deal", by="user:ada")

    assert run.state == "succeeded"


def test_a_form_must_fit() -> None:
    run = with_approval(form=True).start(Order())

    with pytest.raises(RequestRefused, match=r"invalid.*discount"):
        run.approve("deal")
    with pytest.raises(RequestRefused, match=r"invalid.*discount"):
        run.approve("deal", {"discount": "much"})
    run.approve("deal", Terms(discount=5))

    assert run.state == "succeeded"


def test_a_decision_counts_once_and_only_where_it_is_asked() -> None:
    test = with_approval(denied="continue", when=lambda trigger: trigger.number == 1)
    run, other = test.start(Order()), test.start(Order(number=2))
    run.deny("deal", "no")

    assert other.state == "held"  # the outcome needs what was skipped
    with pytest.raises(RequestRefused, match="already_ended"):
        run.approve("deal")
    with pytest.raises(RequestRefused, match=r"not_requested.*skipped"):
        other.approve("deal")
    with pytest.raises(RequestRefused, match="unknown_approval"):
        other.approve("nothing")


def test_an_approval_that_nobody_decides_goes_to_the_next_and_then_expires() -> None:
    test = with_approval(due="4h", escalate=["team:leads", "user:boss"])
    run = test.start(Order())

    owners = []
    for _ in range(3):
        owners.append(run.waits[0].owner)
        test.advance("4h")

    assert owners == ["role:lead", "team:leads", "user:boss"]
    assert (run.exception.kind, run.exception.blocking) == ("approval_expired", False)
    assert (run.state, kinds(run)) == ("waiting", ["approval"])
    test.advance("30d")
    assert len(run.exceptions) == 1
    run.approve("deal")
    assert (run.state, run.exceptions) == ("succeeded", [])


# -- outside workers ---------------------------------------------------------------------------


def outside(**options: Any) -> WorkflowTest:
    wf = new_workflow()

    @wf.step(outside=True, timeout="10m", **options)
    def weigh(trigger: Order) -> Done:
        raise NotImplementedError

    return WorkflowTest(wf)


def test_an_outside_worker_reports_what_came_out() -> None:
    run = outside().start(Order())
    assert [(wait.kind, wait.about) for wait in run.waits] == [("worker", "weigh")]

    run.report("weigh", Done(number=3))

    assert run.outcome == Done(number=3)


def test_an_outside_worker_that_says_nothing_in_time_has_failed() -> None:
    test = outside()
    run = test.start(Order())
    assert run.waits[0].until == test.now + timedelta(minutes=10)

    test.advance("11m")
    (failed,) = [fact for fact in run.history if isinstance(fact, facts.StepFailed)]
    assert failed.error.type == "StepTimedOut"
    assert run.steps == ["weigh", "weigh"]
    with pytest.raises(RequestRefused, match="late_outcome"):
        run.report("weigh", Done(number=3), attempt=1)
    run.report("weigh", Done(number=4))

    assert run.outcome == Done(number=4)


def test_a_retry_that_a_person_asks_for_is_watched_too() -> None:
    test = outside(retry=Retry(initial="100s", backoff=1))
    run = test.start(Order())
    run.report("weigh", error="Broken")
    assert kinds(run) == ["retry"]

    run.retry()

    assert run.waits[0].kind == "worker"
    assert run.waits[0].until == test.now + timedelta(minutes=10)


def test_reports_that_fit_nothing_are_refused() -> None:
    wf = new_workflow()

    @wf.step
    def inside(trigger: Order) -> int:
        return 1

    @wf.step(outside=True)
    def weigh(inside: int) -> Done:
        raise NotImplementedError

    run = WorkflowTest(wf).start(Order())

    with pytest.raises(RequestRefused, match="unknown_step"):
        run.report("inside", 2)
    with pytest.raises(RequestRefused, match=r"invalid.*number"):
        run.report("weigh", {"number": "many"})
    with pytest.raises(RequestRefused, match="late_outcome"):
        run.report("weigh", {"number": 1}, attempt=2)
    assert run.state == "waiting"


def test_an_outside_error_is_retryable_by_its_name_only() -> None:
    run = outside(retry=Retry(non_retryable=["Broken"])).start(Order())

    run.report("weigh", error="Broken")

    assert run.state == "held"


# -- takeovers ---------------------------------------------------------------------------------


def test_a_try_that_its_worker_did_not_survive_is_done_again_and_counts_as_no_failure() -> None:
    test = WorkflowTest(finish(new_workflow(), retry=Retry(attempts=1)))
    done = test.given("finish", crash, crash, Done(number=1))

    run = test.start(Order())

    assert (run.state, len(done.called)) == ("succeeded", 3)
    assert [fact.why for fact in run.history if isinstance(fact, facts.StepStarted)] == [
        "ready", "taken_over", "taken_over",
    ]  # fmt: skip


def test_a_step_that_no_worker_survives_is_held_until_a_person_tries_it_again() -> None:
    test = WorkflowTest(finish(new_workflow(), retry=Retry(attempts=3)))
    done = test.given("finish", *[crash] * LOSSES_MAX, *[crash] * 2, Done(number=1))

    run = test.start(Order())

    assert (run.state, len(done.called)) == ("held", LOSSES_MAX)
    error = run.exception.said.error
    assert error is not None and (run.exception.kind, error.type) == ("step_failed", "StepLost")
    assert "5 workers in a row were gone before finish had ended" in run.exception.message
    run.exception.retry()

    # It is counted anew, and a few losses more are none too many.
    assert (run.state, len(done.called)) == ("succeeded", LOSSES_MAX + 3)


def test_losses_count_in_a_row_only() -> None:
    test = WorkflowTest(finish(new_workflow(), retry=Retry(attempts=3)))
    crashes = [crash] * (LOSSES_MAX - 1)
    test.given("finish", *crashes, RuntimeError("no"), *crashes, Done(number=1))

    run = test.start(Order())
    test.advance("1d")

    assert run.state == "succeeded"


def test_what_waits_goes_on_waiting_under_another_worker() -> None:
    test = with_message()
    run = test.start(Order())

    test.restart()
    test.advance("1h")
    test.restart()
    run.send("paid", {"amount": 5})

    assert run.outcome == Done(number=5)
    assert run.steps == ["book"]
