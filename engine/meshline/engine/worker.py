"""The worker: holds partitions of the log, drives their keepers, performs steps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime

from meshline.engine.claims import Claims
from meshline.engine.core.draft import Outcome
from meshline.engine.core.effects import PerformStep
from meshline.engine.core.keeper import Keeper, UnderWay
from meshline.engine.core.plan import plan_of
from meshline.engine.core.state import PartitionState
from meshline.engine.errors import StepsLost
from meshline.engine.partitions import Held, Stray
from meshline.engine.perform import Performer
from meshline.engine.settings import WorkerSettings
from meshline.engine.snapshots import NoSnapshots, SnapshotStore
from meshline.engine.trial import Try
from meshline.engine.worker_status import WorkerStatus
from meshline.events.clock import Clock, SystemClock
from meshline.events.crash_points import crash_point
from meshline.events.errors import EventVersionUnknown, LogUnavailable
from meshline.events.ids import new_event_id, partition_of
from meshline.events.log import Accepted, Entry, EventLog, LogRecord, Membership
from meshline.workflow.registry import Registry

__all__ = ["Worker", "WorkerStatus"]

logger = logging.getLogger("meshline.engine")

FOLD_RECORDS_MAX = 500
"""Records that are folded without letting others run, the heartbeat among them: 15 ms or so."""

LEAVE_S = 3.0
"""At a stop, for what is left to say and for snapshots, beyond ``drain_s``."""


class Worker:
    """Runs what its registry defines, on the partitions that it shares with others of its group.

    Args:
        log: opened; the caller closes it.
        name: for people: who holds a partition.
        snapshots: where to keep and find states, so that a start need not read the whole log.
        new_id: gives an id that nobody had before; a simulation hands in its own.
    """

    def __init__(
        self,
        log: EventLog,
        registry: Registry,
        *,
        name: str,
        settings: WorkerSettings | None = None,
        snapshots: SnapshotStore | None = None,
        clock: Clock | None = None,
        new_id: Callable[[], str] = new_event_id,
    ) -> None:
        self._log = log
        self._registry = registry
        self._name = name
        self._settings = settings or WorkerSettings()
        self._snapshots = snapshots or NoSnapshots()
        self._clock = clock or SystemClock()
        self._new_id = new_id
        self._reader = log.reader({})
        self._under_way = UnderWay()
        self._performer = Performer(self._settings, self._under_way, self._take_outcome)
        self._assigned: frozenset[int] = frozenset()
        self._held: dict[int, Held] = {}
        self._strays: dict[int, Stray] = {}
        self._dirty: set[int] = set()
        self._news = asyncio.Event()
        self._pumped = asyncio.Event()
        self._stop = asyncio.Event()
        self._draining = False
        self._records_read = 0
        self._facts_appended = 0
        self._ready = asyncio.Event()

    def status(self) -> WorkerStatus:
        keepers = [held.keeper for held in self._held.values()]
        return WorkerStatus(
            partitions=tuple(sorted(p for p, h in self._held.items() if h.keeper.is_active)),
            catching_up=tuple(sorted(p for p, h in self._held.items() if not h.keeper.is_active)),
            open_runs=sum(len(keeper.state.runs) for keeper in keepers),
            ended_runs=sum(len(keeper.state.ended) for keeper in keepers),
            steps_under_way=self._performer.count,
            records_read=self._records_read,
            facts_appended=self._facts_appended,
            void_facts=sum(keeper.state.void_facts for keeper in keepers),
            unreadable_records=sum(keeper.unreadable_records for keeper in keepers),
        )

    @property
    def keepers(self) -> Mapping[int, Keeper]:
        """The keepers at hand, by partition: to look at, not to drive."""
        return {partition: held.keeper for partition, held in self._held.items()}

    def stop(self) -> None:
        """Let ``run`` end: what is under way may finish within the settings' ``drain_s``."""
        self._stop.set()

    async def ready(self) -> None:
        """Wait until every partition assigned to this worker is held."""
        await self._ready.wait()

    def replace_registry(self, registry: Registry) -> None:
        """Go on with other definitions: runs stay, and are looked at with the new ones."""
        self._registry = registry
        for partition, held in self._held.items():
            held.keeper.replace_registry(registry)
            self._mark(partition)

    async def run(self) -> None:
        """Hold partitions and run workflows until ``stop``.

        Raises:
            MeshlineError: the log is not the one that it was, or speaks a newer version.
            ClockOff: the clock that timers go by is not the log's.
            StepsLost: too many tries go on after their time-out; start a new process.
        """
        membership = self._log.membership(self._settings.group, self._name)
        await membership.start()
        self._performer.watch.start()
        self._claims = Claims(self._log, self._clock, self._new_id, self._settings, self._mark)
        tasks = [
            asyncio.create_task(self._follow_membership(membership), name="membership"),
            asyncio.create_task(self._read(), name="read"),
            asyncio.create_task(self._pump(), name="pump"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._end_if_exhausted(), name="exhausted"),
        ]
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                await self._drain()
            for task in done:
                task.result()
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await self._performer.drain(0)
            for held in self._held.values():
                held.let_go()
            self._performer.watch.stop()
            await membership.aclose()
            await self._reader.aclose()

    # -- membership ----------------------------------------------------------------------------

    async def _follow_membership(self, membership: Membership) -> None:
        known: frozenset[int] = frozenset()
        while True:
            self._assigned = known = await membership.changed(known)
            for partition in set(self._held) - known:
                self._give_up(partition)
            # The first can be read while the snapshots of the others are being loaded.
            await asyncio.gather(*map(self._take, sorted(known - set(self._held))))
            self._check_ready()

    def _give_up(self, partition: int) -> None:
        """Another is to hold the partition. Its tries go on for a while: it may come back."""
        held = self._held.pop(partition)
        self._reader.remove(partition)
        held.let_go()
        held.keeper.give_way()
        now = asyncio.get_running_loop().time()
        self._strays[partition] = Stray(now + self._settings.stray_s, held)
        logger.info("Gave up partition %d", partition)

    async def _take(self, partition: int) -> None:
        """Begin to read a partition; it is claimed once all that stands in it is read.

        One that comes back is read on from where it was: every sharing out takes all partitions
        from everybody for a moment.
        """
        stray = self._strays.get(partition)
        if stray is None:
            keeper = await self._new_keeper(partition)
            snapshot_at = keeper.state.next_offset
        else:
            stray.until = math.inf
            keeper, snapshot_at = stray.held.keeper, stray.held.snapshot_at
        end = await self._end_of(partition)
        # Nothing is awaited from here on: definitions may be replaced meanwhile.
        keeper.replace_registry(self._registry)
        self._strays.pop(partition, None)
        self._held[partition] = Held(keeper, end, snapshot_at=snapshot_at)
        self._reader.add(partition, keeper.state.next_offset)
        self._mark(partition)

    async def _new_keeper(self, partition: int) -> Keeper:
        return Keeper(
            await self._snapshots.load(partition) or PartitionState(partition),
            self._registry,
            name=self._name,
            source=f"meshline/{partition}",
            under_way=self._under_way,
            limits=self._settings.keeper,
        )

    async def _end_of(self, partition: int) -> int:
        """Return where the partition ends now; an outage of the log is waited for."""
        while True:
            try:
                return (await self._log.ends())[partition]
            except LogUnavailable as error:
                logger.warning("%s", error)
                await asyncio.sleep(self._settings.sweep_s)

    def _check_ready(self) -> None:
        # One that is assigned is not held yet while its snapshot is being loaded.
        if self._assigned and self._assigned == {
            partition for partition, held in self._held.items() if held.keeper.is_active
        }:
            self._ready.set()

    # -- reading -------------------------------------------------------------------------------

    async def _read(self) -> None:
        settings = self._settings
        while True:
            fetched = await self._reader.fetch(settings.fetch_records_max, settings.fetch_wait_s)
            for partition, records in fetched.items():
                held = self._held.get(partition)
                for first in range(0, len(records), FOLD_RECORDS_MAX):
                    # Given up meanwhile, and perhaps taken again: then it is read again, too.
                    if held is None or self._held.get(partition) is not held:
                        break
                    self._take_records(partition, held, records[first : first + FOLD_RECORDS_MAX])
                    # Fetching never waits while the log is ahead: let the others run in between.
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
            await self._room()

    def _take_records(self, partition: int, held: Held, records: list[LogRecord]) -> None:
        keeper = held.keeper
        epoch = keeper.epoch
        try:
            keeper.read(records)
        except EventVersionUnknown:
            logger.exception("Partition %d was written by a newer version", partition)
            raise
        if keeper.epoch is not None and keeper.epoch != epoch:
            self._claims.read_back(held, records)
            self._check_ready()
        self._records_read += len(records)
        self._mark(partition)

    async def _room(self) -> None:
        """Wait while the keepers have more requests than they can look at."""
        while not all(held.keeper.wants_records for held in self._held.values()):
            await self._next_round(1.0)

    async def _next_round(self, wait_s: float) -> None:
        """Wait until the pump has gone round once more, at most so long."""
        self._pumped.clear()
        # Not wait_for: in Python 3.11 it may swallow a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._pumped.wait()

    # -- acting --------------------------------------------------------------------------------

    def _mark(self, partition: int) -> None:
        self._dirty.add(partition)
        self._news.set()

    async def _pump(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            dirty, self._dirty = self._dirty, set()
            now = self._clock.now()
            self._claims.renew_after_jump(self._held, now)
            for partition in dirty:
                held = self._held.get(partition)
                if held is not None:
                    self._advance(partition, held, now)
            self._pumped.set()
            # What marks itself again must not keep the others from running.
            await asyncio.sleep(0)

    def _advance(self, partition: int, held: Held, now: datetime) -> None:
        """Do all that can be done for the partition without waiting."""
        keeper = held.keeper
        if not keeper.is_active:
            if not self._draining:
                self._claims.claim_if_due(partition, held, now)
            return
        self._perform(keeper)
        if keeper.is_proposing:
            return
        held.accepted_last = None
        entries = keeper.propose(now)
        if entries:
            task = asyncio.get_running_loop().create_task(self._append(partition, held, entries))
            held.append = task
        elif keeper.has_work:
            self._mark(partition)
        else:
            self._set_timer(partition, held, now)
            self._snapshot_if_due(partition, held)

    def _perform(self, keeper: Keeper) -> None:
        for effect in keeper.take_effects():
            if not isinstance(effect, PerformStep):
                self._performer.cancel_run(effect.run_id)
                continue
            run = keeper.state.runs.get(effect.run_id)
            spec = None if run is None else self._registry.spec(run.workflow, run.version)
            if run is None or spec is None:
                continue
            node = plan_of(spec).step(effect.step, spec)
            if node is not None and not node.outside and not self._draining:
                self._performer.perform(Try(run, node, effect.attempt))

    async def _append(self, partition: int, held: Held, entries: list[Entry]) -> None:
        result = await self._log.append(partition, entries)
        keeper = held.keeper
        keeper.appended(result)
        crash_point("append.answered")
        held.append = None
        if self._held.get(partition) is not held:
            return
        if isinstance(result, Accepted):
            self._facts_appended += len(entries)
            held.accepted_last = result.last
            self._reader.advance(partition, keeper.state.next_offset)
        else:
            logger.warning("Append to partition %d: %s", partition, result)
        self._mark(partition)

    def _take_outcome(self, outcome: Outcome) -> None:
        partition = partition_of(outcome.run_id, self._log.identity.partitions)
        held = self._held.get(partition)
        if held is not None:
            held.keeper.outcome(outcome)
            self._mark(partition)
        elif partition in self._strays:
            self._strays[partition].held.keeper.outcome(outcome)

    def _set_timer(self, partition: int, held: Held, now: datetime) -> None:
        at = held.keeper.next_wakeup()
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
        if at is not None:
            # Never early: the clock decides, and a timer that comes too soon is set again.
            wait_s = min(max((at - now).total_seconds(), 0.0) + 0.001, 3600.0)
            loop = asyncio.get_running_loop()
            held.timer = loop.call_later(wait_s, self._mark, partition)

    # -- keeping order -------------------------------------------------------------------------

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.sweep_s)
            for partition, held in list(self._held.items()):
                if held.has_passed_its_own:
                    logger.warning("Partition %d: an append was not read back", partition)
                    held.keeper.give_way()
                    held.accepted_last = None
                self._mark(partition)
            for partition, stray in list(self._strays.items()):
                if loop.time() > stray.until:
                    del self._strays[partition]
                    self._drop_tries(partition)
            self._check_ready()

    def _drop_tries(self, partition: int) -> None:
        """Stop the tries of a partition that did not come back: another does them again."""
        partitions = self._log.identity.partitions
        for run_id in sorted({run_id for run_id, _, _ in self._under_way.tries}):
            if partition_of(run_id, partitions) == partition:
                self._performer.cancel_run(run_id)

    def _snapshot_if_due(self, partition: int, held: Held) -> None:
        offset = held.keeper.state.next_offset
        if offset - held.snapshot_at >= self._settings.snapshot_records:
            held.snapshot_at = offset
            self._snapshots.save_later(held.keeper.state)

    async def _end_if_exhausted(self) -> None:
        await self._performer.exhausted.wait()
        await self._drain()
        raise StepsLost(
            f"{self._performer.lost} tries of this worker go on after their time-outs: expected "
            f"fewer than {self._settings.tries_lost_max}. Start it again, which is all that ends "
            "them, and give what those steps wait for time-outs of their own."
        )

    async def _drain(self) -> None:
        """Finish what is under way and say what came of it; then leave."""
        loop = asyncio.get_running_loop()
        leave_at = loop.time() + self._settings.drain_s + LEAVE_S
        self._draining = True
        for held in self._held.values():
            held.keeper.drain()
        await self._performer.drain(self._settings.drain_s)
        deadline = loop.time() + 2.0
        while loop.time() < deadline and any(
            held.append is not None or held.keeper.is_proposing or held.keeper.has_work
            for held in self._held.values()
            if held.keeper.is_active
        ):
            await self._next_round(deadline - loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(leave_at):
                # Partitions may go elsewhere while a snapshot is saved.
                for held in list(self._held.values()):
                    if held.keeper.is_active and not held.keeper.is_proposing:
                        await self._snapshots.save(held.keeper.state)
