"""Performing steps: coroutines as tasks, plain functions in threads, with limits and time-outs."""

from __future__ import annotations

import asyncio
import logging
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from meshline.engine.core.draft import Outcome
from meshline.engine.core.keeper import UnderWay
from meshline.engine.loop_watch import LoopWatch
from meshline.engine.outcomes import failure, storable
from meshline.engine.settings import WorkerSettings
from meshline.engine.step_context import TryContext
from meshline.engine.step_threads import StepThreads
from meshline.engine.trial import Try
from meshline.events.requests import StepError

__all__ = ["Performer"]

logger = logging.getLogger("meshline.engine")

LOST_AFTER_S = 5.0
"""A task that goes on for so long after it was cancelled does not heed it."""


class Performer:
    """Performs tries and hands each one's outcome to ``report``, exactly once.

    Args:
        under_way: told of every try, from its arrival until its outcome was handed on.
        report: called on the event loop.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        under_way: UnderWay,
        report: Callable[[Outcome], None],
    ) -> None:
        self._settings = settings
        self._under_way = under_way
        self._report = report
        # Tries that wait for room, apart for each step that has a limit of its own.
        self._waiting: dict[tuple[str, int, str] | None, deque[Try]] = {}
        self._tries: dict[tuple[str, str, int], Try] = {}
        # Not sets of tries: what is cancelled first must not depend on where they are in memory.
        self._by_run: dict[str, dict[Try, None]] = {}
        self._running = 0
        self._running_by_step: dict[tuple[str, int, str], int] = {}
        self._threads = StepThreads(settings.threads_max)
        # Tasks that were cancelled and go on all the same.
        self._deaf: set[asyncio.Task[None]] = set()
        self.watch = LoopWatch(settings, self.trying)
        """To be started before the first try, where somebody is to look."""
        self.exhausted = asyncio.Event()
        """Set when more tries go on unasked than ``tries_lost_max``."""

    @property
    def lost(self) -> int:
        """Tries that are over for everybody, and can't be ended."""
        return self._threads.lost + len(self._deaf)

    def trying(self, task: asyncio.Task[Any] | None) -> Try | None:
        """Return the try whose step the task is calling now, if it is one of a try."""
        # A copy: another thread may ask.
        return next((t for t in [*self._tries.values()] if t.task is task and t.in_call), None)

    @property
    def count(self) -> int:
        """Tries that have not given an outcome yet."""
        return len(self._tries)

    def perform(self, trial: Try) -> None:
        """Try the step, as soon as there is room."""
        if trial.key in self._tries:
            return
        self._tries[trial.key] = trial
        self._by_run.setdefault(trial.run_id, {})[trial] = None
        self._under_way.tries.add(trial.key)
        if self._has_room(trial):
            self._start(trial)
        else:
            self._waiting.setdefault(_line_of(trial), deque()).append(trial)

    def cancel_run(self, run_id: str) -> None:
        """Stop whatever of the run is under way; no outcomes are reported for it."""
        for trial in list(self._by_run.get(run_id, ())):
            self._forget(trial)
            if trial.task is not None:
                trial.task.cancel()

    async def drain(self, seconds: float) -> None:
        """Wait until nothing is under way, at most so long; then stop what is left."""
        deadline = asyncio.get_running_loop().time() + seconds
        for trial in [trial for line in self._waiting.values() for trial in line]:
            self._forget(trial)
        self._waiting.clear()
        while self._tries and asyncio.get_running_loop().time() < deadline:
            tasks = [t.task for t in self._tries.values() if t.task is not None]
            if not tasks:
                break
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(tasks, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
        for run_id in list(self._by_run):
            self.cancel_run(run_id)
        self._threads.close()

    # -- room ----------------------------------------------------------------------------------

    def _has_room(self, trial: Try) -> bool:
        if self._running >= self._settings.steps_max:
            return False
        limit = trial.node.concurrency_max
        return limit is None or self._running_by_step.get(trial.step_key, 0) < limit

    def _start(self, trial: Try) -> None:
        loop = asyncio.get_running_loop()
        self._running += 1
        if trial.node.concurrency_max is not None:
            key = trial.step_key
            self._running_by_step[key] = self._running_by_step.get(key, 0) + 1
        trial.task = loop.create_task(self._try(trial))
        trial.task.add_done_callback(partial(self._ended, trial))
        trial.began_at = trial.heartbeat_at = self._time_of(trial, loop)
        trial.expiry = loop.call_later(trial.node.start_to_close_s, self._expire, trial)
        if trial.node.heartbeat_s is not None:
            trial.watch = loop.call_later(trial.node.heartbeat_s, self._watch, trial)

    def _ended(self, trial: Try, task: asyncio.Task[None]) -> None:
        """Make room. A cancelled try, and one whose outcome was reported, end here too."""
        self._running -= 1
        if trial.node.concurrency_max is not None:
            self._running_by_step[trial.step_key] -= 1
        if not task.cancelled() and task.exception() is not None:
            logger.error("A try ended without an outcome", exc_info=task.exception())
        for line in (_line_of(trial), *self._waiting):
            if self._start_next(line):
                break

    def _start_next(self, line: tuple[str, int, str] | None) -> bool:
        """Start the first try of this line that is still wanted, if there is room for it."""
        waiting = self._waiting.get(line)
        while waiting and waiting[0].key not in self._tries:
            waiting.popleft()
        if not waiting:
            self._waiting.pop(line, None)
            return False
        if not self._has_room(waiting[0]):
            return False
        self._start(waiting.popleft())
        return True

    def _forget(self, trial: Try) -> bool:
        """Return whether the try still owed an outcome."""
        if self._tries.pop(trial.key, None) is None:
            return False
        self._under_way.tries.discard(trial.key)
        if trial.expiry is not None:
            trial.expiry.cancel()
        if trial.watch is not None:
            trial.watch.cancel()
        others = self._by_run[trial.run_id]
        others.pop(trial, None)
        if not others:
            del self._by_run[trial.run_id]
        return True

    # -- trying --------------------------------------------------------------------------------

    async def _try(self, trial: Try) -> None:
        try:
            result = await self._call(trial)
            outcome = Outcome(*trial.key, storable(trial.node, result, self._settings.gate), None)
        except asyncio.CancelledError:
            # Only this worker cancels a try, and then its outcome is said already or not wanted.
            if trial.key not in self._tries:
                raise
            error = StepError(type="CancelledError", message="The step cancelled itself.")
            outcome = Outcome(*trial.key, None, error)
        except GeneratorExit:
            raise
        except BaseException as error:
            # SystemExit too, and an author's own: it ends the try, not the worker.
            outcome = Outcome(*trial.key, None, failure(trial, error))
        self._give(trial, outcome)

    def _give(self, trial: Try, outcome: Outcome) -> None:
        if self._forget(trial):
            self._report(outcome)

    async def _call(self, trial: Try) -> Any:
        node = trial.node
        context = TryContext(trial, partial(self._time_of, trial, asyncio.get_running_loop()))
        arguments = trial.arguments(context)
        assert node.call is not None
        if not node.is_async and not self._settings.threads_max:
            return node.call(**arguments)
        if not node.is_async:
            trial.thread_call = self._threads.begin(partial(node.call, **arguments))
            return await self._threads.result(trial.thread_call)
        trial.in_call = True
        try:
            return await node.call(**arguments)
        finally:
            trial.in_call = False

    def _time_of(self, trial: Try, loop: asyncio.AbstractEventLoop) -> float:
        """Return the time that a try's limits go by: it rests while others keep the loop."""
        return loop.time() - self._kept_by_others_s(trial)

    def _kept_by_others_s(self, trial: Try) -> float:
        return self.watch.still_s - trial.kept_loop_s

    def _wait_on(self, trial: Try, until: float, then: Callable[[Try], None]) -> TimerHandle | None:
        """Return a timer for the moment, in the try's own time; None when it has come."""
        loop = asyncio.get_running_loop()
        # The moment itself, and not what is left until it: that may be too little to be counted.
        until += self._kept_by_others_s(trial)
        return loop.call_at(until, then, trial) if loop.time() < until else None

    def _expire(self, trial: Try) -> None:
        limit_s = trial.node.start_to_close_s
        trial.expiry = self._wait_on(trial, trial.began_at + limit_s, self._expire)
        if trial.expiry is None:
            message = f"The try took longer than {limit_s:g} s."
            self._fail(trial, StepError(type="StepTimedOut", message=message))

    def _watch(self, trial: Try) -> None:
        limit_s = trial.node.heartbeat_s
        assert limit_s is not None
        trial.watch = self._wait_on(trial, trial.heartbeat_at + limit_s, self._watch)
        if trial.watch is None:
            message = f"The try gave no heartbeat for {limit_s:g} s."
            self._fail(trial, StepError(type="HeartbeatMissed", message=message))

    def _fail(self, trial: Try, error: StepError) -> None:
        """Report the try as failed now, whatever it does; its result is not taken any more."""
        self._give(trial, Outcome(*trial.key, None, error))
        if trial.task is not None:
            trial.task.cancel()
            loop = asyncio.get_running_loop()
            loop.call_later(LOST_AFTER_S, self._note_lost, trial, trial.task)

    def _note_lost(self, trial: Try, task: asyncio.Task[None]) -> None:
        """Say it where what has failed goes on: nothing but the end of the process ends it."""
        if task.done() and (trial.thread_call is None or not trial.thread_call.is_lost):
            return
        if not task.done():
            self._deaf.add(task)
            task.add_done_callback(self._deaf.discard)
        logger.warning(
            "Step %r of run %s goes on after its time-out: %d of %d such tries until this worker "
            "ends. Give what it waits for a time-out of its own.",
            trial.node.name, trial.run_id, self.lost, self._settings.tries_lost_max,
        )  # fmt: skip
        if self.lost >= self._settings.tries_lost_max:
            self.exhausted.set()


def _line_of(trial: Try) -> tuple[str, int, str] | None:
    return None if trial.node.concurrency_max is None else trial.step_key
