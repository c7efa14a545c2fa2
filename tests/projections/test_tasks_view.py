from __future__ import annotations

from typing import Any

from meshline.events import facts
from meshline.projections.tasks_view import TaskRow, asking, tasks
from tests.projections.given import at, rows_after
from tests.projections.test_runs_view import STARTED

REQUESTED = facts.ApprovalRequested(
    approval="BigDeal",
    workflow="lead",
    by="role:lead",
    owner="team:sales",
    due_at=at(60),
    form_schema={"a": 1},
)


async def approval_after(*events: Any) -> TaskRow:
    (row,) = await rows_after(tasks, STARTED, *events)
    assert isinstance(row, TaskRow)
    return row


async def test_a_request_says_who_may_decide_and_by_when() -> None:
    row = await approval_after(REQUESTED)

    assert (row.state, row.workflow, row.by, row.owner, row.due_at) == (
        "requested", "lead", "role:lead", "team:sales", at(60),
    )  # fmt: skip


async def test_an_approval_keeps_the_form_and_who_filled_it_in() -> None:
    row = await approval_after(
        REQUESTED,
        facts.ApprovalApproved(approval="BigDeal", by="user:ada", form={"discount": 3}),
    )

    assert (row.state, row.decided_by, row.decided_at, row.form) == (
        "approved", "user:ada", at(2), {"discount": 3},
    )  # fmt: skip


async def test_a_denial_says_why() -> None:
    row = await approval_after(
        REQUESTED, facts.ApprovalDenied(approval="BigDeal", by="user:ada", reason="too big")
    )

    assert (row.state, row.reason) == ("denied", "too big")


async def test_an_escalated_approval_is_somebody_elses_until_it_expires() -> None:
    escalated = facts.ApprovalEscalated(approval="BigDeal", previous="team:sales", owner="team:b")

    row = await approval_after(REQUESTED, escalated)
    assert (row.state, row.owner, row.due_at) == ("escalated", "team:b", None)

    row = await approval_after(REQUESTED, escalated, facts.ApprovalExpired(approval="BigDeal"))
    assert row.state == "expired"


async def test_the_end_of_the_run_withdraws_what_nobody_decided() -> None:
    row = await approval_after(REQUESTED, facts.RunCancelled(reason="no"))
    assert (row.state, row.decided_at, row.decided_by) == ("withdrawn", at(2), None)

    approved = facts.ApprovalApproved(approval="BigDeal", by="user:ada")
    row = await approval_after(REQUESTED, approved, facts.RunSucceeded())
    assert row.state == "approved"


async def test_an_ended_run_leaves_nothing_to_ask() -> None:
    assert await rows_after(asking, STARTED, REQUESTED, facts.RunSucceeded()) == []


async def test_votes_reminders_and_who_asks_are_shown() -> None:
    asked = REQUESTED.model_copy(update={"of": 2, "requester": "user:eve"})
    voted = facts.ApprovalVoted(approval="BigDeal", by="user:ada", votes=1, of=2)
    reminded = facts.TaskReminded(task="BigDeal", owner="team:sales", due_at=at(60))

    row = await approval_after(asked, voted, reminded)

    assert (row.state, row.of, row.votes, row.requester, row.reminded_at) == (
        "requested", 2, ["user:ada"], "user:eve", at(3),
    )  # fmt: skip


async def test_who_may_decide_and_who_has_voted_are_all_of_them() -> None:
    voted = facts.ApprovalVoted(
        approval="BigDeal", by="user:ada", on_behalf_of="user:bob", votes=1, of=3
    )
    again = facts.ApprovalVoted(approval="BigDeal", by="user:cid", votes=2, of=3)
    first = facts.ApprovalEscalated(approval="BigDeal", previous="team:sales", owner="team:b")
    second = facts.ApprovalEscalated(approval="BigDeal", previous="team:b", owner="role:lead")

    row = await approval_after(REQUESTED, voted, again, first, second)

    assert row.candidates == ["role:lead", "team:b"]
    assert row.voted == ["user:ada", "user:bob", "user:cid"]


