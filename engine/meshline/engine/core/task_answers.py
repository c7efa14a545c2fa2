"""Answering what people say to what they are asked: who may say it, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.people import Right
from meshline.engine.core.replies import problem_of, refuse, say
from meshline.engine.core.state import NodeState, RunState, TaskState
from meshline.engine.core.tasks import candidates_of
from meshline.events import facts, requests
from meshline.events.envelope import Event
from meshline.workflow.spec import ApprovalNode, WorkflowSpec

__all__ = ["TASK_ANSWERS"]


def _submit(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    data: requests.ApprovalSubmitted = request.data
    node = spec.nodes.get(data.approval)
    state = run.nodes.get(data.approval)
    if not isinstance(node, ApprovalNode):
        reason = f"{spec.name} has no approval {data.approval!r}"
        yield refuse(request, cause, "unknown_approval", reason)
    elif state is None or state.status != "requested":
        status = "not asked for yet" if state is None else state.status
        reason = f"{data.approval!r} waits for nobody: it is {status}"
        yield refuse(request, cause, "not_requested", reason)
    elif request.actor is None:
        yield refuse(request, cause, "no_actor", "nobody is named who decided")
    else:
        found = _right(node, state, request, cause, moment)
        yield _decide(node, state, request, cause, found) if isinstance(found, Right) else found


def _right(
    node: ApprovalNode, state: NodeState, request: Event[Any], cause: str, moment: Moment
) -> Right | Decision:
    """Return by what right the actor decides, or the refusal."""
    assert request.actor is not None
    actor, people = request.actor.id, moment.people
    task = state.task or TaskState()
    if len(task.votes) >= node.of:
        reason = f"all {node.of} who must approve have done so"
        return refuse(request, cause, "not_requested", reason)
    candidates = candidates_of(node, state)
    right = people.right_of(actor, candidates)
    if right is None:
        reason = f"only {people.named(candidates)} may decide, and {actor} asked"
        return refuse(request, cause, "not_allowed", reason)
    # Who sent the trigger is known of every run; that it matters, a directory or a rule says.
    four_eyes = people.roster is not None or node.requester is not None
    if four_eyes and task.requester is not None and task.requester in (actor, right.on_behalf_of):
        reason = f"{task.requester} asks for it, and another must decide"
        return refuse(request, cause, "own_request", reason)
    voted = {who for vote in task.votes for who in vote if who is not None}
    if not voted.isdisjoint({actor, right.on_behalf_of}):
        reason = f"{actor} has approved it already: {node.of} different people must"
        return refuse(request, cause, "already_voted", reason)
    return right


def _decide(
    node: ApprovalNode, state: NodeState, request: Event[Any], cause: str, right: Right
) -> Decision:
    data: requests.ApprovalSubmitted = request.data
    assert request.actor is not None
    by: dict[str, Any] = {
        "approval": node.name,
        "by": request.actor.id,
        "on_behalf_of": right.on_behalf_of,
    }
    if data.decision == "denied":
        if not data.reason.strip():
            return refuse(request, cause, "reason_missing", "a denial needs a reason")
        return say(request, cause, facts.ApprovalDenied(**by, reason=data.reason))
    if node.form is not None and (problem := problem_of(TypeAdapter(node.form), data.form or {})):
        return refuse(request, cause, "invalid", f"the form does not fit: {problem}")
    if node.of == 1:
        fact = facts.ApprovalApproved(**by, form=data.form, reason=data.reason)
        return say(request, cause, fact)
    # When it is the last vote that is needed, closing the gap says that it is approved.
    votes = len((state.task or TaskState()).votes) + 1
    return say(
        request,
        cause,
        facts.ApprovalVoted(**by, votes=votes, of=node.of, form=data.form, reason=data.reason),
    )


Answer = Callable[[WorkflowSpec, RunState, Event[Any], str, Moment], Decisions]

TASK_ANSWERS: dict[type, Answer] = {
    requests.ApprovalSubmitted: _submit,
}
