"""What a run's history says of each node of its graph: what it is at, and when it was at what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from meshline.events import facts
from meshline.projections.history_view import HistoryRow
from meshline.projections.reasons import Said, Told

__all__ = ["NodeState", "Painting", "Span", "painted"]

NodeState = Literal[
    "running", "waiting", "held", "succeeded", "failed", "skipped", "denied", "not_reached"
]
Kind = Literal["try", "retry", "approval", "task", "timer", "message", "exception", "outside"]


@dataclass
class Span:
    """A stretch of time in which something was done about a node, or waited for.

    ``until`` is where a wait is to end, ``end`` where it did; None: it goes on.
    """

    node: str
    kind: Kind
    start: datetime
    end: datetime | None = None
    until: datetime | None = None
    attempt: int = 0
    how: str = ""


@dataclass
class Node:
    """What a node is at."""

    state: NodeState = "not_reached"
    tries: int = 0
    items: int | None = None
    items_done: int = 0


@dataclass
class Painting:
    """All nodes that the history names, and all spans in the order of their start."""

    nodes: dict[str, Node] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    has_outcome: bool = False
    _open: dict[str, list[Span]] = field(default_factory=dict)

    def node(self, name: str) -> Node:
        """Return a node; the items of one that is done for each item count as it."""
        return self.nodes.setdefault(name.partition("[")[0], Node())

    def begin(self, span: Span) -> None:
        self.spans.append(span)
        self._open.setdefault(span.node, []).append(span)

    def end(self, name: str, at: datetime, how: str, *kinds: Kind) -> None:
        """End what is open of the node."""
        left = []
        for span in self._open.pop(name, ()):
            if span.kind in kinds:
                span.end, span.how = at, how
            else:
                left.append(span)
        if left:
            self._open[name] = left

    def end_all(self, at: datetime, how: str, *kinds: Kind) -> None:
        """End what is open of every node."""
        for name in [*self._open]:
            self.end(name, at, how, *kinds)


def painted(history: Iterable[HistoryRow] | Told) -> Painting:
    """Return what the history says; what this program can't read is left out."""
    painting = Painting()
    exceptions: dict[str, str] = {}
    for said in Told.of(history):
        _of_step(painting, said)
        _of_wait(painting, said)
        _of_exception(painting, said, exceptions)
        _of_run(painting, said)
    return painting


def _of_step(painting: Painting, event: Said[Any]) -> None:
    at = event.time
    match event.data:
        case facts.StepStarted() as data:
            painting.end(data.step, at, "", "retry")
            painting.begin(Span(data.step, "try", at, attempt=data.attempt))
            node = painting.node(data.step)
            node.state, node.tries = "running", max(node.tries, data.attempt)
        case facts.StepSucceeded() as data:
            painting.end(data.step, at, "succeeded", "try", "retry", "exception")
            node = painting.node(data.step)
            if "[" in data.step:
                node.items_done += 1
            else:
                node.state = "succeeded"
        case facts.StepFailed() as data:
            painting.end(data.step, at, "failed", "try")
            painting.node(data.step).state = "failed"
        case facts.StepRetryScheduled() as data:
            painting.begin(Span(data.step, "retry", at, until=data.at, attempt=data.attempt))
            painting.node(data.step).state = "waiting"
        case facts.StepSkipped() as data:
            painting.end(data.step, at, "skipped", "try", "retry", "exception", "approval", "task")
            node = painting.node(data.step)
            if "[" in data.step:
                node.items_done += 1
            else:
                node.state = "denied" if data.why == "denied" else "skipped"
        case facts.StepFannedOut() as data:
            node = painting.node(data.step)
            node.state, node.items = "running", data.count
        case facts.StepJoined() as data:
            painting.node(data.step).state = "succeeded"


def _of_wait(painting: Painting, event: Said[Any]) -> None:
    at = event.time
    match event.data:
        case facts.TimerSet() as data:
            painting.begin(Span(data.timer, "timer", at, until=data.at))
            painting.node(data.timer).state = "waiting"
        case facts.TimerFired() as data:
            painting.end(data.timer, at, "succeeded", "timer")
            painting.node(data.timer).state = "succeeded"
        case facts.MessageAwaited() as data:
            painting.begin(Span(data.message, "message", at, until=data.due_at))
            painting.node(data.message).state = "waiting"
        case facts.MessageMatched() as data:
            painting.end(data.message, at, "succeeded", "message")
            painting.node(data.message).state = "succeeded"
        case facts.ApprovalRequested() | facts.TaskCreated() as data:
            kind: Kind = "approval" if isinstance(data, facts.ApprovalRequested) else "task"
            painting.begin(Span(data.task, kind, at, until=data.due_at))
            painting.node(data.task).state = "waiting"
        case facts.TaskCompleted() as data:
            painting.end(data.task, at, "completed", "task", "exception")
            painting.node(data.task).state = "succeeded"
        case facts.ApprovalApproved() as data:
            painting.end(data.approval, at, "approved", "approval", "exception")
            painting.node(data.approval).state = "succeeded"
        case facts.ApprovalDenied() as data:
            painting.end(data.approval, at, "denied", "approval", "exception")
            painting.node(data.approval).state = "denied"
        case facts.OwnerAssigned(rule=str() as rule):
            painting.node(rule).state = "succeeded"
        case facts.ActivityRecorded() as data:
            painting.end_all(at, "", "outside")
            for wait in data.waits:
                painting.begin(Span(wait.about or wait.kind, "outside", at, until=wait.until))


def _of_exception(painting: Painting, event: Said[Any], open_: dict[str, str]) -> None:
    match event.data:
        case facts.ExceptionOpened(blocking=True) as data:
            open_[data.exception_id] = data.about
            painting.begin(Span(data.about, "exception", event.time, until=data.due_at))
            painting.node(data.about).state = "held"
        case facts.ExceptionResolved() as data if data.exception_id in open_:
            about = open_.pop(data.exception_id)
            painting.end(about, event.time, data.how, "exception")
            node = painting.node(about)
            if node.state == "held" and about not in open_.values():
                node.state = "not_reached" if data.how == "run_ended" else "running"


def _of_run(painting: Painting, event: Said[Any]) -> None:
    if isinstance(event.data, facts.RunSucceeded | facts.RunFailed | facts.RunCancelled):
        painting.has_outcome = isinstance(event.data, facts.RunSucceeded)
        painting.end_all(event.time, "run ended", *get_args(Kind))
        for node in painting.nodes.values():
            if node.state in ("running", "waiting", "held"):
                node.state = "not_reached" if node.tries == 0 else "failed"
