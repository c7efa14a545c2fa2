"""Tasks: work for a person that ends when its form is filled in; the rest is as of approvals."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from meshline.events import facts
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from tests.engine.core.test_task_answers import DIRECTORY
from tests.engine.core.workflows import Done, Order, new_workflow


class Measured(BaseModel):
    metres: int
    floor: str = "ground"


def asked(*, directory: bool = True, **options: Any) -> tuple[WorkflowTest, RunUnderTest]:
    """Return a run that wants something measured, and books what was."""
    wf = new_workflow()
    wf.task("measure", **({"by": "role:lead"} | options))(Measured)

    @wf.step
    def book(measure: Measured | None) -> Done:
        return Done(number=-1 if measure is None else measure.metres)

    test = WorkflowTest(wf)
    if directory:
        test.given_directory(DIRECTORY)
    return test, test.start(Order(), by="user:ada")


def book() -> Done:
    return Done(number=1)


def refused(run: RunUnderTest, code: str, words: str | None = None, **options: Any) -> None:
    with pytest.raises(RequestRefused, match=words) as error:
        run.complete("measure", **options)
    assert error.value.code == code


def test_a_task_waits_for_a_person_and_the_nodes_behind_read_what_they_filled_in() -> None:
    _, run = asked()
    [wait] = run.waits
    assert (run.state, wait.kind, wait.about, wait.owner) == (
        "waiting", "task", "measure", "role:lead",
    )  # fmt: skip

    run.complete("measure", Measured(metres=84), by="user:bob", reason="all rooms")

    [done] = [fact for fact in run.history if isinstance(fact, facts.TaskCompleted)]
    assert (done.by, done.form, done.reason) == (
        "user:bob", {"metres": 84, "floor": "ground"}, "all rooms",
    )  # fmt: skip
    assert (run.state, run.outcome) == ("succeeded", Done(number=84))


def test_what_is_asked_says_what_is_to_be_filled_in_and_by_whom_and_when() -> None:
    _, run = asked(due="2d", priority="high", follow_up="1d", escalate="queue:board")

    [created] = [fact for fact in run.history if isinstance(fact, facts.TaskCreated)]

    assert (created.task, created.by, created.priority) == ("measure", "role:lead", "high")
    assert created.escalate_to == "queue:board"
    assert created.due_at is not None and created.follow_up_at is not None
    assert (created.due_at - created.follow_up_at).days == 1
    assert created.form_schema is not None and created.form_schema["required"] == ["metres"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"metres": "many"}, "metres"),
        ({}, "metres"),
        (None, "metres"),
        ([1], "form does not fit"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_and_the_task_stays(form: Any, words: str) -> None:
    _, run = asked()

    refused(run, "invalid", words, form=form, by="user:bob")

    assert run.state == "waiting"


def test_only_who_was_asked_does_it_and_who_sent_the_trigger_may() -> None:
    _, run = asked()

    refused(
        run, "not_allowed", "may do it, and user:dot is none", form={"metres": 1}, by="user:dot"
    )
    run.complete("measure", {"metres": 1}, by="user:ada")

    assert run.state == "succeeded"


def test_it_is_claimed_and_delegated_as_approvals_are() -> None:
    _, run = asked()
    run.act("measure", "claim", by="user:bob")

    refused(run, "claimed", "only user:bob may do it", form={"metres": 1}, by="user:ada")
    run.act("measure", "delegate", by="user:bob", to="user:dot")
    run.complete("measure", {"metres": 7}, by="user:dot")

    [done] = [fact for fact in run.history if isinstance(fact, facts.TaskCompleted)]
    assert (done.by, done.on_behalf_of) == ("user:dot", "user:bob")


def test_a_task_is_not_approved_and_an_approval_is_not_completed() -> None:
    _, run = asked()
    with pytest.raises(RequestRefused, match="is a task: it is completed, not approved") as task:
        run.approve("measure", by="user:ada")
    wf = new_workflow()
    wf.approval("deal", by="role:lead")
    wf.step(after="deal")(book)
    other = WorkflowTest(wf).start(Order())
    with pytest.raises(RequestRefused, match="it is approved or denied") as approval:
        other.complete("deal")
    with pytest.raises(RequestRefused, match="has no task 'nothing'") as unknown:
        other.complete("nothing")

    codes = [task.value.code, approval.value.code, unknown.value.code]
    assert codes == ["is_task", "is_approval", "unknown_task"]


def test_what_nobody_does_in_time_goes_to_the_next_and_then_is_an_exception() -> None:
    test, run = asked(due="1h", escalate="queue:board", remind="10m")

    test.advance("61m")
    [moved] = [fact for fact in run.history if isinstance(fact, facts.TaskEscalated)]
    refusals = [fact.due_at for fact in run.history if isinstance(fact, facts.TaskReminded)]
    test.advance("61m")

    assert (moved.previous, moved.owner, len(refusals)) == ("role:lead", "queue:board", 1)
    assert (run.exception.kind, run.exception.blocking) == ("task_expired", False)
    assert "can still be completed" in run.exception.message
    run.complete("measure", {"metres": 3}, by="user:dot")
    assert (run.state, run.exceptions) == ("succeeded", [])


def test_where_the_run_goes_on_without_it_the_value_is_none() -> None:
    test, run = asked(due="1h", on_expiry="go on")

    test.advance("61m")

    assert (run.state, run.outcome) == ("succeeded", Done(number=-1))
    refused(run, "already_ended", form={"metres": 1}, by="user:bob")


def test_a_task_without_a_form_has_no_value_and_takes_none() -> None:
    wf = new_workflow()
    wf.task("keys", by="user:ada")
    wf.step(after="keys")(book)
    run = WorkflowTest(wf).start(Order())
    with pytest.raises(RequestRefused, match="has no form"):
        run.complete("keys", {"metres": 1}, by="user:ada")
    run.complete("keys", by="user:ada")

    assert run.state == "succeeded"


def test_a_keeper_that_takes_over_knows_what_is_to_be_done() -> None:
    test, run = asked(due="1h")
    run.act("measure", "claim", by="user:bob")

    test.restart()

    assert run.waits[0].kind == "task"
    run.complete("measure", {"metres": 5}, by="user:bob")
    assert run.outcome == Done(number=5)
