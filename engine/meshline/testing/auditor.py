"""A reader that believes nobody: it folds the log by itself and says what should not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from meshline.engine.core.items import step_of
from meshline.engine.core.plan import ItemStep, plan_of
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import UNDO, PartitionState, RunState
from meshline.engine.core.transitions import never
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.ids import causation_of
from meshline.events.log.protocol import LogRecord
from meshline.events.requests import Request
from meshline.workflow.registry import Registry
from meshline.workflow.spec import ApprovalNode, StepNode, WorkflowSpec

__all__ = ["Auditor", "HistoryWrong"]

_WITHOUT_RUN = (
    facts.TriggerAccepted,
    facts.TriggerRejected,
    facts.TriggerDeduplicated,
    facts.RequestRejected,
    facts.ExceptionOpened,
)


class HistoryWrong(AssertionError):
    """A fact that counts says what must never be said."""


class Auditor:
    """Reads one partition, record by record, and holds each fact against the rules.

    Args:
        registry: all definitions that there are.
        partition: that it reads.
    """

    def __init__(self, registry: Registry, partition: int = 0) -> None:
        self.state = PartitionState(partition)
        self.accepted: set[str] = set()
        self._registry = registry
        self._outcomes: set[tuple[str, str, int]] = set()
        self._takeovers: Counter[tuple[str, str]] = Counter()
        self._completed: dict[str, list[str]] = {}
        self._answered: set[str] = set()
        self._exceptions: set[str] = set()

    def read(self, record: LogRecord) -> None:
        """Take in the next record.

        Raises:
            HistoryWrong: it counts, and must not be.
        """
        event = decode(record.value)
        fence = replace(self.state.fence)
        if fence.admits(event, record.offset) and isinstance(event.data, facts.Fact):
            self._check(event)
        fold(self.state, event, record.offset)
        if isinstance(event.data, Request):
            assert causation_of(record.partition, record.offset) in self.state.pending

    def _check(self, event: Event[Any]) -> None:
        data, kind = event.data, type(event.data)
        if not event.is_fact or kind in (facts.PartitionClaimed, facts.WorkflowRegistered):
            return
        # Whatever comes may be decided; where it could not be, the engine has a mistake.
        words = (getattr(data, "code", ""), getattr(data, "kind", ""), getattr(data, "reason", ""))
        self._expect(event, "undecidable" not in words, "a decision")
        self._expect(event, "could not be decided" not in words[2], "a decision")
        run = self.state.runs.get(event.subject)
        if event.causation_id is not None:
            self._check_answer(event)
        if kind is facts.TriggerAccepted:
            self._expect(event, event.subject not in self.accepted, "one run for each trigger")
            self.accepted.add(event.subject)
        if run is None:
            self._expect(event, kind in _WITHOUT_RUN, "a run that this is about")
            return
        self._expect(event, not never(run.status, kind), f"another fact of a {run.status} run")
        spec = self._registry.spec(run.workflow, run.version)
        check = _CHECKS.get(kind)
        if check is not None and spec is not None:
            check(self, event, data, run, spec)

    def _check_answer(self, event: Event[Any]) -> None:
        cause = event.causation_id
        assert cause is not None
        first = cause in self.state.pending
        # One request may be answered by several facts; no answer comes without its request.
        self._expect(event, first or cause in self._answered, "a request that it answers")
        self._answered.add(cause)

    def _expect(self, event: Event[Any], holds: bool, expected: str) -> None:
        if not holds:
            raise HistoryWrong(
                f"{event.data!r} of run {event.subject} at {event.time}, epoch {event.epoch}, "
                f"sequence {event.sequence}: expected {expected}"
            )

    # -- facts ---------------------------------------------------------------------------------

    def _step_started(
        self, event: Event[Any], data: facts.StepStarted, run: RunState, spec: WorkflowSpec
    ) -> None:
        node = plan_of(spec).step(data.step, spec)
        before = run.nodes.get(data.step)
        self._expect(event, node is not None, "a step of the workflow")
        assert node is not None
        if isinstance(node, ItemStep):
            whole = run.nodes.get(step_of(data.step))
            count = 0 if whole is None or whole.status != "fanned_out" else whole.count
            self._expect(event, node.index < count, f"one of {count} items")
        elif node.each is not None:
            self._expect(event, False, "the items to be begun, not the whole")
        self._expect(event, run.status != "paused", "nothing begun in a paused run")
        self._expect(event, (data.until is not None) == node.outside, "a limit for outside work")
        self._expect(
            event, (run.undo is not None) == data.step.startswith(UNDO), "undoing or going on"
        )
        attempt = 1 if before is None else before.attempt + 1
        self._expect(event, data.attempt == attempt, f"attempt {attempt}")
        status = None if before is None else before.status
        allowed = {
            "ready": (None, "ready"),
            "compensation": (None, "ready"),
            "retry": ("retrying",),
            "taken_over": ("started",),
            "operator": ("ready", "retrying"),
        }[data.why]
        self._expect(event, status in allowed, f"a step that is not {status}")
        if before is not None and data.why == "retry":
            self._expect(event, before.at is not None and event.time >= before.at, "no hurry")
        if before is not None and data.why == "taken_over":
            self._expect(event, before.epoch != event.epoch, "a step of an older epoch")
            self._takeovers[event.subject, data.step] += 1

    def _step_ended(
        self,
        event: Event[Any],
        data: facts.StepSucceeded | facts.StepFailed,
        run: RunState,
        spec: WorkflowSpec,
    ) -> None:
        node = run.nodes.get(data.step)
        is_under_way = (
            node is not None and node.status == "started" and node.attempt == data.attempt
        )
        self._expect(event, is_under_way, "an outcome of a try that is under way")
        key = (event.subject, data.step, data.attempt)
        self._expect(event, key not in self._outcomes, "one outcome for each try")
        self._outcomes.add(key)
        if isinstance(data, facts.StepSucceeded):
            self._completed.setdefault(event.subject, []).append(data.step)
            return
        step = plan_of(spec).step(data.step, spec)
        assert node is not None and isinstance(step, StepNode)
        self._expect(
            event, node.failures < step.retry.maximum_attempts, "no more tries than allowed"
        )

    def _step_fanned_out(
        self, event: Event[Any], data: facts.StepFannedOut, run: RunState, spec: WorkflowSpec
    ) -> None:
        node, before = spec.nodes.get(data.step), run.nodes.get(data.step)
        each = node.each if isinstance(node, StepNode) else None
        self._expect(event, each is not None, "a step that is done for each of a list")
        assert each is not None
        self._expect(event, 0 <= data.count <= each.items_max, f"at most {each.items_max} items")
        self._expect(event, before is None or before.status == "ready", "a step that is to begin")
        self._expect(event, run.undo is None, "nothing but undoing")

    def _step_joined(
        self, event: Event[Any], data: facts.StepJoined, run: RunState, spec: WorkflowSpec
    ) -> None:
        node = run.nodes.get(data.step)
        self._expect(event, node is not None and node.status == "fanned_out", "items to be joined")
        assert node is not None
        items = [run.nodes.get(f"{data.step}[{index}]") for index in range(node.count)]
        ended = all(item is not None and item.has_ended for item in items)
        self._expect(event, ended, "all items to have ended")
        self._completed.setdefault(event.subject, []).append(data.step)

    def _timer_fired(
        self, event: Event[Any], data: facts.TimerFired, run: RunState, spec: WorkflowSpec
    ) -> None:
        node = run.nodes.get(data.timer)
        self._expect(event, node is not None and node.status == "sleeping", "a timer that is set")
        assert node is not None and node.at is not None
        self._expect(event, event.time >= node.at, f"nothing before {node.at}")

    def _approval_passed(
        self, event: Event[Any], data: facts.ApprovalEscalated, run: RunState, spec: WorkflowSpec
    ) -> None:
        node = run.nodes.get(data.approval)
        is_due = (
            node is not None
            and node.status == "requested"
            and node.at is not None
            and event.time >= node.at
        )
        self._expect(event, is_due, "an approval that is due")

    def _approval_decided(
        self, event: Event[Any], data: facts.ApprovalApproved, run: RunState, spec: WorkflowSpec
    ) -> None:
        node, state = spec.nodes.get(data.approval), run.nodes.get(data.approval)
        self._expect(
            event, state is not None and state.status == "requested", "an approval that is asked"
        )
        assert isinstance(node, ApprovalNode)
        if node.by.startswith("user:"):
            self._expect(event, data.by == node.by, f"an answer of {node.by}")

    def _exception_opened(
        self, event: Event[Any], data: facts.ExceptionOpened, run: RunState, spec: WorkflowSpec
    ) -> None:
        self._expect(event, data.exception_id not in self._exceptions, "an id of its own")
        self._expect(event, bool(data.owner and data.route), "an owner and a route")
        self._exceptions.add(data.exception_id)

    def _exception_changed(
        self, event: Event[Any], data: facts.ExceptionResolved, run: RunState, spec: WorkflowSpec
    ) -> None:
        self._expect(event, data.exception_id in (run.exceptions or {}), "an open exception")

    def _run_waits(
        self, event: Event[Any], data: facts.RunWaiting, run: RunState, spec: WorkflowSpec
    ) -> None:
        self._expect(event, bool(data.waits), "something that it waits for")
        self._expect(event, all(wait.owner for wait in data.waits), "an owner of each wait")

    def _compensation_started(
        self, event: Event[Any], data: facts.CompensationStarted, run: RunState, spec: WorkflowSpec
    ) -> None:
        done = [
            name
            for name in self._completed.get(event.subject, [])
            if UNDO + name in plan_of(spec).undo and run.nodes[name].status == "succeeded"
        ]
        done += [
            name
            for name, node in run.nodes.items()
            if UNDO + name in plan_of(spec).undo
            and not node.has_ended
            and any(
                other.startswith(f"{name}[") and item.status == "succeeded"
                for other, item in run.nodes.items()
            )
        ]
        self._expect(event, list(data.steps) == done[::-1], f"{done[::-1]} to be undone")

    def _run_succeeded(
        self, event: Event[Any], data: facts.RunSucceeded, run: RunState, spec: WorkflowSpec
    ) -> None:
        if spec.observed:
            return
        ended = all(name in run.nodes and run.nodes[name].has_ended for name in spec.nodes)
        self._expect(event, ended, "all nodes to have ended")

    def _run_given_up(
        self, event: Event[Any], data: facts.RunFailed, run: RunState, spec: WorkflowSpec
    ) -> None:
        if run.undo is not None:
            self._expect(event, not run.undo.steps, f"{run.undo.steps} to be undone first")
            return
        done = [
            name
            for name, node in run.nodes.items()
            if node.status == "succeeded" and UNDO + name in plan_of(spec).undo
        ]
        self._expect(event, not done, f"{done} to be undone first")

    def _run_reopened(
        self, event: Event[Any], data: facts.RunReopened, run: RunState, spec: WorkflowSpec
    ) -> None:
        self._expect(event, spec.observed, "an observed run")


_CHECKS: dict[type[facts.Fact], Callable[..., None]] = {
    facts.StepStarted: Auditor._step_started,
    facts.StepSucceeded: Auditor._step_ended,
    facts.StepFailed: Auditor._step_ended,
    facts.StepFannedOut: Auditor._step_fanned_out,
    facts.StepJoined: Auditor._step_joined,
    facts.TimerFired: Auditor._timer_fired,
    facts.ApprovalEscalated: Auditor._approval_passed,
    facts.ApprovalExpired: Auditor._approval_passed,
    facts.ApprovalApproved: Auditor._approval_decided,
    facts.ApprovalDenied: Auditor._approval_decided,
    facts.ExceptionOpened: Auditor._exception_opened,
    facts.ExceptionAcknowledged: Auditor._exception_changed,
    facts.ExceptionAssigned: Auditor._exception_changed,
    facts.ExceptionResolved: Auditor._exception_changed,
    facts.RunWaiting: Auditor._run_waits,
    facts.RunHeld: Auditor._run_waits,
    facts.CompensationStarted: Auditor._compensation_started,
    facts.RunSucceeded: Auditor._run_succeeded,
    facts.RunFailed: Auditor._run_given_up,
    facts.RunCancelled: Auditor._run_given_up,
    facts.RunReopened: Auditor._run_reopened,
}
