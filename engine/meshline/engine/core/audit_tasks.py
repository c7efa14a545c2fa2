"""What a workflow's definition and the directory say of each fact about work for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from pydantic import TypeAdapter

from meshline.engine.core.audit_rules import Case, Wrong
from meshline.engine.core.replies import problem_of
from meshline.events import facts
from meshline.workflow.spec import ApprovalNode, Node, TaskNode, WorkflowSpec

__all__ = ["TASK_DEFINED"]

Defined = Callable[[Case, Any, WorkflowSpec], Iterator[Wrong]]

_TURN = "fact_out_of_turn"


def _approved(case: Case, data: facts.ApprovalApproved, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.task)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
    elif node.of == 1:
        yield from _by_who_may(case, node, data)
    else:
        voted = _voters(case, node)
        if len(voted) < node.of or data.voters != tuple(voted):
            yield Wrong(_TURN, f"{node.of} different people, not {voted}")


def _denied(case: Case, data: facts.ApprovalDenied, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.task)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
    elif case.event.causation_id is not None:
        yield from _by_who_may(case, node, data)
    else:
        state = case.run.nodes.get(node.name)
        due_at = None if state is None or state.task is None else state.task.due_at
        is_late = due_at is not None and case.event.time >= due_at
        if node.on_expiry != "deny" or not is_late or _is_left(case, node):
            yield Wrong(_TURN, "an answer of a person")


def _voted(case: Case, data: facts.ApprovalVoted, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.task)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
        return
    yield from _by_who_may(case, node, data)
    voted = _voters(case, node)
    if data.by in voted or data.votes != len(voted) + 1 or data.of != node.of:
        yield Wrong(_TURN, f"another than {voted}, as one of {node.of}")


def _completed(case: Case, data: facts.TaskCompleted, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.task)
    if type(node) is not TaskNode:
        yield Wrong(_TURN, "a task of the workflow")
        return
    yield from _by_who_may(case, node, data)
    form = node.form
    if data.form is not None if form is None else problem_of(TypeAdapter(form), data.form):
        yield Wrong(_TURN, "a form as the workflow has it")


def _escalated(
    case: Case, data: facts.ApprovalEscalated | facts.TaskEscalated, spec: WorkflowSpec
) -> Iterator[Wrong]:
    node, state = spec.nodes.get(data.task), case.run.nodes.get(data.task)
    if not _is_of(node, data) or state is None:
        yield Wrong(_TURN, "work for people of the workflow")
        return
    left = node.escalate[state.escalations :]
    if data.owner not in left[:1]:
        yield Wrong(_TURN, f"it to go to {left[0] if left else 'nobody'}")


def _expired(
    case: Case, data: facts.ApprovalExpired | facts.TaskExpired, spec: WorkflowSpec
) -> Iterator[Wrong]:
    node = spec.nodes.get(data.task)
    if not _is_of(node, data):
        yield Wrong(_TURN, "work for people of the workflow")
    elif node.on_expiry != "exception" or _is_left(case, node):
        yield Wrong(_TURN, "what the definition says of its expiry")


def _is_of(node: Node | None, data: facts.Fact) -> TypeGuard[TaskNode]:
    """Whether the fact is of such work: an approval's of an approval, a task's of a task."""
    is_approval = isinstance(data, facts.ApprovalEscalated | facts.ApprovalExpired)
    return isinstance(node, TaskNode) and isinstance(node, ApprovalNode) is is_approval


def _is_left(case: Case, node: TaskNode) -> bool:
    """Whether there is somebody yet to whom it goes when it is late."""
    state = case.run.nodes.get(node.name)
    return state is not None and state.escalations < len(node.escalate)


def _voters(case: Case, node: ApprovalNode) -> list[str]:
    state = case.run.nodes.get(node.name)
    return [] if state is None or state.task is None else [vote.by for vote in state.task.votes]


def _by_who_may(case: Case, node: TaskNode, data: Any) -> Iterator[Wrong]:
    """Somebody who was asked, or has it, and who does not ask for it themselves."""
    state = case.run.nodes.get(node.name)
    if state is None or state.task is None:
        return
    who = data.on_behalf_of or data.by
    yield from _asked(case, node, who)
    has = state.task.assignee
    if has is not None and who != has:
        yield Wrong(_TURN, f"an answer of {has}, who has it")
    if data.on_behalf_of is not None:
        delegated = has == who and state.task.delegate == data.by
        if not delegated and not _is_substitute(case, data.by, who):
            yield Wrong(_TURN, f"no answer in the place of {who}")
    if case.people.roster is None and node.requester is None:
        return
    if node.four_eyes and state.task.requester in (data.by, who):
        yield Wrong(_TURN, f"an answer of another than {data.by}, who asks for it")


def _asked(case: Case, node: TaskNode, who: str) -> Iterator[Wrong]:
    state, roster = case.run.nodes[node.name], case.people.roster
    heirs = () if state.task is None else state.task.heirs
    asked = {node.by, *node.escalate[: state.escalations], *heirs}
    if roster is not None:
        may = {user for each in asked for user in roster.users_of(each)}
        if who not in may:
            yield Wrong(_TURN, f"one of {', '.join(sorted(may)) or 'nobody'}")
    elif who not in asked and all(each.startswith("user:") for each in asked):
        yield Wrong(_TURN, f"one of {', '.join(sorted(asked))}")


def _is_substitute(case: Case, substitute: str, absent: str) -> bool:
    return any(
        (each.absent, each.substitute) == (absent, substitute)
        and each.since <= case.event.recorded_at < each.until
        for each in case.people.absences
    )


def _claimed(case: Case, data: facts.TaskClaimed, spec: WorkflowSpec) -> Iterator[Wrong]:
    node, has = spec.nodes.get(data.task), _has(case, data.task)
    if not isinstance(node, TaskNode) or node.of > 1 or data.task not in case.run.nodes:
        yield Wrong(_TURN, "work for people that one person can have")
        return
    if has is not None:
        yield Wrong(_TURN, f"it to stay with {has}")
    yield from _by_who_may(case, node, data)


def _released(case: Case, data: facts.TaskReleased, spec: WorkflowSpec) -> Iterator[Wrong]:
    has, actor, people = _has(case, data.task), case.event.actor, case.people
    if has is None or data.previous != has or actor is None:
        yield Wrong(_TURN, f"it to be taken from {has}")
    elif not (
        actor.id == has
        or _is_substitute(case, actor.id, has)
        or people.is_admin(actor.id, case.event.recorded_at)
        or has in people.gone
    ):
        yield Wrong(_TURN, f"{has} or an admin to give it back")


def _handed_on(
    case: Case, data: facts.TaskAssigned | facts.TaskDelegated, spec: WorkflowSpec
) -> Iterator[Wrong]:
    node, actor = spec.nodes.get(data.task), case.event.actor
    if not isinstance(node, TaskNode) or data.task not in case.run.nodes or actor is None:
        yield Wrong(_TURN, "work for people that is open")
    elif isinstance(data, facts.TaskAssigned):
        yield from _asked(case, node, data.assignee)
        if not case.people.is_admin(actor.id, case.event.recorded_at):
            yield Wrong(_TURN, "an admin to give it to another")
    elif data.assignee != _has(case, data.task) or (
        actor.id != data.assignee and not _is_substitute(case, actor.id, data.assignee)
    ):
        yield Wrong(_TURN, f"{_has(case, data.task)} to let another decide")


def _has(case: Case, task: str) -> str | None:
    state = case.run.nodes.get(task)
    return None if state is None or state.task is None else state.task.assignee


TASK_DEFINED: dict[type[facts.Fact], Defined] = {
    facts.ApprovalApproved: _approved,
    facts.ApprovalDenied: _denied,
    facts.ApprovalVoted: _voted,
    facts.ApprovalEscalated: _escalated,
    facts.ApprovalExpired: _expired,
    facts.TaskCompleted: _completed,
    facts.TaskEscalated: _escalated,
    facts.TaskExpired: _expired,
    facts.TaskClaimed: _claimed,
    facts.TaskReleased: _released,
    facts.TaskAssigned: _handed_on,
    facts.TaskDelegated: _handed_on,
}
