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
from meshline.workflow.spec import ApprovalNode, WorkflowSpec

__all__ = ["TASK_ANSWERS"]


def _submit(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    asked = _asked(spec, run, request.data.approval, request, cause, moment)
    if isinstance(asked, Asked):
        right = right_to_decide(asked)
        yield _decide(asked, request.data, right) if isinstance(right, Right) else right
    else:
        yield asked


def _act(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    asked = _asked(spec, run, request.data.task, request, cause, moment)
    yield act_on_task(asked, request.data) if isinstance(asked, Asked) else asked


def _asked(
    spec: WorkflowSpec, run: RunState, name: str, request: Event[Any], cause: str, moment: Moment
) -> Asked | Decision:
    """Return the question that this is about, or the refusal where none is open."""
    node = spec.nodes.get(name)
    state = run.nodes.get(name)
    if not isinstance(node, ApprovalNode):
        return refuse(request, cause, "unknown_approval", f"{spec.name} has no approval {name!r}")
    if state is None or state.status != "requested":
        status = "not asked for yet" if state is None else state.status
        reason = f"{name!r} waits for nobody: it is {status}"
        return refuse(request, cause, "not_requested", reason)
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who asks")
    return Asked(node, state, request, cause, moment)


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
    people_requests.TaskActionRequested: _act,
}
