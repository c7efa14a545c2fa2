"""Closing exceptions that hold nothing: resolved, dismissed, and opened again."""

from __future__ import annotations

import pytest

from meshline.engine.snapshots import dump_state, load_state
from meshline.events import facts
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.testing.run_under_test import ExceptionUnderTest
from meshline.workflow import Retry
from tests.engine.core.workflows import Done, Order, new_workflow


def late() -> tuple[WorkflowTest, RunUnderTest, ExceptionUnderTest]:
    """A run that is overdue, and waits on."""
    wf = new_workflow(due="1h")
    wf.message("paid")

    @wf.step(after="paid")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    test.advance("2h")
    return test, run, run.exception


def code_of(error: pytest.ExceptionInfo[RequestRefused]) -> str:
    return error.value.code


def test_what_is_dismissed_is_closed_by_a_fact_of_its_own_and_the_run_waits_on() -> None:
    test, run, overdue = late()

    overdue.dismiss("they always pay late")

    assert (run.exceptions, run.state, run.problems) == ([], "waiting", [])
    said = run.history[-1]
    assert isinstance(said, facts.ExceptionDismissed)
    assert said.reason == "they always pay late"
    test.advance("1d")
    assert run.exceptions == []


def test_a_dismissal_needs_a_reason() -> None:
    _, _, overdue = late()

    with pytest.raises(RequestRefused) as error:
        overdue.dismiss(" ")
    assert code_of(error) == "reason_missing"


def test_what_holds_a_step_is_not_dismissed_and_says_what_to_do() -> None:
    wf = new_workflow()

    @wf.step(retry=Retry(attempts=1))
    def work(trigger: Order) -> Done:
        raise OSError("broken")

    run = WorkflowTest(wf).start(Order())

    with pytest.raises(RequestRefused, match="retry it, skip it or cancel the run") as error:
        run.exception.dismiss("who cares")
    assert code_of(error) == "blocking"


@pytest.mark.parametrize("how", ["dismissed", "resolved"])
def test_what_a_person_closed_is_opened_again_for_whose_it_was(how: str) -> None:
    _, run, overdue = late()
    overdue.assign("user:ada")
    overdue.acknowledge()
    if how == "dismissed":
        overdue.dismiss("no problem")
    else:
        overdue.resolve()

    overdue.reopen("it is one after all")

    (again,) = run.exceptions
    assert (again.id, again.owner, again.acknowledged) == (overdue.id, "user:ada", False)
    assert run.problems == []
    again.dismiss("no, it is not")
    assert run.exceptions == []


def test_only_what_a_person_closed_is_opened_again() -> None:
    wf = new_workflow()

    @wf.step(retry=Retry(attempts=1))
    def work(trigger: Order) -> Done:
        raise OSError("broken")

    run = WorkflowTest(wf).start(Order())
    retried = run.exception
    with pytest.raises(RequestRefused) as error:
        retried.reopen()
    assert code_of(error) == "already_open"
    retried.retry()

    with pytest.raises(RequestRefused, match="opens another if it fails again") as error:
        retried.reopen()
    assert code_of(error) == "not_closed"


def test_after_the_end_of_the_run_nothing_is_opened_again() -> None:
    _, run, overdue = late()
    overdue.dismiss("no problem")
    run.send("paid")
    assert run.state == "succeeded"

    with pytest.raises(RequestRefused) as error:
        overdue.reopen()
    assert code_of(error) == "already_ended"


def test_a_snapshot_keeps_what_can_be_opened_again() -> None:
    test, run, overdue = late()
    overdue.dismiss("no problem")

    loaded = load_state(iter([*dump_state(test.state)]))

    assert loaded.runs == test.state.runs
    assert [*(loaded.runs[run.id].closed or {})] == [overdue.id]
