"""The store of the views, with a network in between, and the snapshots of the workers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

from meshline.engine.core.state import PartitionState
from meshline.engine.snapshots import dump_state, load_state
from meshline.events.envelope import Position
from meshline.events.log import LogIdentity
from meshline.projections.errors import StoreUnavailable
from meshline.projections.memory_store import MemoryStore, Shared
from meshline.projections.projection import Key, Projection, Row, Table
from meshline.projections.store import Change, Installed, Parked, Stop, ViewStatus
from meshline.testing.simulation.world import Process, World

__all__ = ["Disk", "SimulatedSnapshots", "SimulatedStore", "at_once"]

T = TypeVar("T")
R = TypeVar("R", bound=Row)

_ANSWER_S_MAX = 3.0
_SESSION_S = 2.0


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return what the coroutine gives; it waits for nothing."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    work.close()
    raise AssertionError(f"{work!r} waits for something")


class SimulatedStore:
    """See ``ViewStore``: one process's connection to the views.

    The server does what it was asked to even when nobody waits for the answer any more. A view's
    writer is a session of the server's, as with PostgreSQL's locks: whoever loses the connection
    begins a new one, and the old one holds what it held for some time yet.
    """

    def __init__(self, shared: Shared, process: Process) -> None:
        self.process = process
        self._world = process.world
        self._shared = shared
        self._dice = process.world.random(f"{process.name}/{process.starts}/store")
        self._session = self._new_session()
        self._line = process.line
        self._world.later(_SESSION_S, self._look)

    def _new_session(self) -> MemoryStore:
        return MemoryStore(self._shared, clock=self.process.clock, hashed=False)

    def _lose_session(self, after_s: float) -> None:
        """Begin a new session; the server ends the old one some time later."""
        session, self._session = self._session, self._new_session()
        self._world.later(after_s, self._end, session)

    def _end(self, session: MemoryStore) -> None:
        if any(writer is session for writer in self._shared.writers.values()):
            self._world.strike("store_session_lost", self.process.name)
        at_once(session.aclose())

    def _look(self) -> None:
        """Let go of what a process holds that is no more, or cut off."""
        is_dead = self.process.line is not self._line or not self._line.is_alive
        if is_dead or self.process.is_cut:
            self._lose_session(0.0)
        if not is_dead:
            self._world.later(_SESSION_S, self._look)

    async def _trip(self, name: str) -> None:
        """Go there and back; the answer may be that nobody is there."""
        await self.process.passes(name)
        await asyncio.sleep(self.process.latency_s(self._dice))
        self._check(name)

    def _check(self, name: str) -> None:
        fails = not self._world.is_healed and (
            self._dice.random() < self._world.plan.rate("store_fails")
        )
        if fails:
            self._world.strike("store_fails", self.process.name, f"{name} fails")
        if fails or self.process.is_cut:
            self._lose_session(self._dice.random() * _SESSION_S)
            raise StoreUnavailable(f"The store does not answer: {name}.")

    async def open(self) -> None:
        """It is there."""

    async def aclose(self) -> None:
        await self._session.aclose()

    async def install(self, projection: Projection, identity: LogIdentity) -> Installed:
        await self._trip("store.install")
        return await self._session.install(projection, identity)

    async def acquire(self, projection: Projection) -> bool:
        await self._trip("store.acquire")
        return await self._session.acquire(projection)

    async def release(self, projection: Projection) -> None:
        await self._trip("store.release")
        await self._session.release(projection)

    async def load(self, table: Table[Any], keys: Sequence[Key]) -> dict[Key, Row]:
        await self._trip("store.load")
        return await self._session.load(table, keys)

    async def parked_at(self, projection: Projection, position: Position) -> Parked | None:
        await self._trip("store.parked")
        return await self._session.parked_at(projection, position)

    async def parked_of(self, projection: Projection, stop: Stop) -> list[Parked]:
        await self._trip("store.parked")
        return await self._session.parked_of(projection, stop)

    async def commit(self, changes: Sequence[Change]) -> None:
        process, world = self.process, self._world
        await process.passes("store.commit:sent")
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fate = self._fate()
        if fate is not None:
            world.strike(fate, process.name)
        if process.is_cut or fate == "commit_lost":
            await asyncio.sleep(0.5)
            self._lose_session(self._dice.random() * _SESSION_S)
            raise StoreUnavailable("The connection broke before the commit.")
        after_s = process.latency_s(self._dice)
        if fate == "commit_late":
            after_s += self._dice.random() * _ANSWER_S_MAX * 2
        session = self._session
        world.later(after_s, self._land, session, changes, answered, fate is None)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S_MAX):
                await answered
                await process.passes("store.commit:answered")
                return
        # The server goes on with the commit, and holds the views as long as it does.
        if session is self._session:
            self._lose_session(_ANSWER_S_MAX)
        raise StoreUnavailable("The commit has no answer: the connection broke meanwhile.")

    def _fate(self) -> str | None:
        chance = self._dice.random()
        if self._world.is_healed:
            return None
        for fate in ("commit_lost", "commit_answer_lost", "commit_late"):
            chance -= self._world.plan.rate(fate)
            if chance < 0:
                return fate
        return None

    def _land(
        self,
        session: MemoryStore,
        changes: Sequence[Change],
        answered: asyncio.Future[None],
        answers: bool,
    ) -> None:
        try:
            for change in changes:
                if not _holds(self._shared, session, change.projection):
                    raise StoreUnavailable(f"The session has lost {change.projection}.")
            at_once(session.commit(changes))
        except Exception as error:
            if not answered.done() and answers:
                answered.set_exception(error)
                answered.exception()
            return
        if self._world.is_told:
            names = ", ".join(f"{c.projection.name} v{c.projection.version}" for c in changes)
            self._world.tell(self.process.name, f"commits {names}")
        if self.process.line is self._line and self.process.comes_to("store.commit:landed"):
            return
        if answers and not self.process.is_cut:
            self._world.later(self.process.latency_s(self._dice), _set, answered)

    async def make_live(self, name: str, version: int) -> None:
        await self._trip("view.swap")
        await self._session.make_live(name, version)

    async def rows(self, table: Table[R]) -> list[R]:
        return await self._session.rows(table)

    async def parked(self, projection: Projection) -> list[Parked]:
        return await self._session.parked(projection)

    async def status(self) -> list[ViewStatus]:
        return await self._session.status()

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        return await self._session.live_checkpoints(names)


def _holds(shared: Shared, session: MemoryStore, projection: Projection) -> bool:
    return shared.writers.get((projection.name, projection.version)) is session


def _set(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)


class Disk:
    """What all workers' snapshots are kept on: the chunks of the last one of each partition."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chunks: dict[int, list[bytes]] = {}
        self._dice = world.random("disk")

    def write(self, partition: int, chunks: list[bytes]) -> None:
        world, dice = self.world, self._dice
        if not world.is_healed and dice.random() < world.plan.rate("snapshot_lost"):
            world.strike("snapshot_lost")
            self.chunks.pop(partition, None)
            return
        if not world.is_healed and dice.random() < world.plan.rate("snapshot_torn"):
            world.strike("snapshot_torn")
            chunks = _torn(chunks, dice)
        self.chunks[partition] = chunks


