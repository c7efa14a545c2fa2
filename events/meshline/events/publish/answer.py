"""What goes in, and what comes back: triggers and the answers to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.facts import (
    FieldProblem,
    RequestRejected,
    TriggerAccepted,
    TriggerDeduplicated,
    TriggerRejected,
)

__all__ = ["Answer", "RequestAnswer", "Trigger"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger to publish; see ``Publisher.publish`` for the fields."""

    source: str
    payload: Any
    trigger_id: str
    trigger_type: str = ""
    time: datetime | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a trigger.

    ``appended``: it is in the log for good, and no keeper has decided yet (or nobody waited).
    ``accepted``: it is the run ``run_id`` now. ``repeated``: it already was. ``rejected``: it
    starts nothing; ``code`` (stable), ``reason`` and ``problems`` say why.

    ``source`` and ``trigger_id`` are those in the log: they differ from what was given only where
    that could not be a key. ``position`` is the trigger's, ``decided_at`` that of the fact which
    answers it: a view that has read so far shows it.
    """

    status: Literal["appended", "accepted", "repeated", "rejected"]
    source: str
    trigger_id: str
    run_id: str
    position: Position
    code: str | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()
    decided_at: Position | None = None


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What became of another request: ``appended`` (see ``Answer``), ``accepted`` or ``rejected``.

    ``code`` and ``reason`` say why it was rejected; ``decided_at`` where that or the first fact
    that follows from it stands.
    """

    status: Literal["appended", "accepted", "rejected"]
    run_id: str
    position: Position
    code: str | None = None
    reason: str = ""
    decided_at: Position | None = None


TRIGGER_ANSWERS = (TriggerAccepted, TriggerDeduplicated, TriggerRejected, RequestRejected)


def answers_trigger(fact: Event[Any]) -> bool:
    """Return whether the fact says what became of the trigger that it has as its cause."""
    return isinstance(fact.data, TRIGGER_ANSWERS)


def answers_request(fact: Event[Any]) -> bool:
    """Return whether the fact says what became of its cause: whatever follows from it does."""
    return True


def trigger_answer(appended: Answer, decision: Recorded[Any]) -> Answer:
    """Return the answer that the fact gives to a trigger, ``appended`` so far."""
    data, at = decision.event.data, decision.position
    if isinstance(data, TriggerAccepted):
        return replace(appended, status="accepted", decided_at=at)
    if isinstance(data, TriggerDeduplicated):
        return replace(appended, status="repeated", decided_at=at)
    problems = data.problems if isinstance(data, TriggerRejected) else ()
    return replace(
        appended, status="rejected", code=data.code, reason=data.reason, problems=problems,
        decided_at=at,
    )  # fmt: skip


def request_answer(appended: RequestAnswer, decision: Recorded[Any]) -> RequestAnswer:
    """Return the answer that the fact gives to a request, ``appended`` so far."""
    data, at = decision.event.data, decision.position
    if isinstance(data, RequestRejected):
        return replace(
            appended, status="rejected", code=data.code, reason=data.reason, decided_at=at
        )
    return replace(appended, status="accepted", decided_at=at)
