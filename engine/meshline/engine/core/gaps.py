"""Closing the gap: the facts that are missing between a run's state and what its definition asks.

This is where runs move on: everything that is not the direct answer to a request comes from here,
and so a keeper that takes over after a crash, half-way through whatever it was, finishes it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import orjson

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.endings import end_run, ending
from meshline.engine.core.nodes import begin, close_node
from meshline.engine.core.openings import open_exception
from meshline.engine.core.owners import OWNER_GONE, gone_owners, open_gone
from meshline.engine.core.plan import Plan, plan_of
from meshline.engine.core.state import UNDO, RunState
from meshline.engine.core.waits import as_waits, current_waits, is_active, late_at
from meshline.events import facts
from meshline.workflow.spec import ApprovalNode, StepNode, WorkflowSpec

__all__ = ["close_gaps", "start_run"]


def close_gaps(spec: WorkflowSpec | None, run: RunState, moment: Moment) -> Decisions:
    """Yield what must be said now, given the time; nothing where all is as it should be.

    Args:
        spec: the run's definition; None where no worker here has it.
        run: each fact is to be applied to it before the next is asked for.
    """
    yield from _move_on(spec, run, moment)
    yield from open_gone(run, moment.people)


def _move_on(spec: WorkflowSpec | None, run: RunState, moment: Moment) -> Decisions:
    if run.has_ended:
        yield from _settle_exceptions(run, moment)
        return
    if spec is None:
        yield from _settle_gone(run, moment)
        yield from _no_worker(run)
        return
    if run.status == "accepted":
        yield start_run(spec, run, moment)
    yield from _settle_exceptions(run, moment, spec)
    yield from _late(spec, run, moment)
    if spec.observed:
        return
    if run.status == "paused":
        until = run.waits[0].until if run.waits else None
        if until is None or moment.now < until:
            yield from _failures(spec, run, moment)
            return
        yield Decision(facts.RunResumed(reason="the time that was given has passed"))
    plan = plan_of(spec)
    if run.undo is None:
        yield from _go_on(spec, plan, run, moment)
    if run.undo is not None:
        yield from _go_back(plan, run, spec, moment)
    yield from _come_to_rest(spec, run, moment)


def start_run(spec: WorkflowSpec, run: RunState, moment: Moment) -> Decision:
    """Return the start of an accepted run, with its five answers."""
    started = run.started_at if spec.observed and run.started_at else moment.now
    due_at = None if spec.due_s is None else started + timedelta(seconds=spec.due_s)
    return Decision(
        facts.RunStarted(
            workflow=spec.name,
            version=spec.version,
            trigger_id=run.trigger_id,
            trigger_type=spec.trigger_type,
            source=spec.source,
            owner=spec.owner,
            exception_route=spec.exception_route,
            expected_outcome=spec.expected_outcome,
            due_at=due_at,
            observed=spec.observed,
        ),
        time=started,
    )


# -- the parts ---------------------------------------------------------------------------------


How = Literal["retried", "skipped", "outcome", "run_ended", "resolved"]

_HOW: dict[str, How] = {"succeeded": "outcome", "skipped": "skipped", "abandoned": "run_ended"}
"""How an exception is closed when the node that it is about has come to this status."""

_ABOUT_NODES = frozenset({"approval_expired", "task_expired", "message_overdue"})
"""Kinds that are about a node and do not hold it."""


def _settle_exceptions(
    run: RunState, moment: Moment, spec: WorkflowSpec | None = None
) -> Decisions:
    """Close the exceptions that nothing hangs on any more."""
    for exception_id, opened in list((run.exceptions or {}).items()):
        how: How | None = None
        if run.has_ended:
            if opened.blocking or opened.kind == "overdue" or opened.kind in _ABOUT_NODES:
                how = "run_ended"
        elif opened.kind == "no_worker":
            how = "resolved" if spec is not None else None
        elif opened.blocking:
            node = run.nodes.get(opened.about)
            if node is None:
                # Of an item, whose state went when the run began to be undone.
                how = "retried" if run.undo is None else "run_ended"
            elif node.status != "held":
                how = _HOW.get(node.status, "retried")
        elif opened.kind in _ABOUT_NODES:
            node = run.nodes.get(opened.about)
            if node is not None and node.has_ended:
                how = _HOW.get(node.status, "outcome")
        if how is not None:
            yield Decision(facts.ExceptionResolved(exception_id=exception_id, how=how))
    yield from _settle_gone(run, moment)


def _settle_gone(run: RunState, moment: Moment) -> Decisions:
    """Close those that are about somebody who is back, or has nothing any more."""
    while True:
        gone = gone_owners(run, moment.people)
        over = (
            exception_id
            for exception_id, opened in (run.exceptions or {}).items()
            if opened.kind == OWNER_GONE and opened.about not in gone
        )
        found = next(over, None)
        if found is None:
            return
        # With it goes what it was itself to somebody: look again.
        how: How = "run_ended" if run.has_ended else "resolved"
        yield Decision(facts.ExceptionResolved(exception_id=found, how=how))


def _no_worker(run: RunState) -> Decisions:
    """Say that no worker knows the run's definition: an exception, not silence."""
    opened = run.exceptions or {}
    if not any(e.kind == "no_worker" for e in opened.values()):
        yield open_exception(
            run,
            "no_worker",
            "",
            f"No worker has version {run.version} of workflow {run.workflow!r}. Start a worker "
            "with it, or cancel the run.",
            blocking=True,
            severity="high",
        )
    if run.status in ("running", "waiting", "held"):
        waits = current_waits(None, run)
        if run.status == "running" or waits != run.waits:
            yield Decision(facts.RunHeld(waits=as_waits(waits)))


