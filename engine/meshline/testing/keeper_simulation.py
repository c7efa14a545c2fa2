"""One seed, one history: keepers, a faulty log, people and clocks, all out of one generator.

Nothing here waits or runs in parallel; what may happen at the same time happens in some order, and
the seed says in which. First a time of troubles, with crashes, standstills, jumping clocks, claims
out of turn and an unreliable network; then everything is healed, and every run must come to its
end. All along, an ``Auditor`` reads the log, and what a keeper believes is compared with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from meshline.engine.core.draft import Outcome
from meshline.engine.core.effects import CancelSteps, PerformStep
from meshline.engine.core.invariants import problems_of
from meshline.engine.core.keeper import Keeper, KeeperLimits, UnderWay
from meshline.engine.core.plan import plan_of
from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import dump_state, load_state
from meshline.events.log.protocol import Accepted, AppendResult
from meshline.testing.auditor import Auditor
from meshline.testing.crowd import Crowd, random_error
from meshline.testing.faulty_log import FaultyLog
from meshline.testing.random_workflows import (
    EPOCH,
    random_observed,
    random_workflow,
    result_of,
)
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["KeeperReport", "KeeperSimulation", "StateDiverged", "difference", "simulate_keeper"]

HEALING_ROUNDS_MAX = 40
PATIENT_ROUNDS = 8
"""Healing rounds in which people try again before they skip and cancel."""

_LIMITS = KeeperLimits(proposal_bytes_max=6_000, looked_at_max=3, requests_waiting_max=4)
"""So small that every limit is reached."""


class StateDiverged(AssertionError):
    """Two readers of the same log believe different things, or a run is stuck."""


@dataclass(frozen=True)
class KeeperReport:
    """What a simulation came to, to see that it was a hard one.

    Args:
        log_hash: of all records; equal for equal seeds.
    """

    log_hash: str
    records: int
    runs: int
    claims: int
    void_facts: int


class SimulatedWorker:
    """A process with one keeper: it reads, proposes, performs, stands still and crashes."""

    def __init__(self, name: str, world: KeeperSimulation, registry: Registry) -> None:
        self.name = name
        self.skew_s = 0.0
        self.standstill = 0
        self._world = world
        self.registry = registry
        self._random = world.random
        self._claims = 0
        self._snapshot: list[bytes] | None = None
        self._start()

    def _start(self) -> None:
        state = PartitionState(0) if self._snapshot is None else load_state(iter(self._snapshot))
        self.under_way = UnderWay()
        self.tries: list[PerformStep] = []
        self.keeper = Keeper(
            state, self.registry, name=self.name, source="simulation",
            under_way=self.under_way, limits=_LIMITS,
        )  # fmt: skip

    def crash(self) -> None:
        """Lose all but what is on its way and, perhaps, a snapshot."""
        if self._random.random() < 0.5:
            self._snapshot = None
        self._start()

    def save(self) -> None:
        if self.keeper.is_active and not self.keeper.is_proposing:
            self._snapshot = list(dump_state(self.keeper.state))

    def now(self) -> datetime:
        return self._world.now + timedelta(seconds=self.skew_s)

    def replace_registry(self, registry: Registry) -> None:
        self.registry = registry
        self.keeper.replace_registry(registry)

    def claim(self) -> None:
        self._claims += 1
        keeper = self.keeper
        entry = keeper.claim(f"{self.name}{self._claims}", self.now())

        def answered(result: AppendResult) -> None:
            if keeper is self.keeper and not isinstance(result, Accepted):
                keeper.forget_claim()

        self._world.log.append([entry], answered)

    def read(self, count: int) -> None:
        keeper = self.keeper
        if keeper.wants_records:
            first = keeper.state.next_offset
            # A record more than once, as a reader that begins anew gives it.
            first = max(0, first - self._random.choice([0, 0, 2]))
            keeper.read(self._world.log.records[first : first + count])
        self.take_effects()

    def take_effects(self) -> None:
        for effect in self.keeper.take_effects():
            if isinstance(effect, CancelSteps):
                for trial in [t for t in self.tries if t.run_id == effect.run_id]:
                    self._forget(trial)
            elif self._is_mine(effect):
                self.under_way.tries.add(effect)
                self.tries.append(effect)

    def _is_mine(self, effect: PerformStep) -> bool:
        run = self.keeper.state.runs.get(effect.run_id)
        spec = None if run is None else self.registry.spec(run.workflow, run.version)
        node = None if spec is None else plan_of(spec).step(effect.step, spec)
        return node is not None and not node.outside and tuple(effect) not in self.under_way.tries

    def _forget(self, trial: PerformStep) -> None:
        self.tries.remove(trial)
        self.under_way.tries.discard(tuple(trial))

    def propose(self) -> None:
        keeper = self.keeper
        entries = keeper.propose(self.now())
        if entries:

            def answered(result: AppendResult) -> None:
                if keeper is self.keeper:
                    keeper.appended(result)

            self._world.log.append(entries, answered)

    def finish_try(self) -> None:
        """Let one try give its outcome."""
        if self.tries:
            trial = self._random.choice(self.tries)
            self._forget(trial)
            fails = self._random.random() < self._world.failure_rate
            error = random_error(self._random) if fails else None
            result = None if fails else result_of(trial.step, self._random.randint(0, 9))
            for _ in range(self._random.choice([1, 1, 1, 2])):
                self.keeper.outcome(Outcome(*trial, result, error))


class KeeperSimulation:
    """A partition and all that happens to it.

    Args:
        random: where every choice comes from.
        steps: how many things happen before everything is healed.
        fan_outs: workflows have steps that are done for each item of a list.
        people: there is a directory, which changes.
    """

    def __init__(
        self,
        random: Random,
        steps: int | None = None,
        *,
        fan_outs: bool = False,
        people: bool = False,
    ) -> None:
        self.random = random
        self.now = EPOCH
        self.failure_rate = 0.5
        self._people = people
        self._steps = random.randint(50, 500) if steps is None else steps
        self._network_speed = random.choice([0.05, 0.15, 0.3])
        self.log = FaultyLog(random, lambda: self.now, faults=random.randint(0, 5))
        specs: list[WorkflowSpec] = [random_observed("observed")]
        for name, version in (("red", 1), ("red", 2), ("blue", 1)):
            specs.append(random_workflow(random, name, version, fan_outs=fan_outs, people=people))
        self.registry = Registry(*specs)
        self.auditor = Auditor(self.registry)
        self.crowd = Crowd(random, self.registry, lambda: self.now, people=people)
        self.workers = [SimulatedWorker(name, self, self._some(specs)) for name in ("ann", "bea")]

    def _some(self, specs: list[WorkflowSpec]) -> Registry:
        left_out = self.random.choice([None, None, *specs])
        return Registry(*(spec for spec in specs if spec is not left_out))

    def run(self) -> KeeperReport:
        """Let the troubles happen, heal, and check.

        Raises:
            HistoryWrong: a fact counts that must not be.
            StateDiverged: a keeper believes what the log does not say, or a run does not end.
        """
        for _ in range(self._steps):
            self._happen()
            self._audit()
        self._heal()
        state = self.auditor.state
        records = self.log.records
        digest = hashlib.blake2b(b"".join(record.value for record in records), digest_size=8)
        return KeeperReport(
            log_hash=digest.hexdigest(),
            records=len(records),
            runs=len(self.auditor.accepted),
            claims=sum(b"partition.claimed" in record.value for record in records),
            void_facts=state.void_facts,
        )

    # -- the time of troubles ------------------------------------------------------------------

    def _happen(self) -> None:
        worker = self.random.choice(self.workers)
        if self.random.random() < self._network_speed:
            self.log.advance()
        elif self.random.random() < 0.15:
            self.log.put(self.crowd.ask(self.auditor.state))
        elif worker.standstill:
            worker.standstill -= 1
        else:
            self.random.choices(_HAPPENINGS, _WEIGHTS)[0](self, worker)

    def _read(self, worker: SimulatedWorker) -> None:
        worker.read(self.random.choice([1, 2, 100]))

    def _propose(self, worker: SimulatedWorker) -> None:
        worker.take_effects()
        worker.propose()

    def _finish_try(self, worker: SimulatedWorker) -> None:
        worker.finish_try()

    def _claim_if_idle(self, worker: SimulatedWorker) -> None:
        keeper = worker.keeper
        if not (keeper.is_active or keeper.is_claiming) and not self._somebody_acts():
            worker.claim()

    def _somebody_acts(self) -> bool:
        return any(w.keeper.is_active or w.keeper.is_claiming for w in self.workers)

    def _claim_out_of_turn(self, worker: SimulatedWorker) -> None:
        worker.claim()

    def _crash(self, worker: SimulatedWorker) -> None:
        worker.crash()

    def _save(self, worker: SimulatedWorker) -> None:
        worker.save()

    def _stand_still(self, worker: SimulatedWorker) -> None:
        worker.standstill = self.random.randint(1, 30)

    def _give_way(self, worker: SimulatedWorker) -> None:
        worker.keeper.give_way()

    def _pass_time(self, worker: SimulatedWorker) -> None:
        self.now += timedelta(seconds=self.random.choice([0.2, 1.0, 60.0, 4000.0, 90_000.0]))

    def _bend_clock(self, worker: SimulatedWorker) -> None:
        worker.skew_s = self.random.choice([-20.0, 0.0, 0.5, 20.0])

    # -- checking ------------------------------------------------------------------------------

    def _audit(self) -> None:
        """Read what is new in the log, and hold what the keepers believe against it."""
        auditor = self.auditor
        for record in self.log.records[auditor.state.next_offset :]:
            auditor.read(record)
        for worker in self.workers:
            keeper = worker.keeper
            is_certain = not keeper.is_proposing
            if not is_certain or keeper.state.next_offset != auditor.state.next_offset:
                continue
            if keeper.state != auditor.state:
                raise StateDiverged(difference(keeper.state, auditor.state))
            if keeper.is_active and not keeper.has_work and self.log.is_quiet():
                self._check_rest(worker)

    def _check_rest(self, worker: SimulatedWorker) -> None:
        wakeup = worker.keeper.next_wakeup()
        if wakeup is not None and wakeup <= worker.now():
            return
        problems = problems_of(
            worker.keeper.state, worker.registry, worker.now(), under_way=worker.under_way
        )
        if problems:
            raise StateDiverged(f"{worker.name} rests, but: " + "; ".join(problems))

    # -- healing -------------------------------------------------------------------------------

    def _heal(self) -> None:
        """All faults end, all definitions are everywhere, and people see to every run."""
        self.log.heal()
        self.failure_rate = 0.1
        for worker in self.workers:
            worker.skew_s = 0.0
            worker.standstill = 0
            worker.replace_registry(self.registry)
        for number in range(HEALING_ROUNDS_MAX):
            self._settle()
            runs = self.auditor.state.runs.values()
            if not any(not run.has_ended or run.exceptions for run in runs):
                break
            # With people, not all that is asked is late at once.
            self.now += timedelta(days=self.random.choice([0.01, 1.0]) if self._people else 1)
            for entry in self.crowd.settle(self.auditor.state, number < PATIENT_ROUNDS):
                self.log.put([entry])
        state = self.auditor.state
        left = [run for run in state.runs.values() if not run.has_ended]
        if left or state.pending:
            raise StateDiverged(f"after healing: {left}, {state.pending}")
        if set(state.runs) | set(state.ended) != self.auditor.accepted:
            raise StateDiverged("after healing: a run that no trigger was accepted for")

    def _settle(self) -> None:
        """Let everything go on until nothing happens any more."""
        for _ in range(2_000):
            while not self.log.is_quiet():
                self.log.advance()
            self._audit()
            if not self._somebody_acts():
                self.random.choice(self.workers).claim()
                continue
            before = len(self.log.records)
            for worker in self.workers:
                worker.read(100)
                worker.finish_try()
                worker.propose()
            if (
                self.log.is_quiet()
                and len(self.log.records) == before
                and all(w.keeper.state.next_offset == before for w in self.workers)
                and any(w.keeper.is_active for w in self.workers)
                and not any(w.tries or w.keeper.has_work for w in self.workers)
            ):
                self._audit()
                return
        raise StateDiverged("after healing: it does not come to rest")


_HAPPENINGS: list[Callable[[KeeperSimulation, SimulatedWorker], None]] = [
    KeeperSimulation._read,
    KeeperSimulation._propose,
    KeeperSimulation._finish_try,
    KeeperSimulation._claim_if_idle,
    KeeperSimulation._claim_out_of_turn,
    KeeperSimulation._crash,
    KeeperSimulation._save,
    KeeperSimulation._stand_still,
    KeeperSimulation._give_way,
    KeeperSimulation._pass_time,
    KeeperSimulation._bend_clock,
]
_WEIGHTS = [30, 25, 15, 10, 2, 2, 8, 1, 1, 5, 1]


def difference(found: PartitionState, expected: PartitionState) -> str:
    """Return where two states differ, in words."""
    lines = []
    for name in PartitionState.__slots__:
        one, other = getattr(found, name), getattr(expected, name)
        if name == "runs":
            for run_id in sorted(set(one) | set(other)):
                a, b = one.get(run_id), other.get(run_id)
                if a is None or b is None:
                    if a is not b:
                        lines.append(f"run {run_id}: {a} instead of {b}")
                    continue
                lines += [
                    f"run {run_id}.{slot}: {getattr(a, slot)!r} instead of {getattr(b, slot)!r}"
                    for slot in a.__slots__
                    if getattr(a, slot) != getattr(b, slot)
                ]
        elif one != other:
            lines.append(f"{name}: {one!r} instead of {other!r}")
    return "\n".join(lines)


def simulate_keeper(seed: int, *, fan_outs: bool = False, people: bool = False) -> KeeperReport:
    """Run one simulation; whatever it raises is a bug that this seed shows."""
    return KeeperSimulation(Random(seed), fan_outs=fan_outs, people=people).run()
