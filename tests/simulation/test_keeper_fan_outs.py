"""Histories of workflows with steps that are done for each item of a list, whole and broken."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshline.engine.core import appliers, endings, nodes, plan
from meshline.engine.core.state import NodeState
from meshline.testing.keeper_simulation import KeeperSimulation, simulate_keeper
from tests.simulation.breaking import assert_found, break_code

SEEDS = 60
CHUNK = 20
SEEDS_MAX = 600


@pytest.mark.parametrize("room", [1, 2, 100])
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_history_holds(first: int, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "ITEMS_UNDER_WAY_MAX", room)
    for seed in range(first, first + CHUNK):
        try:
            simulate_keeper(seed, fan_outs=True)
        except Exception as error:
            error.add_note(f"seed {seed}, fan_outs=True, room for {room}: keep it")
            raise


def test_histories_are_hard() -> None:
    said: list[bytes] = []
    for seed in range(40):
        simulation = KeeperSimulation(Random(seed), fan_outs=True)
        simulation.run()
        said += [record.value for record in simulation.log.records]

    for word, least in ((b"fanned.out", 30), (b"step.joined", 30), (b"fan_out_too_wide", 20)):
        assert sum(word in value for value in said) >= least, word
    assert sum(b"[2]" in value for value in said) > 30


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False), steps=st.integers(5, 60))
def test_histories_that_hypothesis_thinks_of_hold(random: Random, steps: int) -> None:
    KeeperSimulation(random, steps, fan_outs=True).run()


# What is broken: the function, a piece of it, and what stands there instead.
MUTANTS: dict[str, tuple[Callable[..., Any] | property, str, str]] = {
    "an item is joined before all have ended": (
        nodes._fanned_out, "if room == ITEMS_UNDER_WAY_MAX:", "if True:",
    ),
    "items are never joined": (
        nodes._fanned_out, "yield _join(spec, run, node, whole)", "pass",
    ),
    "items are begun again and again": (
        nodes._fanned_out, "if state is not None and state.status in NODE_ENDED:", "if False:",
    ),
    "no item is moved on": (
        nodes._fanned_out, "yield from close_node(spec, run, item, state, moment)", "pass",
    ),
    "items are begun after the end": (
        nodes._fanned_out, "if run.undo is not None or run.has_ended:", "if False:",
    ),
    "any number of items is begun": (
        nodes._begin_step, "if count > node.each.items_max:", "if False:",
    ),
    "items stay after the join": (
        appliers._taken_items, "run.nodes.pop(", "run.nodes.get(",
    ),
    "what is done for some items is not undone": (
        endings.end_run,
        "if UNDO + name in plan_of(spec).undo and _partly(run, name)", "if False",
    ),
    "items are left when the run is undone": (
        appliers._compensation_started, "if node.items and not node.has_ended:", "if False:",
    ),
    "an item is no step": (
        plan.Plan.step, "return self.item(whole, index)", "return None",
    ),
    "how many items there are is forgotten": (
        NodeState.to, "_replace(status", "_replace(items=0, status",
    ),
}  # fmt: skip

# What few seeds find, and the seed that found it last.
FOUND_BY = {
    "what is done for some items is not undone": 156,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new = MUTANTS[name]
    break_code(monkeypatch, function, old, new)
    monkeypatch.setattr(nodes, "ITEMS_UNDER_WAY_MAX", 100)

    assert_found(
        name,
        range(SEEDS_MAX),
        lambda seed: simulate_keeper(seed, fan_outs=True),
        FOUND_BY.get(name, 0),
    )
