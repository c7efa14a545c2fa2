"""What happens to work for people between its being asked and its end.

An approval is a task whose outcome is approved or denied: ``task`` is the name of either.
"""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime

from meshline.events.facts.fact import Fact

__all__ = ["ApprovalVoted", "TaskReminded"]


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
