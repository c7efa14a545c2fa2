"""Work for people: asking for it, and what follows when nobody does it in time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.openings import open_exception
from meshline.engine.core.rules import ask
from meshline.engine.core.state import NodeState, RunState, TaskState
from meshline.events import facts
from meshline.events.envelope import Actor
from meshline.events.principals import is_principal
from meshline.workflow.spec import ApprovalNode, TaskNode, WorkflowSpec

__all__ = ["EXPIRY", "candidates_of", "close_task", "request_task", "requester_of"]

EXPIRY = "rule:expiry"
"""Who decides where nobody did and the definition says what then."""


def request_task(spec: WorkflowSpec, run: RunState, node: TaskNode, moment: Moment) -> Decision:
    """Return the fact that people are asked.

    Raises:
        Exception: whatever the author's rule raises about who asks for it.
    """
    due_at = _after(moment, node.due_s)
    asked: dict[str, Any] = {
        "workflow": spec.name,
        "by": node.by,
        "owner": node.by,
        "due_at": due_at,
        "escalate_to": node.escalate[0] if node.escalate else None,
        "form_schema": None if node.form is None else node.form.model_json_schema(),
        "remind_at": _next_reminder(node, due_at, moment.now),
        "priority": node.priority,
        "follow_up_at": _after(moment, node.follow_up_s),
    }
    if not isinstance(node, ApprovalNode):
        return Decision(facts.TaskCreated(task=node.name, **asked))
    requester = requester_of(run, node)
    return Decision(
        facts.ApprovalRequested(approval=node.name, of=node.of, requester=requester, **asked)
    )


def requester_of(run: RunState, node: TaskNode) -> str | None:
    """Return who asks for it, as the node's rule says, or else who sent the trigger."""
    if not node.four_eyes:
        return None
    if node.requester is None:
        return run.requester
    said = ask(node.requester, run)
    if said is None:
        return None
    requester = said if not isinstance(said, str) or ":" in said else f"user:{said}"
    if not is_principal(requester):
        raise ValueError(f"it returned {said!r}: expected a user such as 'user:ada', or None")
    return requester


def candidates_of(node: TaskNode, state: NodeState) -> tuple[str, ...]:
    """Return who may do it: who was asked first, and all to whom it went since."""
    heirs = () if state.task is None else state.task.heirs
    return tuple(dict.fromkeys((node.by, *node.escalate[: state.escalations], *heirs)))


def close_task(run: RunState, node: TaskNode, moment: Moment) -> Decisions:
    """Yield what follows for work that is open: all votes are in, or a time has come."""
    while True:
        state = run.nodes[node.name]
        task = state.task or TaskState()
        if state.status != "requested":
            return
        if node.of > 1 and len(task.votes) >= node.of:
            yield _all_voted(node, task)
        elif state.at is None or state.at > moment.now:
            return
        elif task.due_at is not None and moment.now < task.due_at:
            yield _reminded(run, node, state, task.due_at, moment)
        else:
            yield from _due(run, node, state, moment)


def _all_voted(node: TaskNode, task: TaskState) -> Decision:
    by = task.votes[-1].by
    return Decision(
        facts.ApprovalApproved(
            approval=node.name,
            by=by,
            form=orjson.loads(task.form),
            reason=task.reason,
            on_behalf_of=task.votes[-1].on_behalf_of,
            voters=tuple(vote.by for vote in task.votes),
        ),
        actor=Actor("user", by),
    )


def _reminded(
    run: RunState, node: TaskNode, state: NodeState, due_at: datetime, moment: Moment
) -> Decision:
    return Decision(
        facts.TaskReminded(
            task=node.name,
            owner=state.owner or node.by,
            due_at=due_at,
            next_at=_next_reminder(node, due_at, moment.now),
        )
    )


def _next_reminder(node: TaskNode, due_at: datetime | None, now: datetime) -> datetime | None:
    if due_at is None:
        return None
    times = (due_at - timedelta(seconds=before_s) for before_s in node.remind_s)
    return next((time for time in times if time > now), None)


def _due(run: RunState, node: TaskNode, state: NodeState, moment: Moment) -> Decisions:
    number = state.escalations
    if number < len(node.escalate):
        own_s = node.escalate_s[number] if number < len(node.escalate_s) else node.due_s
        due_at = _after(moment, own_s)
        handed_on: dict[str, Any] = {
            "previous": state.owner or node.by,
            "owner": node.escalate[number],
            "due_at": due_at,
            "remind_at": _next_reminder(node, due_at, moment.now),
        }
        yield Decision(
            facts.ApprovalEscalated(approval=node.name, **handed_on)
            if isinstance(node, ApprovalNode)
            else facts.TaskEscalated(task=node.name, **handed_on)
        )
    elif node.on_expiry == "deny":
        reason = f"nobody decided by {state.at:%Y-%m-%d %H:%M} UTC"
        yield Decision(
            facts.ApprovalDenied(approval=node.name, by=EXPIRY, reason=reason),
            actor=Actor("rule", EXPIRY),
        )
    elif node.on_expiry == "go on":
        yield Decision(facts.StepSkipped(step=node.name, why="expired"))
    else:
        yield from _expired(run, node)


def _expired(run: RunState, node: TaskNode) -> Decisions:
    # The exception first: if only one of the two comes to be said, the other follows.
    is_approval = isinstance(node, ApprovalNode)
    kind = "approval_expired" if is_approval else "task_expired"
    if not any(e.kind == kind and e.about == node.name for e in (run.exceptions or {}).values()):
        done, may = ("decided", "approved or denied") if is_approval else ("done", "completed")
        yield open_exception(
            run, kind, node.name,
            f"{node.name} was not {done} in time, and there is nobody left to escalate to. It can "
            f"still be {may}.",
            blocking=False, severity="high",
        )  # fmt: skip
    yield Decision(
        facts.ApprovalExpired(approval=node.name)
        if is_approval
        else facts.TaskExpired(task=node.name)
    )


def _after(moment: Moment, seconds: float | None) -> Any:
    return None if seconds is None else moment.now + timedelta(seconds=seconds)
