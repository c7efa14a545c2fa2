"""Answering what people say to what they are asked: a decision, a vote, or something about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.replies import problem_of, refuse
from meshline.engine.core.state import RunState
from meshline.engine.core.task_actions import act_on_task
from meshline.engine.core.task_rights import Asked, right_to_decide
from meshline.events import facts, people_requests, requests
from meshline.events.envelope import Event
from meshline.events.people import Right
from meshline.workflow.spec import ApprovalNode, TaskNode, WorkflowSpec

__all__ = ["TASK_ANSWERS"]


def _submit(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    is_decision = isinstance(request.data, requests.ApprovalSubmitted)
    name = request.data.approval if is_decision else request.data.task
    asked = _asked(spec, run, name, request, cause, moment)
    if not isinstance(asked, Asked):
        yield asked
        return
    right = right_to_decide(asked)
    if not isinstance(right, Right):
        yield right
    elif is_decision:
        yield _decide(asked, request.data, right)
    else:
        yield _complete(asked, request.data, right)


def _act(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    asked = _asked(spec, run, request.data.task, request, cause, moment)
    yield act_on_task(asked, request.data) if isinstance(asked, Asked) else asked


def _asked(
    spec: WorkflowSpec, run: RunState, name: str, request: Event[Any], cause: str, moment: Moment
) -> Asked | Decision:
    """Return the work that this is about, or the refusal where none is open."""
    node = spec.nodes.get(name)
    state = run.nodes.get(name)
    if not isinstance(node, TaskNode):
        kind = "approval" if isinstance(request.data, requests.ApprovalSubmitted) else "task"
        return refuse(request, cause, f"unknown_{kind}", f"{spec.name} has no {kind} {name!r}")
    problem = _misunderstood(node, request.data)
    if problem is not None:
        return refuse(request, cause, *problem)
    if state is None or state.status != "requested":
        status = "not asked for yet" if state is None else state.status
        reason = f"{name!r} waits for nobody: it is {status}"
        return refuse(request, cause, "not_requested", reason)
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who asks")
    return Asked(node, state, request, cause, moment)


def _misunderstood(node: TaskNode, data: Any) -> tuple[str, str] | None:
    """Return why this work can't be ended so."""
    is_approval = isinstance(node, ApprovalNode)
    if is_approval and isinstance(data, people_requests.TaskCompletionRequested):
        return "is_approval", f"{node.name!r} is an approval: it is approved or denied"
    if not is_approval and isinstance(data, requests.ApprovalSubmitted):
        return "is_task", f"{node.name!r} is a task: it is completed, not {data.decision}"
    return None


def _complete(
    asked: Asked, data: people_requests.TaskCompletionRequested, right: Right
) -> Decision:
    node = asked.node
    if node.form is None and data.form is not None:
        return asked.refused("invalid", f"{node.name!r} has no form, and one is filled in")
    if node.form is not None and (problem := problem_of(TypeAdapter(node.form), data.form or {})):
        return asked.refused("invalid", f"the form does not fit: {problem}")
    return asked.said(
        facts.TaskCompleted(
            task=node.name,
            by=asked.actor,
            # A form whose fields all have defaults may be left empty.
            form=data.form if node.form is None else data.form or {},
            reason=data.reason,
            on_behalf_of=right.on_behalf_of,
        )
    )


def _decide(asked: Asked, data: requests.ApprovalSubmitted, right: Right) -> Decision:
    node = asked.node
    by: dict[str, Any] = {
        "approval": node.name,
        "by": asked.actor,
        "on_behalf_of": right.on_behalf_of,
    }
    if data.decision == "denied":
        if not data.reason.strip():
            return asked.refused("reason_missing", "a denial needs a reason")
        return asked.said(facts.ApprovalDenied(**by, reason=data.reason))
    if node.form is not None and (problem := problem_of(TypeAdapter(node.form), data.form or {})):
        return asked.refused("invalid", f"the form does not fit: {problem}")
    said = {"form": data.form, "reason": data.reason}
    if node.of == 1:
        return asked.said(facts.ApprovalApproved(**by, **said))
    # When it is the last vote that is needed, closing the gap says that it is approved.
    votes = len(asked.task.votes) + 1
    return asked.said(facts.ApprovalVoted(**by, votes=votes, of=node.of, **said))


Answer = Callable[[WorkflowSpec, RunState, Event[Any], str, Moment], Decisions]

TASK_ANSWERS: dict[type, Answer] = {
    requests.ApprovalSubmitted: _submit,
    people_requests.TaskCompletionRequested: _submit,
    people_requests.TaskActionRequested: _act,
}
