"""What a workflow's definition and the directory say of each fact about work for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshline.engine.core.audit_rules import Case, Wrong
from meshline.events import facts
from meshline.workflow.spec import ApprovalNode, WorkflowSpec

__all__ = ["TASK_DEFINED"]

Defined = Callable[[Case, Any, WorkflowSpec], Iterator[Wrong]]

_TURN = "fact_out_of_turn"


def _approved(case: Case, data: facts.ApprovalApproved, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.approval)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
    elif node.of == 1:
        yield from _by_who_may(case, node, data)
    else:
        voted = _voters(case, node)
        if len(voted) < node.of or data.voters != tuple(voted):
            yield Wrong(_TURN, f"{node.of} different people, not {voted}")


def _denied(case: Case, data: facts.ApprovalDenied, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.approval)
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
    node = spec.nodes.get(data.approval)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
        return
    yield from _by_who_may(case, node, data)
    voted = _voters(case, node)
    if data.by in voted or data.votes != len(voted) + 1 or data.of != node.of:
        yield Wrong(_TURN, f"another than {voted}, as one of {node.of}")


def _escalated(case: Case, data: facts.ApprovalEscalated, spec: WorkflowSpec) -> Iterator[Wrong]:
    node, state = spec.nodes.get(data.approval), case.run.nodes.get(data.approval)
    if not isinstance(node, ApprovalNode) or state is None:
        yield Wrong(_TURN, "an approval of the workflow")
        return
    left = node.escalate[state.escalations :]
    if data.owner not in left[:1]:
        yield Wrong(_TURN, f"it to go to {left[0] if left else 'nobody'}")


def _expired(case: Case, data: facts.ApprovalExpired, spec: WorkflowSpec) -> Iterator[Wrong]:
    node = spec.nodes.get(data.approval)
    if not isinstance(node, ApprovalNode):
        yield Wrong(_TURN, "an approval of the workflow")
    elif node.on_expiry != "exception" or _is_left(case, node):
        yield Wrong(_TURN, "what the definition says of its expiry")


def _is_left(case: Case, node: ApprovalNode) -> bool:
    """Whether there is somebody yet to whom it goes when it is late."""
    state = case.run.nodes.get(node.name)
    return state is not None and state.escalations < len(node.escalate)


def _voters(case: Case, node: ApprovalNode) -> list[str]:
    state = case.run.nodes.get(node.name)
    return [] if state is None or state.task is None else [vote.by for vote in state.task.votes]


def _by_who_may(case: Case, node: ApprovalNode, data: Any) -> Iterator[Wrong]:
    """Somebody who was asked, now or before, and who does not ask for it themselves."""
    state, roster = case.run.nodes.get(node.name), case.people.roster
    if state is None or state.task is None:
        return
    asked = {node.by, *node.escalate[: state.escalations]}
    who = data.on_behalf_of or data.by
    if roster is None:
        if who not in asked and all(each.startswith("user:") for each in asked):
            yield Wrong(_TURN, f"an answer of {', '.join(sorted(asked))}")
        return
    may = {user for each in asked for user in roster.users_of(each)}
    if who not in may:
        yield Wrong(_TURN, f"an answer of {', '.join(sorted(may)) or 'nobody'}")
    if node.four_eyes and state.task.requester in (data.by, who):
        yield Wrong(_TURN, f"an answer of another than {data.by}, who asks for it")


TASK_DEFINED: dict[type[facts.Fact], Defined] = {
    facts.ApprovalApproved: _approved,
    facts.ApprovalDenied: _denied,
    facts.ApprovalVoted: _voted,
    facts.ApprovalEscalated: _escalated,
    facts.ApprovalExpired: _expired,
}
