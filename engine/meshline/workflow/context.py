"""What a step can ask for besides values: ``ctx: StepContext``."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["StepContext"]


class StepContext(Protocol):
    """The try that is under way, as the step sees it. The engine makes it.

    ``attempt`` counts from 1. ``idempotency_key`` is the same for all tries of the step in the run:
    hand it to the system outside, and what is done twice counts there once. ``logger`` adds run
    and step to each line.
    """

    @property
    def run_id(self) -> str: ...

    @property
    def workflow(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def step(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def idempotency_key(self) -> str: ...

    @property
    def logger(self) -> logging.Logger | logging.LoggerAdapter[logging.Logger]: ...

    def heartbeat(self) -> None:
        """Say that the step is alive, where ``heartbeat=`` is set. Cheap; never waits."""
        ...
