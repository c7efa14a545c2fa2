"""The life of a run, from its start to its end."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from meshline.events.facts.fact import Fact, Wait
from meshline.events.requests import StepError

__all__ = [
    "CompensationStarted",
    "RunCancelled",
    "RunFailed",
    "RunHeld",
    "RunPaused",
    "RunReopened",
    "RunNoted",
    "RunResumed",
    "RunStarted",
    "RunSucceeded",
    "RunWaiting",
]


class RunStarted(Fact):
    """The run begins. The five answers are fixed here, as the definition gave them."""

    TYPE = "meshline.run.started"

    workflow: str
    version: int
    trigger_id: str
    trigger_type: str
    source: str
    owner: str
    exception_route: str
    expected_outcome: str
    due_at: AwareDatetime | None = None
    observed: bool = False


class RunWaiting(Fact):
    """Nothing is being done now; ``waits`` says what for, never empty."""

    TYPE = "meshline.run.waiting"

    waits: tuple[Wait, ...]


class RunHeld(Fact):
    """Open exceptions stop the run; nothing else in it can go on."""

    TYPE = "meshline.run.held"

    waits: tuple[Wait, ...]


class RunPaused(Fact):
    TYPE = "meshline.run.paused"

    reason: str = ""
    until: AwareDatetime | None = None


class RunNoted(Fact):
    """The envelope's actor has this to say about the run."""

    TYPE = "meshline.run.noted"

    text: str


class RunResumed(Fact):
    TYPE = "meshline.run.resumed"

    reason: str = ""


class RunReopened(Fact):
    """An observed run that had ended goes on: the outside world did not take it as ended."""

    TYPE = "meshline.run.reopened"

    reason: str


class CompensationStarted(Fact):
    """What the run did is undone, last step first; then it ends as ``then`` says."""

    TYPE = "meshline.run.compensation.started"

    then: Literal["failed", "cancelled"]
    reason: str
    steps: tuple[str, ...]


class RunSucceeded(Fact):
    """The expected outcome is there; ``outcome`` is its value."""

    TYPE = "meshline.run.succeeded"

    outcome: Any = None


class RunFailed(Fact):
    TYPE = "meshline.run.failed"

    reason: str
    error: StepError | None = None


class RunCancelled(Fact):
    TYPE = "meshline.run.cancelled"

    reason: str
