"""Who has a question: claimed, released, assigned, delegated; and what is said of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from meshline.events import facts
from meshline.testing import RequestRefused, RunUnderTest
from tests.engine.core.test_task_answers import DIRECTORY, asked

WITH_ADMIN = DIRECTORY.model_copy(
    update={
        "roles": {
            **DIRECTORY.roles,
            "admin": DIRECTORY.roles["lead"].model_copy(update={"members": ("user:dot",)}),
        }
    }
)


def refused(
    run: RunUnderTest, action: Any, code: str, words: str | None = None, **options: Any
) -> None:
    with pytest.raises(RequestRefused, match=words) as error:
        run.act("deal", action, **options)
    assert error.value.code == code


def decided(run: RunUnderTest) -> facts.ApprovalApproved:
    (approved,) = [fact for fact in run.history if isinstance(fact, facts.ApprovalApproved)]
    return approved


# -- claim and release -------------------------------------------------------------------------


def test_what_is_claimed_nobody_else_decides_until_it_is_released() -> None:
    _, run = asked()
    run.act("deal", "claim", by="user:ada")

    refused(run, "claim", "claimed", "user:ada has it already", by="user:bob")
    with pytest.raises(RequestRefused, match="user:ada has it: only user:ada may decide"):
        run.approve("deal", by="user:bob")
    run.act("deal", "release", by="user:ada", reason="lunch")
    run.approve("deal", by="user:bob")

    assert run.state == "succeeded"


def test_only_who_may_decide_can_claim() -> None:
    _, run = asked(sent_by="user:ada")

    refused(run, "claim", "not_allowed", "user:dot is none of them", by="user:dot")
    refused(run, "claim", "own_request", by="user:ada")


def test_only_who_has_it_or_an_admin_gives_it_back() -> None:
    test, run = asked()
    test.given_directory(WITH_ADMIN)
    refused(run, "release", "not_claimed", by="user:ada")
    run.act("deal", "claim", by="user:ada")

    refused(run, "release", "claimed", "only they or role:admin", by="user:bob")
    run.act("deal", "release", by="user:dot")

    run.act("deal", "claim", by="user:bob")


def test_what_somebody_has_who_left_any_of_the_others_gives_back() -> None:
    test, run = asked()
    run.act("deal", "claim", by="user:ada")
    users = {name: user for name, user in WITH_ADMIN.users.items() if name != "ada"}
    lead = WITH_ADMIN.roles["lead"].model_copy(update={"members": ("team:sales",)})
    without = {"users": users, "roles": {**WITH_ADMIN.roles, "lead": lead}}
    test.given_directory(WITH_ADMIN.model_copy(update=without))

    refused(run, "release", "claimed", by="user:eve")
    run.act("deal", "release", by="user:bob")
    run.approve("deal", by="user:cid")

    assert run.state == "succeeded"


def test_what_goes_to_the_next_is_nobodys() -> None:
    test, run = asked(due="1h", escalate="queue:board")
    run.act("deal", "claim", by="user:ada")

    test.advance("61m")

    run.approve("deal", by="user:dot")
    assert run.state == "succeeded"


def test_where_several_decide_nobody_has_it_alone() -> None:
    _, run = asked(of=2)

    refused(run, "claim", "several_decide", "2 different people must", by="user:ada")
    refused(run, "assign", "several_decide", by="user:ada", to="user:bob")


def test_a_keeper_that_takes_over_knows_who_has_it() -> None:
    test, run = asked()
    run.act("deal", "claim", by="user:ada")

    test.restart()

    refused(run, "claim", "claimed", by="user:bob")


# -- assign ------------------------------------------------------------------------------------


def test_an_admin_gives_it_to_one_of_those_who_may() -> None:
    test, run = asked()
    test.given_directory(WITH_ADMIN)
    run.act("deal", "claim", by="user:ada")

    refused(run, "assign", "not_allowed", "only role:admin", by="user:ada", to="user:bob")
    refused(run, "assign", "not_a_candidate", "user:eve asks for it", by="user:dot", to="user:eve")
    refused(run, "assign", "not_a_candidate", "user:dot may not", by="user:dot", to="user:dot")
    refused(run, "assign", "not_a_candidate", "not in the", by="user:dot", to="user:x")
    refused(run, "assign", "not_a_candidate", "a user such as", by="user:dot", to="team:sales")
    run.act("deal", "assign", by="user:dot", to="user:bob", reason="he knows them")

    (assigned,) = [fact for fact in run.history if isinstance(fact, facts.TaskAssigned)]
    assert (assigned.assignee, assigned.previous) == ("user:bob", "user:ada")
    with pytest.raises(RequestRefused, match="claimed"):
        run.approve("deal", by="user:ada")
    run.approve("deal", by="user:bob")


def test_without_a_directory_who_sent_the_trigger_can_have_it() -> None:
    _, run = asked(directory=False)

    run.act("deal", "assign", by="user:ada", to="user:eve").approve("deal", by="user:eve")

    assert run.state == "succeeded"


# -- delegate ----------------------------------------------------------------------------------


def test_a_delegate_decides_in_the_place_of_who_has_it_and_both_are_kept() -> None:
    _, run = asked()
    refused(run, "delegate", "not_claimed", by="user:ada", to="user:dot")
    run.act("deal", "claim", by="user:ada")

    refused(run, "delegate", "claimed", "only they may let", by="user:bob", to="user:dot")
    refused(run, "delegate", "not_a_candidate", "asks for it", by="user:ada", to="user:eve")
    refused(run, "delegate", "not_a_candidate", "user:ada has it", by="user:ada", to="user:ada")
    run.act("deal", "delegate", by="user:ada", to="user:dot")
    run.approve("deal", by="user:dot")

    assert (decided(run).by, decided(run).on_behalf_of) == ("user:dot", "user:ada")


def test_who_delegated_it_may_still_decide_and_a_release_ends_it() -> None:
    _, run = asked()
    run.act("deal", "claim", by="user:ada").act("deal", "delegate", by="user:ada", to="user:dot")
    run.act("deal", "release", by="user:ada").act("deal", "claim", by="user:ada")

    with pytest.raises(RequestRefused, match="claimed"):
        run.approve("deal", by="user:dot")
    run.approve("deal", by="user:ada")

    assert (decided(run).by, decided(run).on_behalf_of) == ("user:ada", None)


# -- comments ----------------------------------------------------------------------------------


def test_a_comment_has_words_and_is_of_somebody_who_is_known() -> None:
    _, run = asked()

    refused(run, "comment", "reason_missing", by="user:dot")
    refused(run, "comment", "not_allowed", "not in the directory", by="user:x", reason="well")
    run.act("deal", "comment", by="user:dot", reason="their answer is late")

    assert "user:dot says of deal: their answer is late" in run.story()


@pytest.mark.parametrize("action", ["claim", "release", "assign", "delegate", "comment"])
def test_what_is_decided_is_nobodys_to_take(action: str) -> None:
    _, run = asked(denied="continue", due="1h")
    run.deny("deal", "no", by="user:ada")

    refused(run, action, "already_ended", by="user:ada", to="user:bob", reason="well")


# -- when --------------------------------------------------------------------------------------


def test_the_question_says_how_urgent_it_is_and_when_to_look_after_it() -> None:
    test, run = asked(priority="high", follow_up="2h")

    (said,) = [fact for fact in run.history if isinstance(fact, facts.ApprovalRequested)]
    assert (said.priority, said.follow_up_at) == ("high", test.now + timedelta(hours=2))
