"""Random workflows are the same for the same seed, and have everything in them."""

from __future__ import annotations

from collections import Counter
from random import Random

from meshline.engine.core.plan import plan_of
from meshline.testing.random_workflows import random_observed, random_workflow
from meshline.workflow.spec import StepNode, WorkflowSpec


def some() -> list[WorkflowSpec]:
    return [random_workflow(Random(seed), "w", 1) for seed in range(200)]


def test_one_seed_is_one_workflow() -> None:
    one, other = random_workflow(Random(5), "w", 1), random_workflow(Random(5), "w", 1)

    assert list(one.nodes) == list(other.nodes)
    assert [node.needs for node in one.nodes.values()] == [n.needs for n in other.nodes.values()]


def test_they_hold_all_that_a_definition_can_say() -> None:
    kinds: Counter[str] = Counter()
    for spec in some():
        for node in spec.nodes.values():
            kinds[type(node).__name__] += 1
            kinds["condition"] += node.condition is not None
            if isinstance(node, StepNode):
                kinds["outside"] += node.outside
                kinds["compensation"] += node.compensation is not None

    assert min(kinds.values()) > 20
    assert len(kinds) == 9


def test_their_graphs_can_be_run() -> None:
    for spec in some():
        order = [node.name for node in plan_of(spec).order]
        assert sorted(order) == sorted(spec.nodes)
        assert spec.outcome_node in spec.nodes


def test_an_observed_one_has_no_nodes() -> None:
    assert random_observed("w").observed
    assert not random_observed("w").nodes
