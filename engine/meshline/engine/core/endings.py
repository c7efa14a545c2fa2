"""Ending a run early: at once, or by undoing first what was done."""

from __future__ import annotations

from typing import Literal

from meshline.engine.core.items import item_names
from meshline.engine.core.plan import plan_of
from meshline.engine.core.state import UNDO, RunState
from meshline.events import facts
from meshline.workflow.spec import WorkflowSpec

__all__ = ["end_run", "ending"]


def end_run(
    spec: WorkflowSpec,
    run: RunState,
    then: Literal["failed", "cancelled"],
    reason: str,
) -> facts.CompensationStarted | facts.RunFailed | facts.RunCancelled:
    """Return the fact that ends the run, or the one that says that it is undone first."""
    # By the order in which they succeeded in the log: the clocks of several keepers may differ.
    done = [
        name
        for name, node in run.nodes.items()
        if node.status == "succeeded" and UNDO + name in plan_of(spec).undo
    ]
    # What is done for some of its items so far is undone first: it is the latest.
    done += [name for name in run.nodes if UNDO + name in plan_of(spec).undo and _partly(run, name)]
    if done:
        return facts.CompensationStarted(then=then, reason=reason, steps=tuple(reversed(done)))
    return ending(then, reason)


def _partly(run: RunState, name: str) -> bool:
    node = run.nodes[name]
    if not node.items or node.has_ended:
        return False
    items = (run.nodes.get(item) for item in item_names(name, node.items))
    return any(item is not None and item.status == "succeeded" for item in items)


def ending(
    then: Literal["failed", "cancelled"], reason: str
) -> facts.RunFailed | facts.RunCancelled:
    """Return the fact that ends the run in this way."""
    if then == "failed":
        return facts.RunFailed(reason=reason)
    return facts.RunCancelled(reason=reason)
