"""Plans: made once for each definition, and not kept for ever."""

from __future__ import annotations

from random import Random

from meshline.engine.core import plan
from meshline.engine.core.plan import PLANS_KEPT, plan_of
from meshline.testing.random_workflows import random_workflow


def test_a_plan_is_made_once() -> None:
    spec = random_workflow(Random(1), "one", 1)

    assert plan_of(spec) is plan_of(spec)


def test_of_many_definitions_the_plans_of_the_last_are_kept() -> None:
    specs = [random_workflow(Random(1), f"w{number}", 1) for number in range(PLANS_KEPT + 5)]
    plans = [plan_of(spec) for spec in specs]

    assert len(plan._PLANS) == PLANS_KEPT
    assert plan_of(specs[-1]) is plans[-1]
    assert plan_of(specs[0]) is not plans[0]
