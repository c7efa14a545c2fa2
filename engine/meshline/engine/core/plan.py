"""A definition, prepared for deciding: nodes in the order of their dependencies, and undo steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from graphlib import TopologicalSorter

from meshline.engine.core.items import item_name, parts_of
from meshline.engine.core.state import UNDO
from meshline.workflow.spec import Node, StepNode, WorkflowSpec

__all__ = ["ItemStep", "Plan", "plan_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemStep(StepNode):
    """A step that is done for each item of a list, as it is done for one of them."""

    index: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Args:
    order: every node after all that it depends on, else as written.
    undo: by the name under which it runs, the compensation of a step, as a step of its own.
    """

    order: tuple[Node, ...]
    undo: Mapping[str, StepNode]
    _items: dict[str, ItemStep] = field(default_factory=dict)

    def step(self, name: str, spec: WorkflowSpec) -> StepNode | None:
        """Return the step, the compensation or the step for one item that runs under this name."""
        node = self.undo.get(name) or spec.nodes.get(name)
        if isinstance(node, StepNode):
            return node
        parts = None if node is not None else parts_of(name)
        if parts is None:
            return None
        whole, index = spec.nodes.get(parts[0]), parts[1]
        if not isinstance(whole, StepNode) or whole.each is None or index >= whole.each.items_max:
            return None
        return self.item(whole, index)

    def item(self, node: StepNode, index: int) -> ItemStep:
        """Return the step as it is done for this item; made once."""
        name = item_name(node.name, index)
        found = self._items.get(name)
        if found is None:
            assert node.each is not None
            same = {each.name: getattr(node, each.name) for each in fields(StepNode)}
            own = {"name": name, "index": index, "result": node.each.result, "compensation": None}
            found = self._items[name] = ItemStep(**same | own)
        return found


PLANS_KEPT = 256
"""Definitions that are loaded again and again, or made up by the thousand, must not stay."""

_PLANS: dict[int, tuple[WorkflowSpec, Plan]] = {}


def plan_of(spec: WorkflowSpec) -> Plan:
    """Return the plan of a definition, made once for each."""
    found = _PLANS.get(id(spec))
    if found is None or found[0] is not spec:
        found = (spec, _make(spec))
        _PLANS.pop(id(spec), None)
        if len(_PLANS) >= PLANS_KEPT:
            del _PLANS[next(iter(_PLANS))]
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