def has(row: TaskRow) -> tuple[str | None, str | None]:
    return row.assignee, row.delegate


async def test_who_has_it_and_who_may_decide_for_them() -> None:
    claimed = facts.TaskClaimed(task="BigDeal", by="user:ada")
    in_place = facts.TaskClaimed(task="BigDeal", by="user:bob", on_behalf_of="user:ada")
    handed_on = facts.TaskDelegated(task="BigDeal", assignee="user:ada", delegate="user:bob")
    assigned = facts.TaskAssigned(task="BigDeal", assignee="user:cid")
    released = facts.TaskReleased(task="BigDeal", previous="user:ada")
    escalated = facts.ApprovalEscalated(approval="BigDeal", previous="team:sales", owner="team:b")

    assert has(await approval_after(REQUESTED, claimed)) == ("user:ada", None)
    assert has(await approval_after(REQUESTED, in_place)) == ("user:ada", None)
    assert has(await approval_after(REQUESTED, claimed, handed_on)) == ("user:ada", "user:bob")
    for taken, now in ((assigned, "user:cid"), (released, None), (escalated, None)):
        assert has(await approval_after(REQUESTED, claimed, handed_on, taken)) == (now, None)


async def test_priority_and_follow_up_are_those_of_the_question() -> None:
    asked = REQUESTED.model_copy(update={"priority": "high", "follow_up_at": at(30)})

    row = await approval_after(asked)

    assert (row.priority, row.follow_up_at) == ("high", at(30))


async def test_what_the_run_goes_on_without_is_withdrawn() -> None:
    skipped = facts.StepSkipped(step="BigDeal", why="expired")

    row = await approval_after(REQUESTED, skipped)

    assert (row.state, row.decided_at) == ("withdrawn", at(2))
    (left,) = await rows_after(asking, STARTED, REQUESTED, skipped)
    assert left.open_tasks == []


async def test_what_is_handed_over_is_asked_of_the_heir_too() -> None:
    claimed = facts.TaskClaimed(task="BigDeal", by="user:ada")
    given = facts.TaskTransferred(task="BigDeal", owner="user:bob", previous="user:ada")

    row = await approval_after(REQUESTED, claimed, given)

    assert (row.assignee, row.owner, row.candidates[-1]) == (
        "user:bob",
        REQUESTED.owner,
        "user:bob",
    )
    asked = facts.TaskTransferred(task="BigDeal", owner="team:x", previous=REQUESTED.owner)
    row = await approval_after(REQUESTED, asked)
    assert (row.assignee, row.owner) == (None, "team:x")


TASK = facts.TaskCreated(
    task="measure", workflow="house", by="team:site", owner="team:site", due_at=at(60),
    form_schema={"a": 1}, priority="high",
)  # fmt: skip


async def test_a_task_is_completed_with_its_form() -> None:
    claimed = facts.TaskClaimed(task="measure", by="user:ada")
    moved = facts.TaskEscalated(task="measure", previous="team:site", owner="queue:b")
    done = facts.TaskCompleted(
        task="measure", by="user:eve", form={"m": 3}, on_behalf_of="user:ada"
    )

    asked = await approval_after(TASK)
    late = await approval_after(TASK, claimed, moved, facts.TaskExpired(task="measure"))
    row = await approval_after(TASK, claimed, done, facts.RunSucceeded())

    assert (asked.kind, asked.state, asked.priority, asked.of) == ("task", "requested", "high", 1)
    assert (late.state, late.owner, late.assignee) == ("expired", "queue:b", None)
    assert (row.state, row.decided_by, row.form, row.on_behalf_of) == (
        "completed", "user:eve", {"m": 3}, "user:ada",
    )  # fmt: skip


async def test_the_end_of_the_run_withdraws_a_task_that_nobody_did() -> None:
    row = await approval_after(TASK, facts.RunCancelled(reason="no"))

    assert (row.state, row.decided_by) == ("withdrawn", None)
