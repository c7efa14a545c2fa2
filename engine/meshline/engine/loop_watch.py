"""Watches that the event loop turns: says which step keeps it, and ends one that goes on and on.

While an ``async`` step computes or waits without ``await``, nothing else of its worker happens: no
heartbeat, no time-out, no stop. Seen from outside the worker is dead: others take over its
partitions, and begin the same step. So it is looked at from a thread; and since only the loop's own
thread can be made to raise there, a signal is what reaches the step.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from meshline.engine.errors import StepBlockedLoop
from meshline.engine.settings import WorkerSettings
from meshline.engine.trial import Try

__all__ = ["LoopWatch"]

logger = logging.getLogger("meshline.engine")

LOOKS = 8
"""How often it looks within ``loop_blocked_s``."""

SIGNAL: int | None = getattr(signal, "SIGURG", None)
"""Nobody else's, and ignored where it comes too late: none that ends a process by default."""


class LoopWatch:
    """Start it on the loop that is to be watched; ``stop`` it there.

    Args:
        trying: returns the try whose step a task is calling.
    """

    def __init__(
        self, settings: WorkerSettings, trying: Callable[[asyncio.Task[Any] | None], Try | None]
    ) -> None:
        self._settings = settings
        self._trying = trying
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        self._turns = 0
        self._turned_at = 0.0
        self._still_s = 0.0
        self._keeping: Try | None = None
        self._is_ending = False
        self._previous: Any = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if not self._settings.loop_blocked_s:
            return
        self._loop = asyncio.get_running_loop()
        self._turned_at = self._loop.time()
        self._thread_id = threading.get_ident()
        # Signals reach the main thread only. Elsewhere a step can be named, and not ended.
        if SIGNAL is not None and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(SIGNAL, self._interrupt)
        self._thread = threading.Thread(target=self._watch, name="meshline-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._previous is not None and SIGNAL is not None:
            signal.signal(SIGNAL, self._previous)
            self._previous = None

    @property
    def still_s(self) -> float:
        """Seconds for which the loop has stood still so far, moments between two looks left out."""
        return self._still_s + self._still_now()

    def _still_now(self) -> float:
        if self._loop is None:
            return 0.0
        still_s = self._loop.time() - self._turned_at
        return still_s if still_s > 2 * self._look_s else 0.0

    @property
    def _look_s(self) -> float:
        return self._settings.loop_blocked_s / LOOKS

    # -- in its own thread ---------------------------------------------------------------------

    def _watch(self) -> None:
        assert self._loop is not None
        while not self._ended.is_set():
            turns = self._turns
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                return  # The loop has ended.
            self._wait_for_turn(turns, self._look_s)

    def _turn(self) -> None:
        assert self._loop is not None
        still_s = self._still_now()
        self._still_s += still_s
        if self._keeping is not None:
            self._keeping.kept_loop_s += still_s
            self._keeping = None
        self._turned_at = self._loop.time()
        self._turns += 1
        self._is_ending = False

    def _wait_for_turn(self, turns: int, look_s: float) -> None:
        """Return when the loop has turned; complain meanwhile, later each time."""
        blocked_s = 0.0
        complain_s = self._settings.loop_blocked_s
        looked = time.monotonic()
        while not self._ended.wait(look_s) and self._turns == turns:
            now = time.monotonic()
            # A process that was stopped as a whole did not see its loop stand still.
            blocked_s += min(now - looked, 2 * look_s)
            looked = now
            self._keeping = self._trying(asyncio.current_task(self._loop)) or self._keeping
            if blocked_s >= complain_s:
                complain_s *= 2
                self._complain(blocked_s)
            if blocked_s >= self._settings.loop_blocked_s_max and self._previous is not None:
                assert SIGNAL is not None
                self._is_ending = True
                signal.pthread_kill(self._thread_id, SIGNAL)

    def _complain(self, blocked_s: float) -> None:
        trial = self._trying(asyncio.current_task(self._loop))
        frame = sys._current_frames().get(self._thread_id)
        stack = "".join(traceback.format_stack(frame, limit=6)) if frame is not None else ""
        logger.warning(
            "%s has kept the event loop of this worker for %.1f s: nothing else happens meanwhile. "
            "Use await, or write the step as a plain function. It is at:\n%s",
            "Something" if trial is None else f"Step {trial.node.name!r} of run {trial.run_id}",
            blocked_s, stack,
        )  # fmt: skip

    # -- in the loop's thread, wherever it is just then ----------------------------------------

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self._is_ending or self._trying(asyncio.current_task(self._loop)) is None:
            return
        raise StepBlockedLoop(
            f"The step kept the worker's event loop for {self._settings.loop_blocked_s_max:g} s: "
            "expected an `async` step to await whatever takes long. Use await, or write it as a "
            "plain function (`def`), which gets a thread of its own."
        )
