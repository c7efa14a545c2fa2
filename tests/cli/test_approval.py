"""Approvals: which one is meant, and what is said."""

from __future__ import annotations

import pytest

from meshline.cli.approval import approve, deny, list_approvals
from meshline.cli.errors import CommandRefused
from meshline.cli.task import assign, claim, comment, delegate, release
from meshline.events.codec import decode
from meshline.events.people_requests import TaskActionRequested
from meshline.events.requests import ApprovalSubmitted
from tests.cli import rows
from tests.cli.doubles import FakeViews, TestedCall, memory_log
from tests.events.publish.doubles import everything


async def call_with(*approvals: str) -> TestedCall:
    asked = [rows.approval(task=name) for name in approvals]
    views = FakeViews({"runs": [rows.run()], "approvals": asked, "tasks": asked})
    return TestedCall(log=await memory_log(), views=views, wait_s=None)


async def submitted(call: TestedCall) -> ApprovalSubmitted:
    assert call._log is not None
    [record] = await everything(call._log)
    data = decode(record.value).data
    assert isinstance(data, ApprovalSubmitted)
    return data


async def test_the_only_one_that_a_run_asks_for_need_not_be_named() -> None:
    call = await call_with("big")

    await approve(call, "1f0c", form='{"discount": 10}')

    data = await submitted(call)
    assert (data.approval, data.decision, data.form) == ("big", "approved", {"discount": 10})


async def test_one_of_several_must_be_named() -> None:
    call = await call_with("big", "legal")

    with pytest.raises(CommandRefused, match="asks for big, legal now"):
        await approve(call, "1f0c")
    await deny(call, "1f0c", "legal", "not signed")

    data = await submitted(call)
    assert (data.approval, data.decision, data.reason) == ("legal", "denied", "not signed")


async def test_a_run_that_asks_for_nothing_is_told() -> None:
    with pytest.raises(CommandRefused, match="asks for nothing now"):
        await approve(await call_with(), "1f0c")


async def test_a_list_says_who_may_answer_until_when_and_what_to_fill_in() -> None:
    call = await call_with("big")

    await list_approvals(call)

    line = call.data.splitlines()[1]
    for part in ("1f0c2a9b", "requested", "role:boss", "in 3h", "discount"):
        assert part in line


async def test_what_is_done_about_it_short_of_deciding_is_a_request() -> None:
    call = await call_with("big")

    await claim(call, "1f0c")
    await release(call, "1f0c", reason="lunch")
    await assign(call, "1f0c", "big", to="user:bob", reason="he knows them")
    await delegate(call, "1f0c", to="user:cid")
    await comment(call, "1f0c", text="I wait")

    assert call._log is not None
    said = [decode(record.value).data for record in await everything(call._log)]
    assert said == [
        TaskActionRequested(task="big", action="claim"),
        TaskActionRequested(task="big", action="release", reason="lunch"),
        TaskActionRequested(task="big", action="assign", to="user:bob", reason="he knows them"),
        TaskActionRequested(task="big", action="delegate", to="user:cid"),
        TaskActionRequested(task="big", action="comment", reason="I wait"),
    ]


async def test_a_list_says_whose_it_is_and_what_is_urgent() -> None:
    row = rows.approval(assignee="user:ada", delegate="user:bob", priority="urgent")
    call = TestedCall(views=FakeViews({"tasks": [row]}))

    await list_approvals(call)

    line = call.data.splitlines()[1]
    assert "user:ada (user:bob)" in line and "urgent" in line
