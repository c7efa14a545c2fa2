"""Who should hold which partition, as a coordinator would have it: late, and not always right."""

from __future__ import annotations

import asyncio

from meshline.events.log.sharing import share
from meshline.testing.simulation.world import Process, World

__all__ = ["Group", "SimulatedMembership"]

SESSION_TIMEOUT_S = 6.0
_LOOK_S = 0.5


class Group:
    """The coordinator: whoever was not reachable for too long loses its partitions."""

    def __init__(self, world: World, partitions: int) -> None:
        self._world = world
        self._partitions = partitions
        self._members: dict[str, SimulatedMembership] = {}
        self._gone: dict[str, SimulatedMembership] = {}
        self._shared: dict[int, str] = {}
        self._dice = world.random("group")
        world.later(_LOOK_S, self._look)

    def join(self, member: SimulatedMembership) -> None:
        self._members[member.id] = member
        self._share_out()

    def leave(self, member: SimulatedMembership) -> None:
        self._gone.pop(member.id, None)
        if self._members.pop(member.id, None) is not None:
            self._share_out()

    def deal_anew(self) -> None:
        """Deal the partitions out at random; soon after they are shared out as they should be."""
        if not self._members:
            return
        names = [*self._members]
        self._shared = {p: self._dice.choice(names) for p in range(self._partitions)}
        self._tell()
        self._world.later(self._dice.choice([0.01, 1.0, 5.0]), self._share_out)

    def _share_out(self) -> None:
        before = self._shared
        self._shared = share(self._partitions, before, [*self._members])
        if self._members and before and self._shared != before:
            self._world.strike("rebalanced")
        self._tell()

    def _tell(self) -> None:
        for member in self._members.values():
            member.hear(frozenset(p for p, name in self._shared.items() if name == member.id))

    def _look(self) -> None:
        """See who is there: a dead session ends at last, one that is back joins again."""
        now = self._world.loop.time()
        changed = False
        for member in [*self._members.values()]:
            if member.is_reachable:
                member.seen_at = now
            elif now - member.seen_at > SESSION_TIMEOUT_S:
                del self._members[member.id]
                self._gone[member.id] = member
                changed = True
        for member in [*self._gone.values()]:
            if member.is_dead:
                del self._gone[member.id]
            elif member.is_reachable:
                del self._gone[member.id]
                member.seen_at = now
                self._members[member.id] = member
                changed = True
        if changed:
            self._share_out()
        self._world.later(_LOOK_S, self._look)


class SimulatedMembership:
    """See ``Membership``."""

    def __init__(self, group: Group, process: Process) -> None:
        self.id = f"{process.name}/{process.starts}"
        self.seen_at = asyncio.get_running_loop().time()
        self._group = group
        self._process = process
        self._line = process.line
        self._assigned: frozenset[int] = frozenset()
        self._moved = asyncio.Event()
        self._told = 0
        self._heard = 0
        self._dice = process.world.random(f"{self.id}/membership")

    @property
    def is_dead(self) -> bool:
        return self._process.line is not self._line or not self._line.is_alive

    @property
    def is_reachable(self) -> bool:
        return not self.is_dead and self._process.is_reachable

    async def start(self) -> None:
        process = self._process
        await asyncio.sleep(process.cut_left_s + process.latency_s(self._dice))
        self.seen_at = asyncio.get_running_loop().time()
        self._group.join(self)

    def hear(self, assigned: frozenset[int]) -> None:
        """Learn what to hold, some time later; who stands still learns it when it goes on."""
        delay_s = self._process.latency_s(self._dice) + self._process.cut_left_s
        loop = self._process.world.loop
        self._told += 1
        loop.call_later(delay_s, self._hold, assigned, self._told, context=self._line.context)

    def _hold(self, assigned: frozenset[int], number: int) -> None:
        # What was said later holds, also if it is heard earlier.
        if number > self._heard:
            self._heard = number
            self._assigned = assigned
            self._moved.set()

    @property
    def assigned(self) -> frozenset[int]:
        return self._assigned

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        while self._assigned == known:
            self._moved.clear()
            await self._moved.wait()
        return self._assigned

    async def aclose(self) -> None:
        self._told += 1
        self._hold(frozenset(), self._told)
        self._group.leave(self)
