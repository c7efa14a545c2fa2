"""What a workflow's definition says of each fact of its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshline.engine.core.audit_rules import Case, Wrong
from meshline.engine.core.audit_tasks import TASK_DEFINED
from meshline.engine.core.items import step_of
from meshline.engine.core.plan import ItemStep, plan_of
from meshline.engine.core.state import UNDO
from meshline.events import facts
from meshline.workflow.spec import StepNode, WorkflowSpec

__all__ = ["DEFINED"]

Defined = Callable[[Case, Any, WorkflowSpec], Iterator[Wrong]]

_TURN = "fact_out_of_turn"


def _step_started(case: Case, data: facts.StepStarted, spec: WorkflowSpec) -> Iterator[Wrong]:
    run = case.run
    node = plan_of(spec).step(data.step, spec)
    if node is None:
        yield Wrong(_TURN, "a step of the workflow")
        return
    if isinstance(node, ItemStep):
        whole = run.nodes.get(step_of(data.step))
        count = 0 if whole is None or whole.status != "fanned_out" else whole.items
        if node.index >= count:
            yield Wrong(_TURN, f"one of {count} items")
    elif node.each is not None:
        yield Wrong(_TURN, "the items to be begun, not the whole")
    if (data.until is not None) != node.outside:
        yield Wrong(_TURN, "a limit for outside work")
    if (run.undo is not None) != data.step.startswith(UNDO):
        yield Wrong(_TURN, "undoing or going on")


def _step_failed(case: Case, data: facts.StepFailed, spec: WorkflowSpec) -> Iterator[Wrong]:
    step, node = plan_of(spec).step(data.step, spec), case.run.nodes.get(data.step)
    failures = 0 if node is None else node.failures
    if isinstance(step, StepNode) and failures >= step.retry.maximum_attempts:
        most = step.retry.maximum_attempts
        yield Wrong("attempts_exceeded", f"no more tries than allowed: {most}")


def _step_fanned_out(case: Case, data: facts.StepFannedOut, spec: WorkflowSpec) -> Iterator[Wrong]:
    node, before = spec.nodes.get(data.step), case.run.nodes.get(data.step)
    each = node.each if isinstance(node, StepNode) else None
    if each is None:
        yield Wrong(_TURN, "a step that is done for each of a list")
        return
    if not 0 <= data.count <= each.items_max:
        yield Wrong(_TURN, f"at most {each.items_max} items")
    if before is not None and before.status != "ready":
        yield Wrong(_TURN, "a step that is to begin")
    if case.run.undo is not None:
        yield Wrong(_TURN, "nothing but undoing")


def _compensation_started(
    case: Case, data: facts.CompensationStarted, spec: WorkflowSpec
) -> Iterator[Wrong]:
    nodes, undo = case.run.nodes, plan_of(spec).undo
    done = [
        name
        for name in case.noted.completed
        if UNDO + name in undo and name in nodes and nodes[name].status == "succeeded"
    ]
    done += [
        name
        for name, node in nodes.items()
        if UNDO + name in undo
        and not node.has_ended
        and any(
            other.startswith(f"{name}[") and item.status == "succeeded"
            for other, item in nodes.items()
        )
    ]
    if list(data.steps) != done[::-1]:
        yield Wrong(_TURN, f"{done[::-1]} to be undone")


def _run_succeeded(case: Case, data: facts.RunSucceeded, spec: WorkflowSpec) -> Iterator[Wrong]:
    nodes = case.run.nodes
    if not spec.observed and not all(
        name in nodes and nodes[name].has_ended for name in spec.nodes
    ):
        yield Wrong(_TURN, "all nodes to have ended")


def _run_given_up(case: Case, data: facts.RunFailed, spec: WorkflowSpec) -> Iterator[Wrong]:
    run = case.run
    if run.undo is not None:
        if run.undo.steps:
            yield Wrong(_TURN, f"{run.undo.steps} to be undone first")
        return
    undo = plan_of(spec).undo
    done = [n for n, node in run.nodes.items() if node.status == "succeeded" and UNDO + n in undo]
    if done:
        yield Wrong(_TURN, f"{done} to be undone first")


def _run_reopened(case: Case, data: facts.RunReopened, spec: WorkflowSpec) -> Iterator[Wrong]:
    if not spec.observed:
        yield Wrong("fact_after_end", "an observed run")


DEFINED: dict[type[facts.Fact], Defined] = {
    facts.StepStarted: _step_started,
    facts.StepFailed: _step_failed,
    facts.StepFannedOut: _step_fanned_out,
    **TASK_DEFINED,
    facts.CompensationStarted: _compensation_started,
    facts.RunSucceeded: _run_succeeded,
    facts.RunFailed: _run_given_up,
    facts.RunCancelled: _run_given_up,
    facts.RunReopened: _run_reopened,
}
