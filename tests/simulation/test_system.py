"""Histories of the whole system out of seeds, and the kit that makes and tells them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from meshline.events.publish import Trigger
from meshline.projections.projector import Projector
from meshline.testing import Simulation, simulate
from meshline.testing.simulate import Job, Outcome, kept_seeds, perform, simulate_all, write_story
from meshline.testing.simulation import Plan, Strike
from meshline.testing.simulation.plan import POINTS, RATES
from tests.simulation.breaking import break_code

KEPT = kept_seeds(Path(__file__).with_name("seeds.txt"))
SEEDS = 250

# Faults of which each must really strike; a crash at any point counts apart.
FAULTS = {
    *RATES, "crash", "freeze", "cut", "slow", "skew", "jump", "rebalance", "rebalanced", "restart",
    "deploy", "rebuild", "swap", "rollback", "poison", "swapped", "store_session_lost",
    "snapshot_used", "snapshot_unusable", "step_done_again", "client_unknown", "client_fail",
}  # fmt: skip
CRASHES = {f"crash at {point}" for point in POINTS}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """What comes of many seeds, run once, on all cores."""
    jobs = [*KEPT, *(Job("system", seed) for seed in range(SEEDS))]
    return list(simulate_all(jobs, os.cpu_count() or 1))


@pytest.mark.slow
def test_every_history_holds(outcomes: list[Outcome]) -> None:
    failed = [f"{outcome.job}: {outcome.error}" for outcome in outcomes if outcome.error]

    assert failed == [], "mend it, and keep the seed in seeds.txt"


@pytest.mark.slow
def test_every_kind_of_fault_really_strikes(outcomes: list[Outcome]) -> None:
    struck: Counter[str] = Counter()
    for outcome in outcomes:
        struck.update(outcome.struck)

    assert {fault for fault in FAULTS if not struck[fault]} == set()
    assert {crash for crash in CRASHES if not struck[crash]} == set()


HASHES = """
from meshline.testing import Simulation
print([Simulation(seed=seed).run().log_hash for seed in range(40, 46)])
"""


def test_the_same_seed_is_the_same_history_whatever_the_hashes_of_the_process() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", HASHES],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert said[0] == said[1]
    assert len(set(said[0].split(","))) == 6


def test_a_plan_without_faults_is_a_quiet_history() -> None:
    report = Simulation(plan=Plan(7, requests=6)).run()

    assert report.void_facts == 0
    assert not {*report.struck} & {*RATES, *CRASHES, "crash", "freeze"}


def test_each_seed_draws_its_own_mix() -> None:
    plans = [Plan.of(seed) for seed in range(50)]

    assert len({plan.workers for plan in plans}) == 3
    assert len({len(plan.strikes) for plan in plans}) > 3
    assert len({tuple(sorted((plan.rates or {}).items())) for plan in plans}) > 40


def test_what_fails_is_made_small_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_code(monkeypatch, Projector._put_off, "charge.failures += 1", "raise KeyError(1)")
    plan = Plan(
        3,
        rates={"store_fails": 1.0, "append_lost": 0.1},
        strikes=(Strike("jump", 1.0, amount=1.0), Strike("freeze", 2.0, "worker0", for_s=1.0)),
    )
    monkeypatch.setattr(Plan, "of", lambda seed: plan)

    story = write_story(3, tmp_path).read_text("utf-8")

    assert "KeyError: 1" in story
    assert "store_fails: 1.0" in story
    assert "append_lost" not in story and "jump" not in story and "stands still" not in story
    assert "projector0  starts" in story


def test_the_runner_says_which_seed_failed_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(job: Job) -> Outcome:
        return Outcome(job, "it does not hold" if job.seed == 1 else "", Counter(crash=1))

    monkeypatch.setattr(simulate, "perform", failing)

    code = simulate.main(["--kind", "keeper", "--seeds", "3", "--jobs", "1", "--counts"])

    said = capsys.readouterr().out
    assert code == 1
    assert "FAILED: keeper 1: it does not hold" in said
    assert "3 crash" in said
    assert "3 simulations in" in said and "1 failed" in said


def test_jobs_are_of_all_kinds_and_none_comes_twice() -> None:
    jobs = list(simulate.jobs_of(100))

    assert len(set(jobs)) == 100
    kinds = {"keeper": 50, "people": 10, "fan-outs": 10, "system": 30}
    assert Counter(job.kind for job in jobs) == kinds


def test_what_a_job_raises_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    break_code(monkeypatch, Projector._put_off, "charge.failures += 1", "raise KeyError(1)")
    monkeypatch.setattr(Plan, "of", lambda seed: Plan(3, rates={"store_fails": 1.0}))

    outcome = perform(Job("system", 3))

    assert "KeyError: 1" in outcome.error and "projector0 ended with it" in outcome.error


def test_a_file_of_seeds_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text("nobody 3 words\n", "utf-8")

    with pytest.raises(ValueError, match="expected one of keeper, fan-outs, people, system"):
        kept_seeds(file)


def test_workflows_need_triggers() -> None:
    with pytest.raises(ValueError, match="expected some of both"):
        Simulation(triggers=[Trigger("shop", {}, "1")])
