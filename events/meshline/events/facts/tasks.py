"""What happens to work for people, from its being asked to its end.

An approval is a task whose outcome is approved or denied: ``task`` is the name of either.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from meshline.events.facts.fact import Fact
from meshline.events.facts.people import AboutApproval

__all__ = [
    "ApprovalVoted",
    "TaskAssigned",
    "TaskClaimed",
    "TaskCommented",
    "TaskCompleted",
    "TaskCreated",
    "TaskDelegated",
    "TaskEscalated",
    "TaskExpired",
    "TaskTransferred",
    "TaskReleased",
    "TaskReminded",
]


class ApprovalVoted(AboutApproval):
    """One of several people who must approve has done so; ``votes`` of ``of`` by now."""

    TYPE = "meshline.approval.voted"

    by: str
    on_behalf_of: str | None = None
    votes: int
    of: int
    form: Any = None
    reason: str = ""


class TaskCreated(Fact):
    """There is work for people. ``by`` may do it; ``owner`` answers for it being done.

    It ends when somebody has filled in the form, as ``form_schema`` says. ``follow_up_at`` is when
    it is time to look after it, long before it is due.
    """

    TYPE = "meshline.task.created"

    task: str
    workflow: str
    by: str
    owner: str
    due_at: AwareDatetime | None = None
    escalate_to: str | None = None
    form_schema: dict[str, Any] | None = None
    remind_at: AwareDatetime | None = None
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    follow_up_at: AwareDatetime | None = None


class TaskCompleted(Fact):
    """It is done: by whom, with what they filled in.

    ``on_behalf_of`` is in whose place ``by`` did it.
    """

    TYPE = "meshline.task.completed"

    task: str
    by: str
    form: Any = None
    reason: str = ""
    on_behalf_of: str | None = None


class TaskEscalated(Fact):
    """The due time passed: the task is somebody else's now."""

    TYPE = "meshline.task.escalated"

    task: str
    previous: str
    owner: str
    due_at: AwareDatetime | None = None
    remind_at: AwareDatetime | None = None


class TaskExpired(Fact):
    """The due time passed, and nobody is left to escalate to; an exception is open for it."""

    TYPE = "meshline.task.expired"

    task: str


class TaskReminded(Fact):
    """The due time comes near, and it is not done; ``next_at`` is when it is said again."""

    TYPE = "meshline.task.reminded"

    task: str
    owner: str
    due_at: AwareDatetime
    next_at: AwareDatetime | None = None


class TaskClaimed(Fact):
    """Somebody took it for themselves: nobody else decides it, until it is released."""

    TYPE = "meshline.task.claimed"

    task: str
    by: str
    on_behalf_of: str | None = None


class TaskReleased(Fact):
    """It is nobody's in particular again; ``previous`` had it."""

    TYPE = "meshline.task.released"

    task: str
    previous: str
    reason: str = ""


class TaskAssigned(Fact):
    """An admin gave it to somebody, as if they had claimed it."""

    TYPE = "meshline.task.assigned"

    task: str
    assignee: str
    previous: str | None = None
    reason: str = ""


class TaskDelegated(Fact):
    """Who has it lets another decide in their place."""

    TYPE = "meshline.task.delegated"

    task: str
    delegate: str
    assignee: str
    reason: str = ""


class TaskTransferred(Fact):
    """What was ``previous``'s is ``owner``'s, who may decide it too; ``previous`` may be gone."""

    TYPE = "meshline.task.transferred"

    task: str
    owner: str
    previous: str
    reason: str = ""
    kind: Literal["approval", "task"] = "approval"


class TaskCommented(Fact):
    """Somebody said something about it."""

    TYPE = "meshline.task.commented"

    task: str
    by: str
    text: str
