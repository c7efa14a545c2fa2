"""What a step raises on purpose: a person decides, on the route that the step names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshline.engine.snapshots import dump_state, load_state
from meshline.events import facts
from meshline.events.requests import BUSINESS_DATA_BYTES_MAX, BusinessCase, StepError
from meshline.testing import RunUnderTest, WorkflowTest
from meshline.workflow import BusinessException, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow


class OverLimit(BusinessException):
    def __init__(self, asked: int) -> None:
        super().__init__(
            "credit_limit", f"{asked} is above the limit", severity="high",
            route="queue:credit", owner="user:ada", data={"asked": asked},
        )  # fmt: skip


def orders() -> Workflow:
    wf = new_workflow()

    @wf.step(retry=Retry(attempts=5))
    def approve(trigger: Order) -> int:
        raise OverLimit(trigger.number)

    @wf.step
    def ship(approve: int) -> Done:
        return Done(number=approve)

    return wf


def opened(run: RunUnderTest) -> facts.ExceptionOpened:
    said = [fact for fact in run.history if isinstance(fact, facts.ExceptionOpened)]
    return said[-1]


def test_it_holds_the_run_at_once_on_the_route_and_for_the_owner_that_the_step_names() -> None:
    run = WorkflowTest(orders()).start(Order(number=9))

    assert (run.state, run.steps, run.problems) == ("held", ["approve"], [])
    said = opened(run)
    assert (said.kind, said.about, said.severity, said.blocking) == (
        "business", "approve", "high", True,
    )  # fmt: skip
    assert (said.route, said.owner, said.message) == (
        "queue:credit", "user:ada", "9 is above the limit",
    )  # fmt: skip
    assert said.error is not None and said.error.business == BusinessCase(
        code="credit_limit", severity="high", route="queue:credit", owner="user:ada",
        data={"asked": 9},
    )  # fmt: skip
    assert not any(isinstance(fact, facts.StepRetryScheduled) for fact in run.history)
    assert [(wait.kind, wait.owner) for wait in run.waits] == [("exception", "user:ada")]


def test_without_a_route_it_goes_where_the_exceptions_of_the_workflow_go() -> None:
    test = WorkflowTest(orders())
    test.given("approve", BusinessException("no_stock"))

    run = test.start(Order())

    said = opened(run)
    assert (said.route, said.owner, said.message) == ("queue:triage", "queue:triage", "no_stock")


def test_a_person_goes_on_with_a_value_or_has_it_tried_again() -> None:
    test = WorkflowTest(orders())
    test.given("approve", BusinessException("no_stock"), BusinessException("no_stock"), 7)
    skipped = test.start(Order())

    skipped.exception.skip(3)
    assert skipped.outcome == Done(number=3)

    test.given("approve", BusinessException("no_stock"), BusinessException("no_stock"), 7)
    retried = test.start(Order())
    retried.exception.retry()
    assert (retried.state, opened(retried).kind) == ("held", "business")
    retried.exception.retry()

    assert retried.outcome == Done(number=7)


def test_the_code_is_the_cause_whatever_the_words() -> None:
    test = WorkflowTest(orders())
    test.given("approve", OverLimit(7), BusinessException("credit_limit", "a word"))
    one, other = test.start(Order()), test.start(Order())
    one.exception.retry()
    test.given("approve", BusinessException("no_stock"))
    third = test.start(Order())

    assert opened(one).cause == opened(other).cause != opened(third).cause


def outside() -> Workflow:
    wf = new_workflow()

    @wf.step(outside=True, retry=Retry(attempts=5))
    def weigh(trigger: Order) -> Done:
        raise NotImplementedError

    return wf


def test_an_outside_worker_says_it_with_its_error() -> None:
    run = WorkflowTest(outside()).start(Order())
    case = BusinessCase(code="too_heavy", route="queue:freight", data={"kg": 900})

    run.report("weigh", error=StepError(type="TooHeavy", message="900 kg", business=case))

    said = opened(run)
    assert (run.state, said.kind, said.route, said.message) == (
        "held", "business", "queue:freight", "900 kg",
    )  # fmt: skip
    run.exception.skip({"number": 1})
    assert run.outcome == Done(number=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "credit limit"},
        {"code": ""},
        {"code": "c", "route": "credit"},
        {"code": "c", "owner": "ada"},
        {"code": "c", "severity": "huge"},
        {"code": "c", "data": "x" * BUSINESS_DATA_BYTES_MAX},
    ],
)
def test_what_an_outside_worker_says_wrongly_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StepError.model_validate({"type": "E", "message": "", "business": wrong})


def test_a_snapshot_keeps_it() -> None:
    test = WorkflowTest(orders())
    test.start(Order(number=9))

    loaded = load_state(iter([*dump_state(test.state)]))

    assert loaded.runs == test.state.runs
