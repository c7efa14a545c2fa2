"""Histories of partitions with a directory that changes, and of people who may and may not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from meshline.engine.core import directory
from meshline.testing.keeper_simulation import KeeperSimulation, simulate_keeper
from tests.simulation.breaking import break_code

SEEDS = 60
CHUNK = 20
SEEDS_MAX = 100


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_history_holds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate_keeper(seed, people=True)
        except Exception as error:
            error.add_note(f"seed {seed}, people=True: keep it")
            raise


def test_histories_are_hard() -> None:
    said: list[bytes] = []
    for seed in range(40):
        simulation = KeeperSimulation(Random(seed), people=True)
        simulation.run()
        said += [record.value for record in simulation.log.records]

    for word, least in (
        (b"directory.changed", 30), (b'"outdated"', 10), (b'"inconsistent"', 10),
        (b'"not_allowed"', 10),
    ):  # fmt: skip
        assert sum(word in value for value in said) >= least, word


# What is broken: the function, a piece of it, and what stands there instead.
MUTANTS: dict[str, tuple[Callable[..., Any] | property, str, str]] = {
    "an older directory takes the place of a newer one": (
        directory.answer_directory, "if (data.number, found) < (", "if (9, found) < (",
    ),
}  # fmt: skip


def first_failure() -> int | None:
    for seed in range(SEEDS_MAX):
        try:
            simulate_keeper(seed, people=True)
        except Exception:
            return seed
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_broken_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new = MUTANTS[name]
    break_code(monkeypatch, function, old, new)

    assert first_failure() is not None, f"{name}: not found by {SEEDS_MAX} seeds"
