"""What a fact asks the world to do. Performed only once the fact was read back in its own epoch."""

from __future__ import annotations

from typing import Any, NamedTuple

from meshline.events.envelope import Event
from meshline.events.facts import (
    CompensationStarted,
    RunCancelled,
    RunFailed,
    RunSucceeded,
    StepStarted,
)

__all__ = ["CancelSteps", "Effect", "PerformStep", "effect_of"]


class PerformStep(NamedTuple):
    """Try this step of this run."""

    run_id: str
    step: str
    attempt: int


class CancelSteps(NamedTuple):
    """Stop whatever of this run is under way: its outcome no longer counts."""

    run_id: str


Effect = PerformStep | CancelSteps

_ENDS = (CompensationStarted, RunCancelled, RunFailed, RunSucceeded)


def effect_of(event: Event[Any]) -> Effect | None:
    """Return what this fact asks for; None for most."""
    data = event.data
    if type(data) is StepStarted:
        return PerformStep(event.subject, data.step, data.attempt)
    if type(data) in _ENDS:
        return CancelSteps(event.subject)
    return None
