"""Who takes part: real workers, projectors and publishers, on simulated doors to the outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from meshline.engine.core.invariants import problems_of
from meshline.engine.core.keeper import KeeperLimits
from meshline.engine.errors import ClockOff
from meshline.engine.settings import WorkerSettings
from meshline.engine.worker import Worker
from meshline.events.publish import Trigger
from meshline.events.requests import Request
from meshline.projections import audit_view, directory_view
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import NotFound, StoreUnavailable
from meshline.projections.memory_store import Shared
from meshline.projections.projection import Projection
from meshline.projections.projector import Projector
from meshline.projections.settings import ProjectorSettings
from meshline.testing.crowd import Crowd
from meshline.testing.keeper_simulation import difference
from meshline.testing.random_workflows import random_observed, random_workflow
from meshline.testing.simulation.clients import Client
from meshline.testing.simulation.log import LogServer, SimulatedLog
from meshline.testing.simulation.steps import Steps
from meshline.testing.simulation.store import Disk, SimulatedSnapshots, SimulatedStore
from meshline.testing.simulation.truth import Truth
from meshline.testing.simulation.views import TALLY, tally
from meshline.testing.simulation.world import Process, World
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Parts"]


class Parts:
    """Makes the processes of a plan, none of them started yet.

    Args:
        specs: what is run; none: made-up workflows, out of the seed.
        triggers, answers: see ``Simulation``.
        views: further views to fill.
        meddling: people ask for what nobody expected; of made-up workflows they always do.
    """

    def __init__(
        self,
        world: World,
        specs: Sequence[WorkflowSpec],
        triggers: Sequence[Trigger],
        answers: Mapping[str, Any] | None,
        views: Sequence[Projection],
        meddling: bool,
    ) -> None:
        self.world = world
        self.made_up = not specs
        self.steps = Steps(world, self._has_started, made_up=self.made_up)
        has_people = self.made_up and world.random("people").random() < 0.3
        found = specs or _made_up(world.random("workflows"), has_people)
        self.specs = [self.steps.wrapped(spec) for spec in found]
        self.registry = Registry(*self.specs)
        self.server = LogServer(world)
        self.truth = Truth(world, self.registry)
        self.server.listeners.append(self.truth.read)
        self.shared = Shared()
        self.disk = Disk(world)
        self.crowd = Crowd(
            world.random("crowd"),
            self.registry,
            world.now,
            given=None if self.made_up else [(t.source, t.trigger_id, t.payload) for t in triggers],
            answers=None if self.made_up else answers or {},
            meddling=meddling or self.made_up,
            people=has_people,
        )
        self._askers = self.crowd.people if has_people else ("user:ada",)
        self.workers: dict[str, Worker] = {}
        self.clients: list[Client] = []
        about_people = [directory_view.projection] if has_people else []
        self.views = [*self._dice.sample(_BUILT_IN, 2), *about_people, tally(1), *views]
        self.built: list[Projection] = []
        self.orders: list[int] = []
        self.registries = {name: self.some_registry() for name in world.plan.processes}
        self._left = world.plan.requests + len(triggers)
        self._worker_settings = _worker_settings(self._dice)
        self._projector_settings = _projector_settings(self._dice)
        self._make_processes()

    def _has_started(self, trial: tuple[str, str, int]) -> bool:
        return trial in self.truth.started

    def some_registry(self) -> Registry:
        """Return the definitions that a worker has; now and then one is not deployed there."""
        left_out = self._dice.choice([None, None, None, *self.specs])
        if self.world.is_healed or not self.made_up:
            left_out = None
        return Registry(*(spec for spec in self.specs if spec is not left_out))

    def _make_processes(self) -> None:
        plan = self.world.plan
        pause_s = 2.0 * plan.troubles_s * plan.clients / max(1, self._left)
        for name in plan.processes:
            if name.startswith("client"):
                client = Client(name, self.server, self._ask, pause_s, self._askers)
                self.clients.append(client)
                Process(self.world, name, client.run)
            else:
                main = self._work if name.startswith("worker") else self._project
                Process(self.world, name, main)
        Process(self.world, "builder", self._build)
        Process(self.world, "operator", self._operate)

    # -- what they do --------------------------------------------------------------------------

    async def _work(self, process: Process) -> None:
        dice = self.world.random(f"{process.name}/{process.starts}/ids")
        worker = Worker(
            SimulatedLog(self.server, process),
            self.registries[process.name],
            name=process.name,
            settings=self._worker_settings,
            snapshots=SimulatedSnapshots(self.disk, process),
            clock=process.clock,
            new_id=lambda: f"{dice.getrandbits(64):016x}",
        )
        process.stop = worker.stop
        self.workers[process.name] = worker
        try:
            await worker.run()
        except ClockOff as error:
            # Whoever looks after it starts it again, whatever its clock says by then.
            self.world.tell(process.name, str(error))
            self.world.strike("clock_off", process.name)
            process.back_after_s = 5.0

    async def _project(self, process: Process) -> None:
        await self._keep_views(process, self.views)

    async def _build(self, process: Process) -> None:
        await self._keep_views(process, self.built)

    async def _keep_views(self, process: Process, projections: Sequence[Projection]) -> None:
        store = SimulatedStore(self.shared, process)
        log = SimulatedLog(self.server, process)
        projector = Projector(log, store, projections, self._projector_settings)
        process.stop = projector.stop
        await projector.run()
        await store.aclose()

    async def _operate(self, process: Process) -> None:
        """Carry out the orders to swap, each until it is done."""
        store = SimulatedStore(self.shared, process)
        stopping = asyncio.Event()
        process.stop = stopping.set
        while not stopping.is_set():
            if not self.orders:
                await asyncio.sleep(1.0)
                continue
            try:
                await store.make_live(TALLY, self.orders[0])
            except (StoreUnavailable, NotFound):
                await asyncio.sleep(0.5)
            else:
                self.world.strike("swapped", process.name)
                self.orders.pop(0)

    def _ask(self) -> tuple[str, Request] | None:
        if self._left <= 0:
            return None
        self._left -= 1
        return self.crowd.asked(self._dice.choice(self.truth.states))

    # -- how they fare -------------------------------------------------------------------------

    def beliefs(self) -> Iterator[str]:
        """Yield where a keeper believes what the log does not say."""
        for name, worker in self.workers.items():
            if not self.world.processes[name].is_running:
                continue
            for partition, keeper in worker.keepers.items():
                truth = self.truth.states[partition]
                if keeper.is_proposing or keeper.state.next_offset != truth.next_offset:
                    continue
                if keeper.state != truth:
                    yield f"{name} believes: {difference(keeper.state, truth)}"

    def under_way(self) -> Iterator[str]:
        """Yield what is still to come, in words; nothing: all is at rest."""
        ends = self.server.ends()
        if self.server.under_way:
            yield "an append is on its way"
        for client in self.clients:
            if self.world.processes[client.name].is_running and not client.is_idle:
                yield f"{client.name} waits for an answer"
        held: Counter[int] = Counter()
        for name, worker in self.workers.items():
            if not self.world.processes[name].is_running:
                yield f"{name} is not there"
            if worker.status().steps_under_way:
                yield f"{name} carries out steps"
            for partition, keeper in worker.keepers.items():
                held[partition] += keeper.is_active
                if keeper.state.next_offset != ends[partition]:
                    yield f"{name} reads partition {partition}"
                if keeper.is_proposing or keeper.has_work:
                    yield f"{name} has work in partition {partition}"
        if [held[partition] for partition in ends] != [1] * len(ends):
            yield f"the partitions are held {dict(held)} times"
        for (view, version), kept in self.shared.views.items():
            if any(kept.checkpoints[p].offset != end for p, end in ends.items()):
                yield f"{view} v{version} is behind"
        views = [*self.views, *self.built]
        missing = {(p.name, p.version) for p in views} - {*self.shared.views}
        if missing:
            yield f"there are no views {sorted(missing)}"

    def unrest(self) -> Iterator[str]:
        """Yield the runs that are at rest, and have no named reason for it."""
        for name, worker in self.workers.items():
            now = self.world.processes[name].clock.now()
            for keeper in worker.keepers.values():
                for problem in problems_of(keeper.state, self.registry, now, patience_s=5.0):
                    yield f"{name} rests, but: {problem}"

    @property
    def _dice(self) -> Random:
        return self.world.dice


_NOT_DRAWN = (directory_view.projection, audit_view.projection)
_BUILT_IN = [view for view in BUILT_IN if view not in _NOT_DRAWN]
"""Without those that are empty where there is no directory."""


def _made_up(random: Random, people: bool) -> list[WorkflowSpec]:
    fan_outs = random.random() < 0.3
    specs = [random_observed("observed")]
    for name, version in (("red", 1), ("red", 2), ("blue", 1)):
        specs.append(random_workflow(random, name, version, fan_outs=fan_outs, people=people))
    return specs


def _worker_settings(dice: Random) -> WorkerSettings:
    """So small that every limit is reached."""
    # What runs in a thread goes by the real clock: no seed decides when it is done.
    return WorkerSettings(
        loop_blocked_s=0.0,
        threads_max=0,
        fetch_records_max=dice.choice([3, 20, 500]),
        fetch_wait_s=dice.choice([0.5, 20.0]),
        steps_max=dice.choice([1, 2, 50]),
        drain_s=2.0,
        reclaim_s=3.0,
        sweep_s=1.0,
        stray_s=dice.choice([1.0, 10.0]),
        snapshot_records=dice.choice([5, 30, 100_000]),
        keeper=KeeperLimits(
            proposal_bytes_max=dice.choice([3_000, 400_000]),
            looked_at_max=dice.choice([2, 50]),
            requests_waiting_max=dice.choice([3, 1_000]),
        ),
    )


def _projector_settings(dice: Random) -> ProjectorSettings:
    return ProjectorSettings(
        batch_records_max=dice.choice([2, 15, 300]),
        commit_interval_s=dice.choice([0.0, 0.5]),
        fetch_wait_s=dice.choice([0.5, 20.0]),
        known_rows_max=dice.choice([0, 3, 1_000]),
        standby_poll_s=1.0,
        retry_s=0.2,
        retry_s_max=2.0,
        merge_within_records=dice.choice([0, 20, 5_000]),
    )
