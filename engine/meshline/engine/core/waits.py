"""What a run waits for, and when it is to be looked at again without anybody asking."""

from __future__ import annotations

from datetime import datetime, timedelta

from meshline.engine.core.items import step_of
from meshline.engine.core.state import NodeState, RunState, WaitTuple
from meshline.events.facts import Wait
from meshline.workflow.spec import StepNode, WorkflowSpec

__all__ = ["as_waits", "current_waits", "is_active", "next_wakeup"]

_KINDS = {
    "retrying": "retry",
    "sleeping": "timer",
    "requested": "approval",
    "awaiting": "message",
    "started": "worker",
}


def is_active(spec: WorkflowSpec, run: RunState) -> bool:
    """Return whether something is being done for the run in a worker's process right now."""
    return any(
        node.status in ("started", "ready", "failed") and not _is_outside(spec, name)
        for name, node in run.nodes.items()
    )


def _is_outside(spec: WorkflowSpec, name: str) -> bool:
    node = spec.nodes.get(step_of(name))
    return isinstance(node, StepNode) and node.outside


def current_waits(spec: WorkflowSpec | None, run: RunState) -> tuple[WaitTuple, ...]:
    """Return all that the run waits for; in the order in which it came to wait.

    Items of one step that wait for the same kind of thing are one wait, for the first of them: a
    thousand would fill a record, and nobody reads them.
    """
    found: dict[tuple[str, str], WaitTuple] = {}
    for name, node in run.nodes.items():
        kind = _KINDS.get(node.status) if node.task is None else node.task.kind
        if kind is not None:
            wait = _wait(run, step_of(name), kind, node)
            other = found.get((wait.about, kind))
            found[wait.about, kind] = wait if other is None else _first(other, wait)
    waits = list(found.values())
    for exception_id, opened in (run.exceptions or {}).items():
        if opened.blocking:
            waits.append(WaitTuple("exception", exception_id, opened.since, None, opened.owner))
    return tuple(waits)


def _wait(run: RunState, name: str, kind: str, node: NodeState) -> WaitTuple:
    # A reminder ends no wait.
    until = node.at if node.task is None else node.task.due_at
    return WaitTuple(kind, name, node.since, until, node.owner or run.owner)


def _first(one: WaitTuple, other: WaitTuple) -> WaitTuple:
    until = [moment for moment in (one.until, other.until) if moment is not None]
    return one._replace(since=min(one.since, other.since), until=min(until, default=None))


def as_waits(waits: tuple[WaitTuple, ...]) -> tuple[Wait, ...]:
    """Return the waits as they go into a fact."""
    return tuple(Wait(**wait._asdict()) for wait in waits)


def next_wakeup(spec: WorkflowSpec | None, run: RunState) -> datetime | None:
    """Return when the run must be looked at again though nothing came; None: only if something
    comes."""
    if run.has_ended:
        return None
    if run.status == "paused":
        moments = [wait.until for wait in run.waits if wait.until is not None]
    else:
        moments = [node.at for node in run.nodes.values() if node.at is not None]
    if run.due_at is not None and not run.overdue:
        moments.append(late_at(spec, run, run.due_at))
    return min(moments, default=None)


def late_at(spec: WorkflowSpec | None, run: RunState, due_at: datetime) -> datetime:
    """Return when the run counts as late: for observed runs not before it has been quiet."""
    if spec is None or not spec.observed or run.reported_at is None:
        return due_at
    return max(due_at, run.reported_at + timedelta(seconds=spec.quiet_s))
