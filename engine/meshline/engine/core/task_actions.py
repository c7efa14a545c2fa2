"""What people do about work short of ending it: take it, give it back, hand it on, talk."""

from __future__ import annotations

from collections.abc import Callable

from meshline.engine.core.decision import Decision
from meshline.engine.core.task_rights import Asked, right_to_claim
from meshline.events import facts
from meshline.events.directory import ADMIN
from meshline.events.people import Right
from meshline.events.people_requests import TaskActionRequested
from meshline.events.principals import is_principal

__all__ = ["act_on_task"]


def act_on_task(asked: Asked, data: TaskActionRequested) -> Decision:
    """Return the fact that it is so, or the refusal."""
    return _ACTIONS[data.action](asked, data)


def _claim(asked: Asked, data: TaskActionRequested) -> Decision:
    right = right_to_claim(asked)
    if not isinstance(right, Right):
        return right
    return asked.said(
        facts.TaskClaimed(task=data.task, by=asked.actor, on_behalf_of=right.on_behalf_of)
    )


def _release(asked: Asked, data: TaskActionRequested) -> Decision:
    assignee, people = asked.task.assignee, asked.people
    if assignee is None:
        return asked.refused("not_claimed", "nobody has it")
    may = people.right_of(asked.actor, (assignee,), asked.moment.now) or _is_admin(asked)
    if not may and people.is_gone(assignee):
        # Who left can't give it back: any of those who were asked can.
        may = people.right_of(asked.actor, asked.candidates, asked.moment.now) is not None
    if not may:
        reason = f"{assignee} has it: only they or {ADMIN} may give it back"
        return asked.refused("claimed", reason)
    return asked.said(facts.TaskReleased(task=data.task, previous=assignee, reason=data.reason))


def _assign(asked: Asked, data: TaskActionRequested) -> Decision:
    if not _is_admin(asked):
        reason = f"only {ADMIN} may give it to another, and {asked.actor} asked"
        return asked.refused("not_allowed", reason)
    if asked.node.of > 1:
        reason = f"{asked.node.of} different people must approve: nobody can have it alone"
        return asked.refused("several_decide", reason)
    problem = _problem_with(asked, data.to)
    if problem is not None:
        return asked.refused("not_a_candidate", problem)
    assert data.to is not None
    right = asked.people.right_of(data.to, asked.candidates, asked.moment.now)
    # What a substitute was given would be theirs without them, when the other is back.
    if right is None or right.on_behalf_of is not None:
        reason = f"{data.to} may not {asked.does}: only {asked.people.named(asked.candidates)}"
        return asked.refused("not_a_candidate", reason)
    return asked.said(
        facts.TaskAssigned(
            task=data.task, assignee=data.to, previous=asked.task.assignee, reason=data.reason
        )
    )


def _delegate(asked: Asked, data: TaskActionRequested) -> Decision:
    assignee = asked.task.assignee
    if assignee is None:
        return asked.refused("not_claimed", "nobody has it: claim it, then delegate it")
    if asked.people.right_of(asked.actor, (assignee,), asked.moment.now) is None:
        reason = f"{assignee} has it: only they may let another {asked.does}"
        return asked.refused("claimed", reason)
    problem = f"{assignee} has it" if data.to == assignee else _problem_with(asked, data.to)
    if problem is not None:
        return asked.refused("not_a_candidate", problem)
    assert data.to is not None
    return asked.said(
        facts.TaskDelegated(task=data.task, delegate=data.to, assignee=assignee, reason=data.reason)
    )


def _comment(asked: Asked, data: TaskActionRequested) -> Decision:
    if not data.reason.strip():
        return asked.refused("reason_missing", "a comment needs words")
    roster = asked.people.roster
    if roster is not None and not roster.knows(asked.actor):
        return asked.refused("not_allowed", f"{asked.actor} is not in the directory")
    return asked.said(facts.TaskCommented(task=data.task, by=asked.actor, text=data.reason))


def _is_admin(asked: Asked) -> bool:
    return asked.people.is_admin(asked.actor, asked.moment.now)


def _problem_with(asked: Asked, to: str | None) -> str | None:
    """Return why it can't be theirs, in words."""
    roster = asked.people.roster
    if to is None or not is_principal(to) or not to.startswith("user:"):
        return f"{to!r} can't have it: expected a user such as 'user:ada'"
    if roster is not None and not roster.knows(to):
        return f"{to} is not in the directory"
    if to == asked.barred:
        return f"{to} asks for it, and another must decide"
    return None


_ACTIONS: dict[str, Callable[[Asked, TaskActionRequested], Decision]] = {
    "claim": _claim,
    "release": _release,
    "assign": _assign,
    "delegate": _delegate,
    "comment": _comment,
}
