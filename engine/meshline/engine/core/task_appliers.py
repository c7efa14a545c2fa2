"""What each fact about work for people does to its run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from meshline.engine.core.state import NodeState, RunState, TaskState, Vote, stored
from meshline.events import facts
from meshline.events.envelope import Event

__all__ = ["TASK_APPLIERS"]

Applier = Callable[[RunState, Event[Any], Any], None]


def _requested(
    run: RunState, event: Event[Any], data: facts.ApprovalRequested | facts.TaskCreated
) -> None:
    run.nodes[data.task] = NodeState(
        "requested",
        event.time,
        at=_first(data.remind_at, data.due_at),
        owner=data.owner,
        task=TaskState(
            due_at=data.due_at,
            requester=data.requester if isinstance(data, facts.ApprovalRequested) else None,
            kind="approval" if isinstance(data, facts.ApprovalRequested) else "task",
        ),
    )


def _first(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _before(run: RunState, event: Event[Any], name: str) -> tuple[NodeState, TaskState]:
    """Return the node and its task, or ones that stand in: applying refuses nothing."""
    node = run.nodes.get(name) or NodeState("requested", event.time)
    return node, node.task or TaskState()


def _asked_still(run: RunState, event: Event[Any], name: str, **changes: Any) -> None:
    """Change the task of a node that is asked as before."""
    node, task = _before(run, event, name)
    run.nodes[name] = node._replace(task=task._replace(**changes))


def _approved(run: RunState, event: Event[Any], data: facts.ApprovalApproved) -> None:
    value = {"approved": True, "by": data.by, "reason": data.reason, "form": data.form}
    if data.voters:
        value["voters"] = data.voters
    node, _ = _before(run, event, data.task)
    run.nodes[data.task] = node.to("succeeded", event.time, value=stored(value))


def _denied(run: RunState, event: Event[Any], data: facts.ApprovalDenied) -> None:
    value = {"approved": False, "by": data.by, "reason": data.reason}
    node, _ = _before(run, event, data.task)
    run.nodes[data.task] = node.to("denied", event.time, value=stored(value))


def _completed(run: RunState, event: Event[Any], data: facts.TaskCompleted) -> None:
    node, _ = _before(run, event, data.task)
    run.nodes[data.task] = node.to("succeeded", event.time, value=stored(data.form))


def _voted(run: RunState, event: Event[Any], data: facts.ApprovalVoted) -> None:
    _, task = _before(run, event, data.task)
    _asked_still(
        run, event, data.task, votes=(*task.votes, Vote(data.by, data.on_behalf_of)),
        form=stored(data.form), reason=data.reason,
    )  # fmt: skip


def _escalated(
    run: RunState, event: Event[Any], data: facts.ApprovalEscalated | facts.TaskEscalated
) -> None:
    node, task = _before(run, event, data.task)
    run.nodes[data.task] = node.to(
        "requested",
        node.since,
        at=_first(data.remind_at, data.due_at),
        owner=data.owner,
        escalations=node.escalations + 1,
        task=task._replace(due_at=data.due_at, assignee=None, delegate=None),
    )


def _reminded(run: RunState, event: Event[Any], data: facts.TaskReminded) -> None:
    node, task = _before(run, event, data.task)
    run.nodes[data.task] = node._replace(at=_first(data.next_at, task.due_at), task=task)


def _expired(
    run: RunState, event: Event[Any], data: facts.ApprovalExpired | facts.TaskExpired
) -> None:
    node, task = _before(run, event, data.task)
    run.nodes[data.task] = node.to(
        "requested", node.since, at=None, task=task._replace(due_at=None)
    )


def _claimed(run: RunState, event: Event[Any], data: facts.TaskClaimed) -> None:
    assignee = data.on_behalf_of or data.by
    _asked_still(run, event, data.task, assignee=assignee, delegate=None)


def _released(run: RunState, event: Event[Any], data: facts.TaskReleased) -> None:
    _asked_still(run, event, data.task, assignee=None, delegate=None)


def _assigned(run: RunState, event: Event[Any], data: facts.TaskAssigned) -> None:
    _asked_still(run, event, data.task, assignee=data.assignee, delegate=None)


def _delegated(run: RunState, event: Event[Any], data: facts.TaskDelegated) -> None:
    _asked_still(run, event, data.task, delegate=data.delegate)


def _handed_over(run: RunState, event: Event[Any], data: facts.TaskTransferred) -> None:
    node, task = _before(run, event, data.task)
    task = task._replace(heirs=tuple(dict.fromkeys((*task.heirs, data.owner))))
    if task.assignee == data.previous:
        # A team has it as it has what nobody of it has claimed yet.
        assignee = data.owner if data.owner.startswith("user:") else None
        task = task._replace(assignee=assignee, delegate=None)
    owner = data.owner if node.owner == data.previous else node.owner
    run.nodes[data.task] = node._replace(owner=owner, task=task)


TASK_APPLIERS: dict[type, Applier] = {
    facts.ApprovalRequested: _requested,
    facts.ApprovalApproved: _approved,
    facts.ApprovalDenied: _denied,
    facts.ApprovalVoted: _voted,
    facts.ApprovalEscalated: _escalated,
    facts.ApprovalExpired: _expired,
    facts.TaskCreated: _requested,
    facts.TaskCompleted: _completed,
    facts.TaskEscalated: _escalated,
    facts.TaskExpired: _expired,
    facts.TaskReminded: _reminded,
    facts.TaskClaimed: _claimed,
    facts.TaskReleased: _released,
    facts.TaskAssigned: _assigned,
    facts.TaskDelegated: _delegated,
    facts.TaskTransferred: _handed_over,
}