def _late(spec: WorkflowSpec, run: RunState, moment: Moment) -> Decisions:
    if run.due_at is None or run.overdue or moment.now < late_at(spec, run, run.due_at):
        return
    yield open_exception(
        run,
        "overdue",
        "",
        f"Expected {spec.expected_outcome} by {run.due_at:%Y-%m-%d %H:%M} UTC, but the run is "
        f"{run.status}.",
        blocking=False,
    )._replace(time=run.due_at if spec.observed else None)


def _failures(spec: WorkflowSpec, run: RunState, moment: Moment) -> Decisions:
    plan = plan_of(spec)
    for name, state in list(run.nodes.items()):
        step = plan.step(name, spec)
        if step is not None and state.status == "failed":
            yield from close_node(spec, run, step, state, moment)


def _go_on(spec: WorkflowSpec, plan: Plan, run: RunState, moment: Moment) -> Decisions:
    """Move every node on that can move, dependencies first; end the run when all have ended."""
    all_ended = True
    for node in plan.order:
        state = run.nodes.get(node.name)
        if state is None or (state.status == "ready" and state.attempt == 0):
            yield from begin(spec, run, node, moment)
        elif not state.has_ended:
            yield from close_node(spec, run, node, state, moment)
        state = run.nodes.get(node.name)
        if state is None or not state.has_ended:
            all_ended = False
        elif state.status == "denied" and isinstance(node, ApprovalNode) and node.denied == "end":
            yield Decision(end_run(spec, run, "cancelled", f"{node.name} was denied"))
        if run.undo is not None or run.has_ended:
            return
    if all_ended:
        yield from _finish(spec, run)


def _finish(spec: WorkflowSpec, run: RunState) -> Decisions:
    if spec.outcome_node is None:
        yield Decision(facts.RunSucceeded())
        return
    value = run.nodes[spec.outcome_node].value
    if value is not None:
        yield Decision(facts.RunSucceeded(outcome=orjson.loads(value)))
        return
    yield open_exception(
        run,
        "outcome_missing",
        spec.outcome_node,
        f"Expected {spec.expected_outcome} from {spec.outcome_node!r}, but it was skipped and all "
        "other steps have ended. Skip it with a value, retry it, or cancel the run.",
        blocking=True,
    )


def _go_back(plan: Plan, run: RunState, spec: WorkflowSpec, moment: Moment) -> Decisions:
    """Undo the next step; one at a time, last first."""
    while run.undo is not None and run.undo.steps:
        before = run.undo.steps
        step: StepNode = plan.undo[UNDO + before[0]]
        state = run.nodes.get(step.name)
        if state is None or (state.status == "ready" and state.attempt == 0):
            yield Decision(facts.StepStarted(step=step.name, attempt=1, why="compensation"))
        elif not state.has_ended:
            yield from close_node(spec, run, step, state, moment)
        if run.undo.steps == before:
            return
    if run.undo is not None:
        yield Decision(ending(run.undo.then, run.undo.reason))


def _come_to_rest(spec: WorkflowSpec, run: RunState, moment: Moment) -> Decisions:
    """Close what is settled by now; say what the run waits for if nothing is being done for it."""
    yield from _settle_exceptions(run, moment, spec)
    if run.has_ended:
        return
    if run.status == "paused" or is_active(spec, run):
        return
    waits = current_waits(spec, run)
    if run.status != "running" and waits == run.waits:
        return
    if all(wait.kind == "exception" for wait in waits):
        yield Decision(facts.RunHeld(waits=as_waits(waits)))
    else:
        yield Decision(facts.RunWaiting(waits=as_waits(waits)))
