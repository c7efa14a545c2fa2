"""A definition, prepared for deciding: nodes in the order of their dependencies, and undo steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from meshline.engine.core.state import UNDO
from meshline.workflow.spec import Node, StepNode, WorkflowSpec

__all__ = ["Plan", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Args:
    order: every node after all that it depends on, else as written.
    undo: by the name under which it runs, the compensation of a step, as a step of its own.
    """

    order: tuple[Node, ...]
    undo: Mapping[str, StepNode]

    def step(self, name: str, spec: WorkflowSpec) -> StepNode | None:
        """Return the step or the compensation that runs under this name."""
        node = self.undo.get(name) or spec.nodes.get(name)
        return node if isinstance(node, StepNode) else None


_PLANS: dict[int, tuple[WorkflowSpec, Plan]] = {}


def plan_of(spec: WorkflowSpec) -> Plan:
    """Return the plan of a definition, made once for each."""
    found = _PLANS.get(id(spec))
    if found is None or found[0] is not spec:
        found = (spec, _make(spec))
        _PLANS[id(spec)] = found
    return found[1]


def _make(spec: WorkflowSpec) -> Plan:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, node in spec.nodes.items():
        sorter.add(name, *(n for n in (*node.needs, *node.wants) if n in spec.nodes))
    written = {name: number for number, name in enumerate(spec.nodes)}
    order: list[Node] = []
    sorter.prepare()
    while sorter.is_active():
        for name in sorted(sorter.get_ready(), key=written.__getitem__):
            order.append(spec.nodes[name])
            sorter.done(name)
    undo: dict[str, StepNode] = {}
    for node in spec.nodes.values():
        if isinstance(node, StepNode) and node.compensation is not None:
            how = node.compensation
            undo[UNDO + node.name] = StepNode(
                name=UNDO + node.name,
                parameters=how.parameters,
                call=how.call,
                is_async=how.is_async,
                retry=node.retry,
                start_to_close_s=node.start_to_close_s,
                concurrency_max=node.concurrency_max,
            )
    return Plan(tuple(order), undo)
