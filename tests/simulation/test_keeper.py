"""Histories out of seeds: whatever happens, what the log says holds, and every run ends."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshline.testing.keeper_simulation import KeeperSimulation, simulate_keeper

SEEDS = 300
CHUNK = 30


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_history_holds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate_keeper(seed)
        except Exception as error:
            error.add_note(f"seed {seed}: keep it in seeds.txt")
            raise


def test_the_same_seed_is_the_same_history() -> None:
    assert [simulate_keeper(seed) for seed in range(5)] == [
        simulate_keeper(seed) for seed in range(5)
    ]


def test_histories_are_hard() -> None:
    reports = [simulate_keeper(seed) for seed in range(60)]

    assert len({report.log_hash for report in reports}) == 60
    assert sum(report.void_facts for report in reports) > 50
    assert sum(report.claims for report in reports) > 150
    assert sum(report.runs for report in reports) > 100


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False), steps=st.integers(5, 60))
def test_histories_that_hypothesis_thinks_of_hold(random: Random, steps: int) -> None:
    KeeperSimulation(random, steps).run()
