"""Simulations by the thousand: ``python -m meshline.testing.simulate --seeds 3000``.

Most seeds are of keepers alone, which are quick; the others are of the whole system. Of each that
fails it says the seed and what does not hold, and writes a story that a person can read: what
struck, what was said, made as short as it can be.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshline.testing.keeper_simulation import simulate_keeper
from meshline.testing.simulation import Plan, Simulation
from meshline.testing.simulation.shrinking import failure_of, shrink

__all__ = ["Job", "Outcome", "kept_seeds", "main", "perform", "simulate_all", "write_story"]

SYSTEM_OF_TEN = 3
"""How many of ten seeds are of the whole system."""

_LAST_OF_TEN = {8: "people", 9: "fan-outs"}
SAID_EACH = 10_000
"""After so many simulations it says that it is still at it."""

_KINDS = ("keeper", "fan-outs", "people", "system")


@dataclass(frozen=True)
class Job:
    """One seed of one kind: ``keeper``, ``fan-outs`` or ``people`` (keepers too), ``system``."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind} {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came of a job; ``error`` says in words what did not hold, empty if all did."""

    job: Job
    error: str
    struck: Counter[str]


def perform(job: Job) -> Outcome:
    """Run the simulation of a job."""
    struck: Counter[str] = Counter()
    try:
        if job.kind == "system":
            struck = Simulation(seed=job.seed).run().struck
        else:
            simulate_keeper(job.seed, fan_outs=job.kind == "fan-outs", people=job.kind == "people")
    except Exception as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return Outcome(job, f"{type(error).__name__}: {error}{notes}", struck)
    return Outcome(job, "", struck)


def jobs_of(seeds: int, first: int = 0, kind: str = "mixed") -> Iterator[Job]:
    """Yield so many jobs; each kind has all of its seeds from ``first`` on."""
    if kind != "mixed":
        yield from (Job(kind, seed) for seed in range(first, first + seeds))
        return
    numbers = dict.fromkeys(_KINDS, first)
    for number in range(seeds):
        place = number % 10
        kind = "system" if place < SYSTEM_OF_TEN else _LAST_OF_TEN.get(place, "keeper")
        yield Job(kind, numbers[kind])
        numbers[kind] += 1


def kept_seeds(file: Path) -> list[Job]:
    """Return what a file keeps: a line is a kind, a seed, and what it once showed."""
    jobs = []
    for line in file.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            kind, seed, *_ = line.split()
            if kind not in _KINDS:
                raise ValueError(f"{file}: kind {kind!r}: expected one of {', '.join(_KINDS)}")
            jobs.append(Job(kind, int(seed)))
    return jobs


def simulate_all(jobs: Iterable[Job], processes: int) -> Iterator[Outcome]:
    """Yield what comes of the jobs, as they end."""
    if processes == 1:
        yield from map(perform, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        yield from pool.imap_unordered(perform, jobs, chunksize=20)


def write_story(seed: int, folder: Path) -> Path:
    """Shrink what a seed of the whole system shows, and write down how it comes about."""

    def run(plan: Plan, tell: object = None) -> object:
        return Simulation(plan=plan, tell=tell).run()  # type: ignore[arg-type]

    plan = Plan.of(seed)
    failure = failure_of(run, plan)
    assert failure is not None, f"seed {seed} holds"
    small = shrink(run, plan, failure)
    lines: list[str] = []
    shown = failure_of(run, small, lines.append)
    what = shown.text if shown is not None else failure.text
    strikes = [f"  {strike.at_s:8.3f} {strike}" for strike in small.strikes]
    rates = [f"  {name}: {rate}" for name, rate in (small.rates or {}).items() if rate]
    text = [
        f"Seed {seed}: {small.workers} workers, {small.projectors} projectors, {small.clients} "
        f"clients, {small.partitions} partitions, {small.requests} requests.",
        "", "What does not hold:", what, "", "What strikes:", *strikes, *rates, "",
        "What happens (seconds, who, what; ! is a fault):", *lines,
    ]  # fmt: skip
    file = folder / f"simulation-{seed}.txt"
    file.write_text("\n".join(text) + "\n", "utf-8")
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if all held, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m meshline.testing.simulate")
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed of each kind")
    parser.add_argument("--kind", choices=["mixed", *_KINDS], default="mixed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--stories", type=Path, default=Path(), help="where stories are written")
    parser.add_argument("--kept", type=Path, help="a file of seeds that are run first")
    parser.add_argument("--counts", action="store_true", help="say how often each fault struck")
    options = parser.parse_args(arguments)
    jobs = [*(kept_seeds(options.kept) if options.kept else ())]
    jobs += jobs_of(options.seeds, options.first, options.kind)
    started = time.perf_counter()
    struck: Counter[str] = Counter()
    failed: list[Outcome] = []
    for done, outcome in enumerate(simulate_all(jobs, options.jobs), 1):
        struck.update(outcome.struck)
        if done % SAID_EACH == 0:
            sys.stdout.write(f"{done} done in {time.perf_counter() - started:.0f} s\n")
            sys.stdout.flush()
        if outcome.error:
            failed.append(outcome)
            sys.stdout.write(f"FAILED: {outcome.job}: {outcome.error}\n")
            sys.stdout.flush()
    for outcome in failed[:3]:
        if outcome.job.kind == "system":
            sys.stdout.write(f"story: {write_story(outcome.job.seed, options.stories)}\n")
    if options.counts:
        sys.stdout.writelines(f"{count:8} {kind}\n" for kind, count in sorted(struck.items()))
    sys.stdout.write(
        f"{len(jobs)} simulations in {time.perf_counter() - started:.0f} s: {len(failed)} failed, "
        f"{sum(struck.values())} faults struck\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
