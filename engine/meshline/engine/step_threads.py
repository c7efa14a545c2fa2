"""Threads for steps that are plain functions.

A thread can't be stopped. One whose caller has given it up is lost until it comes back by itself:
another takes its place, and at the end of the process nobody waits for it. (The pool of the
standard library would do neither.)
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["StepThreads", "ThreadCall"]


class ThreadCall:
    """A function on its way through a thread, and who waits for what it gives."""

    __slots__ = ("function", "future", "is_given_up", "is_over", "is_running", "loop")

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.function = function
        self.loop = loop
        self.future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        self.is_given_up = False
        self.is_running = False
        self.is_over = False

    @property
    def is_lost(self) -> bool:
        return self.is_given_up and self.is_running

    def settle(self, result: Any, error: BaseException | None) -> None:
        if not self.future.done():
            self.future.set_result((result, error))


class StepThreads:
    """Runs functions, so many at once; the others wait for their turn.

    Args:
        threads_max: functions at once, those that were given up not counted.
    """

    def __init__(self, threads_max: int) -> None:
        self._threads_max = threads_max
        self._calls: queue.SimpleQueue[ThreadCall | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Without those that are lost.
        self._threads = 0
        # Calls that wait or run, and that somebody waits for.
        self._wanted = 0
        self._lost = 0
        self._number = 0

    @property
    def lost(self) -> int:
        """Threads whose callers have given them up, and that have not come back."""
        return self._lost

    async def run(self, function: Callable[[], Any]) -> Any:
        """Return what the function gives, or raise what it raises; cancel it to give it up."""
        return await self.result(self.begin(function))

    def begin(self, function: Callable[[], Any]) -> ThreadCall:
        """Let the function have its turn. Somebody must await its ``result``."""
        call = ThreadCall(function, asyncio.get_running_loop())
        with self._lock:
            self._wanted += 1
            self._calls.put(call)
            self._start_if_needed()
        return call

    async def result(self, call: ThreadCall) -> Any:
        try:
            result, error = await call.future
        except asyncio.CancelledError:
            self._give_up(call)
            raise
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let the threads end as soon as they have nothing to do."""
        with self._lock:
            for _ in range(self._threads):
                self._calls.put(None)

    def _start_if_needed(self) -> None:
        if self._wanted > self._threads and self._threads < self._threads_max:
            self._threads += 1
            self._number += 1
            name = f"meshline-step-{self._number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _give_up(self, call: ThreadCall) -> None:
        with self._lock:
            if call.is_over:
                return
            call.is_given_up = True
            self._wanted -= 1
            if call.is_running:
                self._threads -= 1
                self._lost += 1
                self._start_if_needed()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._begin(call):
                continue
            result, error = _outcome_of(call.function)
            if not self._end(call):
                return  # Another has this one's place.
            try:
                call.loop.call_soon_threadsafe(call.settle, result, error)
            except RuntimeError:
                break  # The loop has ended meanwhile.
        with self._lock:
            self._threads -= 1

    def _begin(self, call: ThreadCall) -> bool:
        with self._lock:
            call.is_running = not call.is_given_up
            return call.is_running

    def _end(self, call: ThreadCall) -> bool:
        with self._lock:
            call.is_running = False
            if call.is_given_up:
                self._lost -= 1
                return False
            call.is_over = True
            self._wanted -= 1
            return True


def _outcome_of(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:  # whatever it is, it ends the try and not the thread
        return None, error
