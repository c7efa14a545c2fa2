"""Errors of the engine, in the form of ``meshline.events.errors``."""

from __future__ import annotations

from meshline.events.errors import MeshlineError

__all__ = ["ClockOff", "StepBlockedLoop", "StepsLost"]


class StepsLost(MeshlineError):
    """Too many tries of this worker can't be ended: only a new process gets rid of them."""

    code = "ML4201"


class ClockOff(MeshlineError):
    """This worker's clock and the log's differ by too much: it must not set or fire timers."""

    code = "ML4202"


class StepBlockedLoop(BaseException):
    """Raised into an ``async`` step that keeps the worker's event loop to itself.

    No ``Exception``: a step that catches all of those must not catch this one by the way.
    """
