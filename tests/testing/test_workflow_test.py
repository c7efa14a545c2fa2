"""The kit does what the engine does, without waiting."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.events import facts
from meshline.testing import START, ManualClock, RequestRefused, WorkflowTest, crash, raises
from meshline.workflow import FailRun, Retry, StepContext, Workflow


class Order(BaseModel):
    number: int = 1


class Done(BaseModel):
    number: int


def orders(name: str = "orders") -> Workflow:
    wf = Workflow(
        name, trigger=Order, source=f"shop.{name}", owner="team:orders",
        exceptions="queue:triage", outcome=Done,
    )  # fmt: skip

    @wf.step(retry=Retry(attempts=2))
    async def check(trigger: Order, ctx: StepContext) -> int:
        await asyncio.sleep(0)
        ctx.heartbeat()
        return trigger.number * 10 + ctx.attempt

    wf.approval("deal", by="role:lead", due="1d", escalate=["team:leads"])

    @wf.step(after="deal")
    def book(check: int, idempotency_key: str) -> Done:
        return Done(number=check)

    return wf


def test_real_steps_run_coroutines_and_functions() -> None:
    run = WorkflowTest(orders()).start(Order(number=4))

    run.approve("deal")

    assert run.outcome == Done(number=41)


async def test_it_works_inside_of_an_event_loop_too() -> None:
    run = WorkflowTest(orders()).start(Order(number=4))

    run.approve("deal")

    assert run.outcome == Done(number=41)


def test_two_days_pass_in_no_time() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())
    began = time.perf_counter()

    test.advance("2d")

    assert time.perf_counter() - began < 0.5
    assert test.now == START + timedelta(days=2)
    assert run.exception.kind == "approval_expired"


def test_what_is_due_happens_when_it_is_due() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    test.advance("30h")

    (escalated,) = [e for e in test.facts(run.id) if isinstance(e.data, facts.ApprovalEscalated)]
    assert escalated.time == START + timedelta(days=1)
    assert isinstance(test.clock, ManualClock)


def test_advancing_to_the_end_stops_where_only_people_can_go_on() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    test.advance_to_end()

    assert (test.now, run.state) == (START + timedelta(days=2), "waiting")


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (OSError("full"), "OSError"),
        (OSError, "OSError"),
        (raises("full"), "RuntimeError"),
        (raises(KeyError), "KeyError"),
    ],
)
def test_a_given_error_is_raised(outcome: Any, kind: str) -> None:
    test = WorkflowTest(orders())
    test.given("check", outcome)

    run = test.start(Order())
    test.advance("1h")

    assert run.exception.said.error is not None
    assert run.exception.said.error.type == kind


def test_a_given_result_must_be_what_the_step_returns() -> None:
    test = WorkflowTest(orders())
    test.given("check", "many")

    run = test.start(Order())
    test.advance("1h")

    assert run.exception.said.error is not None
    assert run.exception.said.error.type == "ResultInvalid"


def test_outcomes_are_for_one_try_each_and_the_last_for_all_further_ones() -> None:
    test = WorkflowTest(orders())
    check = test.given("check", OSError("full"), 7)

    first, second = test.start(Order()), test.start(Order())
    test.advance("10m")

    assert len(check.called) == 3
    for run in (first, second):
        run.approve("deal")
        assert run.outcome == Done(number=7)


def test_a_function_stands_in_with_the_arguments_that_it_asks_for() -> None:
    test = WorkflowTest(orders())
    test.given("check", lambda trigger: trigger.number + 100)

    run = test.start(Order(number=5))
    run.approve("deal")

    assert run.outcome == Done(number=105)


def test_a_crash_lets_another_worker_take_over() -> None:
    test = WorkflowTest(orders())
    test.given("check", crash, 7)

    run = test.start(Order())

    assert run.steps == ["check", "check"]
    assert run.waits[0].kind == "approval"


def test_a_step_that_fails_the_run_does() -> None:
    test = WorkflowTest(orders())
    test.given("check", FailRun("gone"))

    run = test.start(Order())

    assert (run.state, run.reason, run.outcome) == ("failed", "gone", None)


def test_a_step_that_does_not_exist_is_a_mistake_in_the_test() -> None:
    with pytest.raises(ValueError, match=r"no step 'chekc'.*book, check, deal"):
        WorkflowTest(orders()).given("chekc", 1)


def test_several_workflows_are_told_apart() -> None:
    test = WorkflowTest(orders("one"), orders("two"))

    with pytest.raises(ValueError, match=r"2 workflows.*one, two"):
        test.start(Order())
    with pytest.raises(ValueError, match="no workflow 'three'"):
        test.start(Order(), workflow="three")

    assert test.start(Order(), workflow="two").spec.name == "two"


def test_refusals_are_raised_with_code_and_reason() -> None:
    run = WorkflowTest(orders()).start(Order())

    with pytest.raises(RequestRefused) as refused:
        run.resume()

    assert refused.value.code == "not_paused"
    assert "not paused" in refused.value.reason


def test_another_worker_believes_the_same() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())
    before = test.state.runs[run.id].copy()

    test.restart()

    assert test.state.runs[run.id] == before


def test_the_story_has_a_line_for_each_fact() -> None:
    run = WorkflowTest(orders()).start(Order())
    run.deny("deal", "too dear", by="user:ada")

    lines = run.story().splitlines()

    assert len(lines) == len(run.history)
    assert lines[-2].endswith("deal was denied, because: too dear (by user:ada)")


def test_a_run_that_is_open_has_no_problems() -> None:
    run = WorkflowTest(orders()).start(Order())

    assert run.problems == []
    assert not run.has_ended
    assert "waiting" in repr(run)
