"""What a step sees of its try: the engine's ``StepContext``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshline.engine.trial import Try

__all__ = ["TryContext"]

_LOGGER = logging.getLogger("meshline.step")


class TryContext:
    """See ``meshline.workflow.StepContext``; made for each try.

    Args:
        stopwatch: gives the seconds by which heartbeats are watched.
    """

    __slots__ = ("_stopwatch", "_trial")

    def __init__(self, trial: Try, stopwatch: Callable[[], float]) -> None:
        self._trial = trial
        self._stopwatch = stopwatch

    @property
    def run_id(self) -> str:
        return self._trial.run_id

    @property
    def workflow(self) -> str:
        return self._trial.workflow

    @property
    def version(self) -> int:
        return self._trial.version

    @property
    def step(self) -> str:
        return self._trial.node.name

    @property
    def attempt(self) -> int:
        return self._trial.attempt

    @property
    def idempotency_key(self) -> str:
        return self._trial.idempotency_key

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        return logging.LoggerAdapter(_LOGGER, {"run": self.run_id, "step": self.step})

    def heartbeat(self) -> None:
        # A plain assignment: it may come from the step's own thread.
        self._trial.heartbeat_at = self._stopwatch()
