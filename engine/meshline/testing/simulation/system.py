"""One seed, one history of the whole system: workers, projectors, publishers, over what may fail.

The classes are the real ones, and so is their code; only the event loop, the clocks, the log, the
store of the views and the snapshots are simulated. First a time of troubles, as the seed's plan
says; then everything is healed, people see to what is open, and every run must come to its end.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import load_state
from meshline.events.ids import run_id_of
from meshline.events.log.protocol import Entry
from meshline.events.publish import Trigger
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection
from meshline.testing.simulation.checks import (
    client_problems,
    fold_from_scratch,
    reader_problems,
    run_problems,
    view_problems,
)
from meshline.testing.simulation.clients import Operation
from meshline.testing.simulation.parts import Parts
from meshline.testing.simulation.plan import Plan, Strike
from meshline.testing.simulation.views import tally
from meshline.testing.simulation.world import Process, Violation, World
from meshline.workflow.define import Definition
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Report", "Simulation"]

HEALING_ROUNDS_MAX = 40
PATIENT_ROUNDS = 6
"""Healing rounds in which people try again before they skip and cancel."""

SETTLE_S_MAX = 400
_DAY_S = 86_400.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class Report:
    """What a simulation came to.

    Args:
        log_hash: of all records; equal for equal seeds.
        struck: how often each kind of fault has really struck.
        statuses: how each run ended, by run id.
        operations: what clients asked, and what they were told.
    """

    seed: int
    log_hash: str
    records: int
    claims: int
    void_facts: int
    struck: Counter[str]
    statuses: Mapping[str, str]
    operations: Sequence[Operation]

    def status(self, source: str, trigger_id: str) -> str | None:
        """Return how the run of the trigger ended; None: it is no run."""
        return self.statuses.get(run_id_of(source, trigger_id))


class Simulation:
    """The whole system under faults.

    Args:
        workflows: what is run; none: made-up ones, out of the seed.
        triggers: what starts them, each sent at least once; needed where workflows are given.
        answers: by the name of an approval, a message or a step outside: what is said to it in
            the end, such as the form of an approval.
        projections: further views, filled and checked like the built-in ones.
        meddling: people cancel, pause and skip at random meanwhile.
        seed: where every choice comes from.
        plan: instead of the seed's own.
        tell: takes each line of the story.
    """

    def __init__(
        self,
        *workflows: WorkflowSpec | Definition,
        triggers: Sequence[Trigger] = (),
        answers: Mapping[str, Any] | None = None,
        projections: Sequence[Projection] = (),
        meddling: bool = False,
        seed: int = 0,
        plan: Plan | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        if bool(workflows) != bool(triggers):
            raise ValueError(
                f"A simulation of {len(workflows)} workflows has {len(triggers)} triggers: "
                "expected some of both, or none of either for made-up ones."
            )
        self.plan = plan or Plan.of(seed)
        self.world = World(self.plan, tell)
        self._parts = Parts(
            self.world, [*Registry(*workflows)], triggers, answers, projections, meddling
        )

    def run(self) -> Report:
        """Let the troubles happen, heal, and check.

        Raises:
            HistoryWrong: a fact counts that must not be.
            Violation: something else does not hold that must always hold.
            NothingHappens: everybody waits for ever.
        """
        loop = self.world.loop
        with _quiet(self.world):
            try:
                loop.run(self._all())
                self._check_errors()
                return self._report()
            finally:
                self.world.is_over = True
                loop.clear_up(self.world.lines)

    async def _all(self) -> None:
        world = self.world
        self._parts.server.begin()
        for name, process in world.processes.items():
            if name != "builder":
                world.later(world.dice.random() * 2.0, process.start)
        for strike in self.plan.strikes:
            world.later(strike.at_s, self._strike, strike)
        world.later(_LOOK_S, self._look)
        await asyncio.sleep(self.plan.troubles_s)
        await self._heal()
        await self._stop()
        await self._check()

    def _strike(self, strike: Strike) -> None:
        world = self.world
        process = world.processes.get(strike.target)
        if world.is_healed or (process is not None and not process.is_running):
            return
        if strike.kind != "crash_at":
            world.strike(strike.kind, strike.target or "world", str(strike))
        if process is not None:
            _ON_PROCESSES[strike.kind](self._parts, process, strike)
        else:
            _ON_ALL[strike.kind](self._parts, strike)

    # -- looking on ----------------------------------------------------------------------------

    def _look(self) -> None:
        """Hold what the keepers believe against what the log says."""
        try:
            _expect_none(self._parts.beliefs())
            self._check_errors()
        except Exception as error:
            self.world.fail(error)
        self.world.later(_LOOK_S, self._look)

    def _check_errors(self) -> None:
        for context in self.world.loop.errors:
            error = context.get("exception")
            raise Violation(f"nobody took care of: {context.get('message')}: {error!r}") from error

    # -- healing -------------------------------------------------------------------------------

    async def _heal(self) -> None:
        """All faults end, all definitions are everywhere, and people see to every run."""
        world, parts = self.world, self._parts
        world.tell("world", "everything is healed")
        world.is_healed = True
        for name in parts.registries:
            parts.registries[name] = parts.registry
        for name, process in world.processes.items():
            if name != "builder" or parts.built:
                process.heal()
        for worker in parts.workers.values():
            worker.replace_registry(parts.registry)
        self._put(parts.crowd.unsent())
        for number in range(HEALING_ROUNDS_MAX):
            await self._settle()
            runs = [run for state in parts.truth.states for run in state.runs.values()]
            if not any(not run.has_ended or run.exceptions for run in runs):
                return
            world.tell("world", "a day passes")
            world.jumped_s += _DAY_S
            for state in parts.truth.states:
                self._put([*parts.crowd.settle(state, number < PATIENT_ROUNDS)])
        _expect_none(self._run_problems())
        raise Violation("after healing: exceptions stay open")

    def _put(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._parts.server.put_by_key(entry)

    async def _settle(self) -> None:
        """Wait until nothing happens any more."""
        quiet = 0
        left = ""
        for _ in range(SETTLE_S_MAX):
            await asyncio.sleep(1.0)
            left = next(self._parts.under_way(), "")
            quiet = 0 if left else quiet + 1
            if quiet == 3:
                _expect_none(self._parts.unrest())
                return
        raise Violation(f"after healing: it does not come to rest: {left}")

    async def _stop(self) -> None:
        """Tell all to stop, and wait until they have."""
        self.world.is_over = True
        running = [process for process in self.world.processes.values() if process.is_running]
        for process in running:
            if process.stop is not None:
                process.stop()
        for _ in range(60):
            await asyncio.sleep(1.0)
            if not any(process.is_running for process in running):
                return
        left = [process.name for process in running if process.is_running]
        raise Violation(f"{', '.join(left)} did not stop")

    # -- checking ------------------------------------------------------------------------------

    async def _check(self) -> None:
        parts, dice = self._parts, self.world.dice
        records, truth = parts.server.records, parts.truth
        problems = [*self._run_problems(), *self._step_problems()]
        for state in truth.states:
            snapshot = self._snapshot(state.partition)
            some = records[state.partition]
            problems += reader_problems(some, state, parts.registry, snapshot, dice)
        problems += client_problems(
            self._operations, truth.asked, truth.answers, lambda p, at: records[p][at].value
        )
        views = [*parts.views, *parts.built]
        scratch = await fold_from_scratch(records, parts.server.identity, views, dice)
        problems += await view_problems(MemoryStore(parts.shared), scratch, views)
        _expect_none(problems)

    def _snapshot(self, partition: int) -> PartitionState | None:
        chunks = self._parts.disk.chunks.get(partition)
        if chunks is None:
            return None
        try:
            return load_state(iter(chunks))
        except (ValueError, KeyError, TypeError):
            return None

    def _run_problems(self) -> list[str]:
        truth = self._parts.truth
        accepted = {run for auditor in truth.auditors for run in auditor.accepted}
        return list(run_problems(truth.states, accepted))

    def _step_problems(self) -> list[str]:
        """What has succeeded was carried out, unless somebody outside said so."""
        steps = self._parts.steps
        return [
            f"step {step!r} attempt {attempt} of run {run_id} has succeeded, and nobody did it"
            for run_id, step, attempt in sorted(self._parts.truth.succeeded)
            if not steps.ended[run_id, step, attempt]
        ]

    @property
    def _operations(self) -> list[Operation]:
        return [operation for client in self._parts.clients for operation in client.operations]

    def _report(self) -> Report:
        states = self._parts.truth.states
        values = [record.value for records in self._parts.server.records for record in records]
        statuses = {run_id: run.status for state in states for run_id, run in state.runs.items()}
        for state in states:
            statuses |= {run_id: ended.status for run_id, ended in state.ended.items()}
        return Report(
            seed=self.plan.seed,
            log_hash=hashlib.blake2b(b"\n".join(values), digest_size=8).hexdigest(),
            records=len(values),
            claims=self._parts.truth.claims,
            void_facts=sum(state.void_facts for state in states),
            struck=self.world.struck,
            statuses=statuses,
            operations=self._operations,
        )


def _expect_none(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise Violation("\n".join(found))


@contextmanager
def _quiet(world: World) -> Iterator[None]:
    """Let the loggers of the processes speak into the story, or not at all."""
    logger = logging.getLogger("meshline")
    before = logger.level, logger.propagate
    handler = _Teller(world)
    logger.setLevel(logging.INFO if world.is_told else logging.CRITICAL + 1)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Teller(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.tell("", record.getMessage())


# -- faults ----------------------------------------------------------------------------------------


def _crash_at(parts: Parts, process: Process, strike: Strike) -> None:
    if strike.point == "view.swap":
        process = parts.world.processes["operator"]
    process.crash_at(strike.point, strike.passings, strike.for_s)


def _skew(parts: Parts, process: Process, strike: Strike) -> None:
    process.skew_s = strike.amount


def _restart(parts: Parts, process: Process, strike: Strike) -> None:
    if process.stop is not None:
        process.back_after_s = strike.for_s
        process.stop()


def _deploy(parts: Parts, process: Process, strike: Strike) -> None:
    registry = parts.registries[process.name] = parts.some_registry()
    worker = parts.workers.get(process.name)
    if worker is not None:
        worker.replace_registry(registry)


def _jump(parts: Parts, strike: Strike) -> None:
    parts.world.jumped_s += strike.amount


def _rebalance(parts: Parts, strike: Strike) -> None:
    for group in parts.server.groups.values():
        group.deal_anew()


def _rebuild(parts: Parts, strike: Strike) -> None:
    """Build the next version beside the others; whoever builds goes on with all of them."""
    if len(parts.built) >= 2:
        return
    parts.built.append(tally(2 + len(parts.built)))
    builder = parts.world.processes["builder"]
    if builder.is_running:
        builder.kill(0.1)
    else:
        builder.start()


def _swap(parts: Parts, strike: Strike) -> None:
    parts.orders.append(parts.built[-1].version if parts.built else 1)


def _roll_back(parts: Parts, strike: Strike) -> None:
    parts.orders.append(1)


def _poison(parts: Parts, strike: Strike) -> None:
    partition = parts.world.dice.randrange(parts.world.plan.partitions)
    parts.server.put(partition, [Entry("poison", b'{"specversion":"1.0","id":"no event"')])


_ON_PROCESSES: dict[str, Callable[[Parts, Process, Strike], None]] = {
    "crash": lambda parts, process, strike: process.kill(strike.for_s),
    "crash_at": _crash_at,
    "freeze": lambda parts, process, strike: process.freeze(strike.for_s),
    "cut": lambda parts, process, strike: process.cut(strike.for_s),
    "slow": lambda parts, process, strike: process.slow(strike.for_s),
    "skew": _skew,
    "restart": _restart,
    "deploy": _deploy,
}
_ON_ALL: dict[str, Callable[[Parts, Strike], None]] = {
    "jump": _jump,
    "rebalance": _rebalance,
    "rebuild": _rebuild,
    "swap": _swap,
    "rollback": _roll_back,
    "poison": _poison,
}
