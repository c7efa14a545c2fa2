"""Owners who are gone: seen once for each run, until what was theirs is another's."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.events import facts
from meshline.events.directory import Directory
from meshline.events.people_requests import HandoverRequested
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import (
    Activity,
    Approval,
    Observation,
    ObservedWorkflow,
    Retry,
    Workflow,
)
from tests.engine.core.workflows import Done, Order, new_workflow


def directory(*users: str, **groups: Any) -> Directory:
    content: dict[str, Any] = {"users": {user: {} for user in users}}
    content["queues"] = {"triage": {"members": [f"user:{users[0]}"]}}
    content["roles"] = {"admin": {"members": [f"user:{users[0]}"]}}
    return Directory.model_validate(content | groups)


def deals(**options: Any) -> Workflow:
    wf = new_workflow(owner="user:ada", **options)
    wf.approval("deal", by="user:ada", four_eyes=False)

    @wf.step
    def book(deal: Approval) -> Done:
        return Done(number=1)

    return wf


def waiting(workflow: Workflow | None = None) -> tuple[WorkflowTest, RunUnderTest]:
    test = WorkflowTest(workflow or deals())
    test.given_directory(directory("eve", "ada", "bob"), by="user:eve")
    return test, test.start(Order())


def left(test: WorkflowTest, *users: str, **groups: Any) -> None:
    test.given_directory(directory("eve", *users, **groups), by="user:eve")


def gone(run: RunUnderTest) -> list[str]:
    assert run.problems == []
    return [each.about for each in run.exceptions if each.kind == "owner_gone"]


def hand_over(run: RunUnderTest, kind: Any, about: str = "", **changed: str) -> RunUnderTest:
    asked = {"previous": "user:ada", "owner": "user:bob", "reason": "she left"} | changed
    by = asked.pop("by", "user:eve")
    return run.ask(HandoverRequested(kind=kind, about=about, **asked), by=by)


def refused(run: RunUnderTest, code: str, *args: Any, **changed: str) -> None:
    with pytest.raises(RequestRefused) as error:
        hand_over(run, *args, **changed)
    assert error.value.code == code


def test_who_leaves_is_seen_once_in_each_open_run_that_is_theirs_on_its_route() -> None:
    test, run = waiting()
    other = test.start(Order())
    assert gone(run) == []

    left(test, "bob")
    left(test, "bob", teams={"x": {"members": ["user:bob"]}})

    assert (gone(run), gone(other)) == (["user:ada"], ["user:ada"])
    opened = [fact for fact in run.history if isinstance(fact, facts.ExceptionOpened)]
    assert [(fact.owner, fact.severity, fact.blocking) for fact in opened] == [
        ("queue:triage", "high", False)
    ]
    assert run.state == "waiting"


def test_it_closes_by_itself_when_nothing_is_theirs_any_more_and_the_heir_decides() -> None:
    test, run = waiting()
    left(test, "bob")

    hand_over(run, "run")
    assert gone(run) == ["user:ada"]
    hand_over(run, "approval", "deal")

    assert (gone(run), run.owner) == ([], "user:bob")
    assert [wait.owner for wait in run.waits] == ["user:bob"]
    run.approve("deal", by="user:bob")
    assert run.state == "succeeded"


def test_who_comes_back_has_it_again() -> None:
    test, run = waiting()
    left(test, "bob")

    left(test, "bob", "ada")

    assert gone(run) == []
    run.approve("deal", by="user:ada")


def test_a_run_that_begins_for_somebody_who_is_gone_says_so() -> None:
    test, _ = waiting()
    left(test, "bob")

    assert gone(test.start(Order())) == ["user:ada"]


def observed() -> tuple[WorkflowTest, RunUnderTest]:
    wf = ObservedWorkflow(
        "tickets", trigger=Order, source="desk", owner="user:bob", exceptions="queue:triage",
        outcome="it works again",
    )  # fmt: skip

    @wf.observe
    def observe(activity: Activity, memo: Any) -> Observation:
        if activity.name == "closed":
            return Observation(ended="succeeded")
        return Observation(assignee=None if activity.name == "nobody" else activity.name)

    test = WorkflowTest(wf)
    test.given_directory(directory("eve", "ada", "bob"), by="user:eve")
    return test, test.start(Order())


def works_on(test: WorkflowTest, run: RunUnderTest) -> str | None:
    return test.state.runs[run.id].assignee


def test_who_works_on_an_observed_run_and_left_is_seen_until_another_does() -> None:
    test, run = observed()
    run.observe("user:ada")
    assert gone(run) == []

    left(test, "bob")
    assert gone(run) == ["user:ada"]
    hand_over(run, "run", owner="user:eve")

    assert (gone(run), run.owner, works_on(test, run)) == ([], "user:bob", "user:eve")
    # The system that it comes from may say again that it is hers.
    run.observe("user:ada")
    assert gone(run) == ["user:ada"]
    run.observe("nobody")
    assert gone(run) == []
    run.observe("user:ada")
    run.observe("closed")
    assert (gone(run), run.state) == ([], "succeeded")


def test_who_owns_an_observed_run_and_works_on_it_gives_both_and_to_a_queue_the_one() -> None:
    test, run = observed()
    run.observe("user:bob")
    left(test, "ada")
    assert gone(run) == ["user:bob"], "once"

    hand_over(run, "run", previous="user:bob", owner="user:ada")
    assert (gone(run), run.owner, works_on(test, run)) == ([], "user:ada", "user:ada")
    hand_over(run, "run", owner="queue:triage")

    assert (run.owner, works_on(test, run)) == ("queue:triage", None)
    refused(run, "not_theirs", "run", previous="user:ada", owner="user:eve")


def test_the_end_of_the_run_is_the_end_of_it() -> None:
    test, run = waiting()
    left(test, "bob")

    run.cancel()

    assert (run.state, run.exceptions, run.problems) == ("cancelled", [], [])


def test_an_exception_is_handed_over_by_itself() -> None:
    wf = new_workflow()

    @wf.step(retry=Retry(attempts=1))
    def work(trigger: Order) -> Done:
        raise OSError("broken")

    test, run = waiting(wf)
    run.exception.assign("user:ada")
    failed = run.exceptions[0]
    left(test, "bob")
    assert gone(run) == ["user:ada"]

    hand_over(run, "exception", failed.id)

    assert gone(run) == []
    assert [wait.owner for wait in run.waits] == ["user:bob"]


def test_where_the_route_is_gone_too_an_admin_sees_both() -> None:
    wf = new_workflow(owner="user:ada")

    @wf.step(outside=True)
    def work(trigger: Order) -> Done:
        raise NotImplementedError

    test, run = waiting(wf)
    left(test, "bob", queues={})

    assert gone(run) == ["user:ada"]
    opened = [fact for fact in run.history if isinstance(fact, facts.ExceptionOpened)]
    assert [(fact.route, fact.owner) for fact in opened] == [("queue:triage", "role:admin")]


def test_who_claimed_it_and_left_is_followed_by_whom_it_is_given_to() -> None:
    wf = new_workflow()
    wf.approval("deal", by="role:lead", four_eyes=False)

    @wf.step
    def book(deal: Approval) -> Done:
        return Done(number=1)

    admins = {"admin": {"members": ["user:eve"]}}
    test = WorkflowTest(wf)
    roles = {**admins, "lead": {"members": ["user:ada"]}}
    test.given_directory(directory("eve", "ada", "bob", roles=roles), by="user:eve")
    run = test.start(Order())
    run.act("deal", "claim", by="user:ada")
    left(test, "bob", roles={**admins, "lead": {"members": ["user:eve"]}})
    assert gone(run) == ["user:ada"]

    hand_over(run, "approval", "deal")

    assert gone(run) == []
    with pytest.raises(RequestRefused, match="user:bob has it"):
        run.approve("deal", by="user:eve")
    run.approve("deal", by="user:bob")


def test_only_an_admin_or_who_has_it_hands_over_and_only_what_is_theirs() -> None:
    _, run = waiting()

    refused(run, "not_allowed", "run", by="user:bob")
    refused(run, "not_theirs", "run", previous="user:bob", owner="user:eve")
    refused(run, "not_theirs", "approval", "deal", previous="user:bob", owner="user:eve")
    refused(run, "not_a_principal", "run", owner="user:nobody")
    refused(run, "not_a_principal", "run", owner="nobody")
    refused(run, "unchanged", "run", owner="user:ada")
    refused(run, "not_requested", "approval", "book")
    refused(run, "unknown_exception", "exception", "ex-none")
    hand_over(run, "run", by="user:ada")
    assert run.owner == "user:bob"


def test_who_asks_for_an_approval_does_not_inherit_it() -> None:
    wf = new_workflow()
    wf.approval("deal", by="user:ada")

    @wf.step
    def book(deal: Approval) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    test.given_directory(directory("eve", "ada", "bob"), by="user:eve")
    run = test.start(Order(), by="user:bob")

    refused(run, "own_request", "approval", "deal")


def test_it_is_not_resolved_by_hand() -> None:
    test, run = waiting()
    left(test, "bob")

    with pytest.raises(RequestRefused, match="hand it over") as error:
        run.exception.resolve()
    assert error.value.code == "still_theirs"
