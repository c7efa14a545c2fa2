"""What happens inside a run: steps and their tries, timers, messages, outside activities."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from meshline.events.facts.fact import Fact, Wait
from meshline.events.requests import StepError

__all__ = [
    "ActivityRecorded",
    "MessageAwaited",
    "MessageMatched",
    "StepFailed",
    "StepFannedOut",
    "StepJoined",
    "StepRetryScheduled",
    "StepSkipped",
    "StepStarted",
    "StepSucceeded",
    "TimerFired",
    "TimerSet",
]


class StepStarted(Fact):
    """A try begins. ``attempt`` counts from 1; ``why`` tells a first try from a later one.

    ``until`` is the limit for outside workers; tries inside a worker are watched by the worker.
    """

    TYPE = "meshline.step.started"

    step: str
    attempt: int
    until: AwareDatetime | None = None
    why: Literal["ready", "retry", "taken_over", "operator", "compensation"] = "ready"


class StepSucceeded(Fact):
    TYPE = "meshline.step.succeeded"

    step: str
    attempt: int
    result: Any = None


class StepFailed(Fact):
    TYPE = "meshline.step.failed"

    step: str
    attempt: int
    error: StepError


class StepRetryScheduled(Fact):
    """The step is tried again at ``at``; ``delay_s`` is what the policy and the jitter gave."""

    TYPE = "meshline.step.retry.scheduled"

    step: str
    attempt: int
    at: AwareDatetime
    delay_s: float


class StepSkipped(Fact):
    """The step is not done; ``value`` stands in for its result where a person gave one.

    ``rule`` is the condition that does not hold and ``values`` what it saw, None if that is large;
    ``upstream`` is the step that was skipped before, where this one needs its value.
    """

    TYPE = "meshline.step.skipped"

    step: str
    why: Literal["condition", "upstream", "operator", "denied", "expired"]
    reason: str = ""
    value: Any = None
    rule: str | None = None
    values: dict[str, Any] | None = None
    upstream: str | None = None


class StepFannedOut(Fact):
    """The step is done for each of ``count`` items, as steps of their own: ``price[0]`` and on."""

    TYPE = "meshline.step.fanned.out"

    step: str
    count: int


class StepJoined(Fact):
    """All items have ended: the step's value is the list of theirs, in the order of the items.

    The list is not repeated here; an item that was skipped without a value is null in it.
    """

    TYPE = "meshline.step.joined"

    step: str


class TimerSet(Fact):
    """A sleep or a deadline inside the run; ``timer`` is the name of its node."""

    TYPE = "meshline.timer.set"

    timer: str
    at: AwareDatetime


class TimerFired(Fact):
    TYPE = "meshline.timer.fired"

    timer: str


class MessageAwaited(Fact):
    """The run has come to where it waits for this message."""

    TYPE = "meshline.message.awaited"

    message: str
    due_at: AwareDatetime | None = None


class MessageMatched(Fact):
    """A message for the run came. It counts even if the run has not come to its wait yet."""

    TYPE = "meshline.message.matched"

    message: str
    payload: Any = None


class ActivityRecorded(Fact):
    """An outside system's activity, as the workflow's ``observe`` rule read it.

    ``actor`` is the person acting; ``waits`` replace those of the activity before it; ``memo`` is
    what the rule wants to be handed with the next activity.
    """

    TYPE = "meshline.activity.recorded"

    activity: str
    actor: str | None = None
    waits: tuple[Wait, ...] = ()
    memo: Any = None
