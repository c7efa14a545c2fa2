"""The checker of what must hold finds each way in which it may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from meshline.engine.core.invariants import problems_of
from meshline.engine.core.state import OpenException, PartitionState, RunState, WaitTuple
from meshline.events.codec import decode
from meshline.events.requests import CancelRequested
from meshline.testing import RunUnderTest, WorkflowTest
from meshline.workflow import Registry, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow


def workflow() -> Workflow:
    wf = new_workflow(due="30d")
    wf.sleep("nap", "2d")
    wf.approval("deal", by="role:lead")

    @wf.step(retry=Retry(attempts=1))
    def fragile(trigger: Order) -> int:
        raise OSError("broken")

    @wf.step(after=["nap", "deal"])
    def work(fragile: int) -> Done:
        return Done(number=1)

    return wf


def waiting() -> tuple[WorkflowTest, RunUnderTest]:
    """Return a run that sleeps, waits for a person, and has a step that is held."""
    test = WorkflowTest(workflow())
    run = test.start(Order())
    assert (run.state, run.problems) == ("waiting", [])
    return test, run


def forget_waits(run: RunState) -> None:
    run.waits = ()


def forget_owner(run: RunState) -> None:
    run.owner = "somebody"


def forget_route(run: RunState) -> None:
    run.route = ""


def forget_exception(run: RunState) -> None:
    run.exceptions = None


def disown_exception(run: RunState) -> None:
    run.exceptions = {
        key: replace(opened, owner="") for key, opened in (run.exceptions or {}).items()
    }


def forget_node(run: RunState) -> None:
    del run.nodes["nap"]


def sleep_without_end(run: RunState) -> None:
    run.nodes["nap"] = run.nodes["nap"]._replace(at=None)
    run.waits = tuple(w._replace(until=None) if w.kind == "timer" else w for w in run.waits)


def be_running(run: RunState) -> None:
    run.status = "running"


def be_held(run: RunState) -> None:
    run.status = "held"


def be_paused_for_nothing(run: RunState) -> None:
    run.status = "paused"
    run.waits = ()


def never_begin(run: RunState) -> None:
    run.status = "accepted"


def end_half_way(run: RunState) -> None:
    run.status = "failed"


def fail_too_often(run: RunState) -> None:
    run.nodes["fragile"] = run.nodes["fragile"]._replace(failures=9)


def know_a_stranger(run: RunState) -> None:
    run.nodes["stranger"] = run.nodes["nap"]


def leave_a_failure(run: RunState) -> None:
    run.nodes["fragile"] = run.nodes["fragile"]._replace(status="failed")
    run.exceptions = None


def hold_without_exception(run: RunState) -> None:
    run.nodes["deal"] = run.nodes["deal"]._replace(status="held")


def invent_exception(run: RunState) -> None:
    run.exceptions = (run.exceptions or {}) | {
        "ex": OpenException("step_failed", "nap", "queue:triage", True, run.nodes["nap"].since)
    }


def wait_for_nobody(run: RunState) -> None:
    run.nodes["deal"] = run.nodes["deal"]._replace(owner="nobody")
    run.waits = tuple(w._replace(owner="nobody") if w.kind == "approval" else w for w in run.waits)


@pytest.mark.parametrize(
    "harm",
    [
        forget_waits, forget_owner, forget_route, forget_exception, disown_exception, forget_node,
        sleep_without_end, be_running, be_held, be_paused_for_nothing, never_begin, end_half_way,
        fail_too_often, know_a_stranger, leave_a_failure, hold_without_exception, invent_exception,
        wait_for_nobody,
    ],
)  # fmt: skip
def test_each_harm_is_found(harm: Callable[[RunState], None]) -> None:
    test, run = waiting()

    harm(test.state.runs[run.id])

    assert run.problems != []
    assert run.id in run.problems[0]


def test_a_time_that_has_come_and_nobody_saw_is_found() -> None:
    test, run = waiting()
    later = test.now + timedelta(days=2, seconds=30)

    assert problems_of(test.state, test.registry, later)
    assert problems_of(test.state, test.registry, later, patience_s=60) == []
    assert run.problems == []


def test_a_run_without_a_worker_that_nobody_sees_is_found() -> None:
    test, _ = waiting()

    (first, *_) = problems_of(test.state, Registry(), test.now)

    assert "ExceptionOpened" in first


def test_a_request_without_an_answer_is_found() -> None:
    test, run = waiting()
    run.cancel()
    (asked,) = [r for r in test.records if b"cancel.requested" in r.value]
    state = PartitionState(0)
    state.pending["0:1"] = decode(asked.value)

    (problem,) = problems_of(state, test.registry, test.now)

    assert CancelRequested.__name__ in problem
    assert problems_of(state, test.registry, test.now, patience_s=1) == []


def test_what_is_said_of_waits_must_be_so() -> None:
    test, run = waiting()
    state = test.state.runs[run.id]

    state.waits = (*state.waits, WaitTuple("timer", "x", test.now, test.now, "team:a"))

    assert any("says that it waits" in problem for problem in run.problems)