def _torn(chunks: list[bytes], dice: Random) -> list[bytes]:
    kept = chunks[: dice.randint(1, len(chunks))]
    if dice.random() < 0.5 or len(kept) == len(chunks):
        kept[-1] = kept[-1][: dice.randint(0, len(kept[-1]) - 1)]
    return kept


class SimulatedSnapshots:
    """See ``SnapshotStore``: what can change is taken at once, the rest some time later."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process
        self._dice = process.world.random(f"{process.name}/{process.starts}/snapshots")

    async def load(self, partition: int) -> PartitionState | None:
        await self._process.passes("snapshot.load")
        await asyncio.sleep(self._process.latency_s(self._dice))
        chunks = self._disk.chunks.get(partition)
        if chunks is None:
            return None
        try:
            state = load_state(iter(chunks))
        except (ValueError, KeyError, TypeError):
            self._process.world.strike("snapshot_unusable", self._process.name)
            return None
        self._process.world.strike("snapshot_used", self._process.name)
        return state

    async def save(self, state: PartitionState) -> None:
        await self._begin(state)

    def save_later(self, state: PartitionState) -> None:
        asyncio.get_running_loop().create_task(self._begin(state))

    def _begin(self, state: PartitionState) -> Coroutine[Any, Any, None]:
        chunks = dump_state(state)
        return self._finish(state.partition, next(chunks), chunks)

    async def _finish(self, partition: int, first: bytes, chunks: Iterator[bytes]) -> None:
        process = self._process
        await process.passes("snapshot.save")
        await asyncio.sleep(process.latency_s(self._dice) * 3)
        rest = list(chunks)
        await process.passes("snapshot.save:half")
        await asyncio.sleep(process.latency_s(self._dice))
        self._disk.write(partition, [first, *rest])
