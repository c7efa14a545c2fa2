"""What happens to work for people between its being asked and its end.

An approval is a task whose outcome is approved or denied: ``task`` is the name of either.
"""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime

from meshline.events.facts.fact import Fact

__all__ = [
    "ApprovalVoted",
    "TaskAssigned",
    "TaskClaimed",
    "TaskCommented",
    "TaskDelegated",
    "TaskTransferred",
    "TaskReleased",
    "TaskReminded",
]


class ApprovalVoted(Fact):
    """One of several people who must approve has done so; ``votes`` of ``of`` by now."""

    TYPE = "meshline.approval.voted"

    approval: str
    by: str
    on_behalf_of: str | None = None
    votes: int
    of: int
    form: Any = None
    reason: str = ""


class TaskReminded(Fact):
    """The due time comes near, and nobody has decided; ``next_at`` is when it is said again."""

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


class TaskCommented(Fact):
    """Somebody said something about it."""

    TYPE = "meshline.task.commented"

    task: str
    by: str
    text: str
