"""What all parts of a simulation share: the time, the dice, the processes, and what is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import datetime, timedelta
from random import Random
from typing import Any

from meshline.testing.random_workflows import EPOCH
from meshline.testing.simulation.loop import Line, SimulatedLoop
from meshline.testing.simulation.plan import Plan

__all__ = ["Process", "ProcessClock", "Violation", "World"]

_SLOWNESS = 25.0


class Violation(AssertionError):
    """Something that must always hold does not."""


class World:
    """See the module.

    Args:
        tell: takes each line of the story; None: nobody listens.
    """

    def __init__(self, plan: Plan, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.loop: SimulatedLoop = SimulatedLoop(  # type: ignore[abstract]  # no sockets, no files
            Random(f"{plan.seed}/loop"), jumble=plan.jumble
        )
        self.struck: Counter[str] = Counter()
        self.processes: dict[str, Process] = {}
        self.lines: list[Line] = []
        self.jumped_s = 0.0
        self.is_healed = False
        self.is_over = False
        self._tell = tell
        self.dice = Random(f"{plan.seed}/dice")

    @property
    def context(self) -> Context:
        """The context of what belongs to no process."""
        return self.loop.world.context

    @property
    def is_told(self) -> bool:
        return self._tell is not None

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time() + self.jumped_s)

    def random(self, name: str) -> Random:
        """Return dice of one's own: what others do does not change how they fall."""
        return Random(f"{self.plan.seed}/{name}")

    def tell(self, who: str, what: str) -> None:
        if self._tell is not None:
            self._tell(f"{self.loop.time():10.3f}  {who:<11} {what}")

    def strike(self, kind: str, who: str = "world", what: str = "") -> None:
        """Take note that a fault has really struck."""
        self.struck[kind] += 1
        if self._tell is not None:
            self.tell(who, f"! {what or kind.replace('_', ' ')}")

    def fail(self, error: BaseException) -> None:
        """End the simulation with this error."""
        if self.loop.failure is None:
            self.loop.failure = error

    def later(self, delay_s: float, call: Callable[..., Any], *args: Any) -> None:
        """Let something happen that no process does."""
        self.loop.call_later(delay_s, call, *args, context=self.context)


class ProcessClock:
    """See ``Clock``: the world's time, as far as this process knows it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime:
        process = self._process
        return process.world.now() + timedelta(seconds=process.skew_s)


Main = Callable[["Process"], Awaitable[None]]


class Process:
    """A program that is started, killed, frozen, cut off and started again.

    Args:
        main: what it does; it may end only after ``stop``.
    """

    def __init__(self, world: World, name: str, main: Main) -> None:
        self.world = world
        self.name = name
        self.line = Line(name)
        self.line.is_alive = False
        self.clock = ProcessClock(self)
        self.skew_s = 0.0
        self.starts = 0
        self.stop: Callable[[], None] | None = None
        self.back_after_s: float | None = None
        self._main = main
        self._cut_until = 0.0
        self._slow_until = 0.0
        self._frozen_until = 0.0
        self._crashes: list[tuple[str, int, float]] = []
        world.processes[name] = self

    # -- life ----------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self.line.is_alive

    def start(self) -> None:
        if self.is_running or self.world.is_over:
            return
        self.starts += 1
        self.stop = self.back_after_s = None
        self.line = Line(self.name)
        self.world.lines.append(self.line)
        self._frozen_until = 0.0
        self.world.tell(self.name, "starts")
        self.world.loop.create_task(self._run(self.line), context=self.line.context)

    async def _run(self, line: Line) -> None:
        try:
            await self._main(self)
        except Exception as error:
            error.add_note(f"{self.name} ended with it, at {self.world.loop.time():.3f} s")
            self.world.fail(error)
        else:
            self.world.tell(self.name, "has stopped")
            self.world.loop.kill(line)
            if self.back_after_s is not None:
                self.world.later(self.back_after_s, self.start)

    def kill(self, back_after_s: float) -> None:
        self.world.tell(self.name, "is killed")
        self.world.loop.kill(self.line)
        self.world.later(back_after_s, self.start)

    def freeze(self, for_s: float) -> None:
        line = self.line
        if self.is_running and not line.is_frozen:
            self._frozen_until = self.world.loop.time() + for_s
            self.world.loop.freeze(line)
            self.world.later(for_s, self._thaw, line)

    def _thaw(self, line: Line) -> None:
        if line.is_alive and line.is_frozen:
            self.world.tell(self.name, "goes on")
            self.world.loop.thaw(line)

    def cut(self, for_s: float) -> None:
        self._cut_until = self.world.loop.time() + for_s

    def slow(self, for_s: float) -> None:
        self._slow_until = self.world.loop.time() + for_s

    def heal(self) -> None:
        self.skew_s = 0.0
        self._cut_until = self._slow_until = 0.0
        self._crashes.clear()
        self._thaw(self.line)
        self.start()

    # -- the way to the outside ----------------------------------------------------------------

    @property
    def is_cut(self) -> bool:
        return self.world.loop.time() < self._cut_until

    @property
    def cut_left_s(self) -> float:
        return max(0.0, self._cut_until - self.world.loop.time())

    @property
    def is_reachable(self) -> bool:
        return self.is_running and not self.line.is_frozen and not self.is_cut

    def latency_s(self, random: Random) -> float:
        """Return how long one way takes now."""
        latency_s = 0.001 + random.random() ** 4 * 0.08
        return latency_s * _SLOWNESS if self.world.loop.time() < self._slow_until else latency_s

    def crash_at(self, point: str, passings: int, back_after_s: float) -> None:
        """Kill the process when it has come to the point so many times from now on."""
        self._crashes.append((point, passings, back_after_s))

    def comes_to(self, point: str) -> bool:
        """Return whether the process died here."""
        for index, (wanted, left, back_after_s) in enumerate(self._crashes):
            if wanted != point or not self.is_running:
                continue
            if left > 1:
                self._crashes[index] = (wanted, left - 1, back_after_s)
                return False
            del self._crashes[index]
            self.world.strike(f"crash at {point}", self.name, f"killed at {point}")
            self.kill(back_after_s)
            return True
        return False

    async def passes(self, point: str) -> None:
        """Go past the point; who dies here never comes back."""
        if self._crashes and self.comes_to(point):
            await asyncio.get_running_loop().create_future()
