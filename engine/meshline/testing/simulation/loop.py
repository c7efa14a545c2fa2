"""An event loop without sockets, threads or waiting: its time jumps to whatever comes next.

Every callback belongs to a ``Line``: one process from its start to its death, told by the context
that it runs in. Within a line callbacks run in the order in which they were asked for, as asyncio
promises; between lines the seed decides. A line that is frozen keeps what is due until it thaws;
what belongs to a dead line never runs.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any

__all__ = ["Line", "NothingHappens", "SimulatedLoop", "line_here"]

CALLBACKS_AT_ONCE_MAX = 200_000
"""More of them at one moment are a loop that never waits."""

_BURST_MAX = 12
_LINE: ContextVar[Line] = ContextVar("line")


class NothingHappens(AssertionError):
    """Somebody waits, and nothing will ever come; or everybody runs, and time stands still."""


class Line:
    """What one process does, one callback after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_frozen = False
        self.is_busy = False
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.context: Context = copy_context()
        self.context.run(_LINE.set, self)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold the task: one that nobody holds is cleaned up whenever the collector likes."""
        if len(self.tasks) > 64 and len(self.tasks) & (len(self.tasks) - 1) == 0:
            self.tasks = [task for task in self.tasks if not task.done()]
        self.tasks.append(task)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """See ``asyncio.AbstractEventLoop``; as much of it as tasks, timers and futures need.

    Args:
        jumble: how likely a callback is to overtake others of its own line, 0.0 to 1.0.
    """

    def __init__(self, random: Random, *, jumble: float = 0.0) -> None:
        self.world = Line("world")
        self.errors: list[dict[str, Any]] = []
        self.failure: BaseException | None = None
        self._random = random
        self._jumble = jumble
        self._now = 0.0
        self._busy: list[Line] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Line]] = []
        self._timer_count = 0
        self._at_once = 0
        self._closing = False

    # -- what asyncio asks of a loop -----------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]  # typeshed's own is a variadic generic
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._put(context.get(_LINE) or self.world, handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + max(0.0, delay), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        line = context.get(_LINE) or self.world
        heapq.heappush(self._timers, (when, self._timer_count, handle, line))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        line = (context or copy_context()).get(_LINE) or self.world
        line.keep(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it a moment later, and not in a thread."""
        future = self.create_future()

        def call() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(error)

        self.call_later(0.001, call)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._closing:
            self.errors.append(context)

    # -- running -------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run until ``main`` ends or ``failure`` is set, and return or raise what came of it."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main, context=self.world.context)
            while not task.done() and self.failure is None:
                self._step()
            if self.failure is not None:
                raise self.failure
            return task.result()
        finally:
            asyncio._set_running_loop(before)

    def clear_up(self, lines: list[Line]) -> None:
        """End all that is left, so that the collector finds no coroutine half way through."""
        self._closing = True
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        lines = [*lines, self.world]
        try:
            for line in lines:
                line.is_alive, line.is_frozen = True, False
                self._wake(line)
            for _ in range(20):
                tasks = [task for line in lines for task in line.tasks if not task.done()]
                if not tasks:
                    break
                for task in tasks:
                    task.cancel()
                for _ in range(10_000):
                    if not self._busy:
                        break
                    self._step()
                if self._timers:
                    self._pass_time()
            for line in lines:
                for task in line.tasks:
                    if not task.done():
                        task._log_destroy_pending = False  # type: ignore[attr-defined]
                    elif not task.cancelled():
                        task.exception()
                line.tasks.clear()
                line.ready.clear()
            self._timers.clear()
        finally:
            asyncio._set_running_loop(before)

    def freeze(self, line: Line) -> None:
        line.is_frozen = True
        self._rest(line)

    def thaw(self, line: Line) -> None:
        line.is_frozen = False
        self._wake(line)

    def kill(self, line: Line) -> None:
        """Nothing of it runs any more, not even what would have cleaned up."""
        line.is_alive = False
        self._rest(line)

    def _wake(self, line: Line) -> None:
        if line.ready and not line.is_busy:
            line.is_busy = True
            self._busy.append(line)

    def _rest(self, line: Line) -> None:
        if line.is_busy:
            line.is_busy = False
            self._busy.remove(line)

    def _put(self, line: Line, handle: asyncio.Handle) -> None:
        # What a dead line has is kept for ``clear_up``.
        line.ready.append(handle)
        if line.is_alive and not line.is_frozen:
            self._wake(line)

    def _step(self) -> None:
        """Run some callbacks of one line, or let time pass."""
        if not self._busy:
            self._pass_time()
            return
        count = len(self._busy)
        line = self._busy[0 if count == 1 else int(self._random.random() * count)]
        ready = line.ready
        burst = 1 + int(self._random.random() * _BURST_MAX)
        while burst and ready and line.is_alive and not line.is_frozen:
            if self._jumble and len(ready) > 1 and self._random.random() < self._jumble:
                ready.rotate(-1)
            handle = ready.popleft()
            burst -= 1
            if not handle.cancelled():
                self._at_once += 1
                handle._run()
        if not ready:
            self._rest(line)
        if self._at_once > CALLBACKS_AT_ONCE_MAX:
            raise NothingHappens(f"{line.name} runs and runs, and time stands still")

    def _pass_time(self) -> None:
        """Jump to the next moment at which something is due."""
        timers = self._timers
        while timers:
            when, _, handle, line = heapq.heappop(timers)
            if handle.cancelled():
                continue
            if not line.is_alive:
                self._put(line, handle)
                continue
            if when > self._now:
                self._now = when
                self._at_once = 0
            self._at_once += 1
            self._put(line, handle)
            while timers and timers[0][0] <= self._now:
                _, _, handle, line = heapq.heappop(timers)
                if not handle.cancelled():
                    self._put(line, handle)
            return
        raise NothingHappens("everybody waits, and nothing will ever come")


def line_here() -> Line:
    """Return the line that the running callback belongs to."""
    return _LINE.get()
