"""Who may decide: only who is asked, nobody about what they ask for, and each person once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from meshline.events import facts
from meshline.events.directory import Directory
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import Approval
from tests.engine.core.workflows import Done, Order, new_workflow

DIRECTORY = Directory.model_validate(
    {
        "users": {name: {} for name in ("ada", "bob", "cid", "dot", "eve")},
        "teams": {"sales": {"members": ["user:bob", "user:cid"]}},
        "roles": {"lead": {"members": ["user:ada", "team:sales"]}},
        "queues": {"board": {"members": ["user:dot"]}},
    }
)


class Terms(BaseModel):
    discount: int


def asked(
    *, directory: bool = True, form: bool = False, sent_by: str | None = "user:eve", **options: Any
) -> tuple[WorkflowTest, RunUnderTest]:
    wf = new_workflow()
    decorate = wf.approval("deal", **({"by": "role:lead"} | options))
    if form:
        decorate(Terms)

    @wf.step
    def book(deal: Approval | None) -> Done:
        return Done(number=-1 if deal is None else int(deal.approved))

    test = WorkflowTest(wf)
    if directory:
        test.given_directory(DIRECTORY)
    return test, test.start(Order(), by=sent_by)


def refused(run: RunUnderTest, code: str, words: str | None = None, **options: Any) -> None:
    with pytest.raises(RequestRefused, match=words) as error:
        run.approve("deal", **options)
    assert error.value.code == code


@pytest.mark.parametrize("by", ["user:ada", "user:bob"])
def test_who_has_the_role_may_decide_also_through_a_team(by: str) -> None:
    _, run = asked()

    run.approve("deal", by=by)

    assert run.state == "succeeded"


@pytest.mark.parametrize("by", ["user:dot", "user:nobody"])
def test_who_has_not_is_told_who_may(by: str) -> None:
    _, run = asked()

    refused(run, "not_allowed", r"only role:lead \(user:ada, user:bob, user:cid\) may", by=by)
    with pytest.raises(RequestRefused, match="not_allowed"):
        run.deny("deal", "no", by=by)

    assert run.state == "waiting"


def test_without_a_directory_a_role_may_be_anybody_and_a_user_is_one() -> None:
    _, run = asked(directory=False)
    run.approve("deal", by="user:nobody")
    assert run.state == "succeeded"

    _, run = asked(directory=False, by="user:ada")
    refused(run, "not_allowed", "only user:ada may decide", by="user:bob")


def test_a_directory_that_comes_later_counts_from_then_on() -> None:
    test, run = asked(directory=False)

    test.given_directory(DIRECTORY)

    refused(run, "not_allowed", by="user:dot")


# -- four eyes ---------------------------------------------------------------------------------


def test_who_sent_the_trigger_may_not_decide() -> None:
    _, run = asked(sent_by="user:ada")

    refused(run, "own_request", "user:ada asks for it, and another must decide", by="user:ada")
    run.approve("deal", by="user:bob")

    assert run.state == "succeeded"


def test_a_rule_says_who_asks_also_without_a_directory() -> None:
    for directory in (True, False):
        _, run = asked(directory=directory, requester=lambda trigger: "bob")
        refused(run, "own_request", by="user:bob")
        run.approve("deal", by="user:cid")


def test_four_eyes_can_be_waived() -> None:
    _, run = asked(sent_by="user:ada", four_eyes=False)

    run.approve("deal", by="user:ada")

    assert run.state == "succeeded"


def test_without_a_directory_who_sent_the_trigger_may_decide_as_before() -> None:
    _, run = asked(directory=False, sent_by="user:ada")

    run.approve("deal", by="user:ada")

    assert run.state == "succeeded"


def test_a_rule_that_names_nobody_who_can_be_holds_the_run() -> None:
    _, run = asked(requester=lambda trigger: "two words")

    assert (run.exception.kind, run.exception.about) == ("rule_failed", "deal")
    assert "'two words': expected a user" in run.exception.message


# -- several people ----------------------------------------------------------------------------


def test_two_of_three_must_approve_and_each_vote_is_a_fact() -> None:
    _, run = asked(of=2, form=True)

    run.approve("deal", {"discount": 1}, by="user:ada", reason="fine")
    assert run.state == "waiting"
    run.approve("deal", {"discount": 2}, by="user:bob")

    assert run.state == "succeeded"
    votes = [(f.by, f.votes, f.form) for f in run.history if isinstance(f, facts.ApprovalVoted)]
    assert votes == [("user:ada", 1, {"discount": 1}), ("user:bob", 2, {"discount": 2})]
    (approved,) = [f for f in run.history if isinstance(f, facts.ApprovalApproved)]
    assert (approved.by, approved.form) == ("user:bob", {"discount": 2})
    assert approved.voters == ("user:ada", "user:bob")


def test_one_person_has_one_vote() -> None:
    _, run = asked(of=2)
    run.approve("deal", by="user:ada")

    refused(run, "already_voted", "2 different people must", by="user:ada")

    assert run.state == "waiting"


def test_a_vote_with_a_form_that_does_not_fit_is_none() -> None:
    _, run = asked(of=2, form=True)

    refused(
        run, "invalid", "the form does not fit: discount", form={"discount": "x"}, by="user:ada"
    )
    run.approve("deal", {"discount": 1}, by="user:ada")

    assert run.state == "waiting"


def test_one_denial_denies() -> None:
    _, run = asked(of=3)
    run.approve("deal", by="user:ada")

    run.deny("deal", "too dear", by="user:bob")

    assert (run.state, run.reason) == ("cancelled", "deal was denied")


def test_votes_of_a_paused_run_count_when_it_goes_on() -> None:
    _, run = asked(of=2)
    run.approve("deal", by="user:ada")
    run.pause()

    run.approve("deal", by="user:bob")

    assert run.state == "paused"
    refused(run, "not_requested", "all 2 who must approve have done so", by="user:cid")
    run.resume()
    assert run.state == "succeeded"


def test_a_keeper_that_takes_over_knows_the_votes() -> None:
    test, run = asked(of=2)
    run.approve("deal", by="user:ada")

    test.restart()

    refused(run, "already_voted", by="user:ada")
    run.approve("deal", by="user:bob")
    assert run.state == "succeeded"
