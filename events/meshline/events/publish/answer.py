"""What goes in, and what comes back: triggers and the answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from meshline.events.envelope import Actor, Event, Position
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
    that could not be a key.
    """

    status: Literal["appended", "accepted", "repeated", "rejected"]
    source: str
    trigger_id: str
    run_id: str
    position: Position
    code: str | None = None
    reason: str = ""
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What became of another request: ``appended`` (see ``Answer``), ``accepted`` or ``rejected``.

    ``code`` and ``reason`` say why it was rejected.
    """

    status: Literal["appended", "accepted", "rejected"]
    run_id: str
    position: Position
    code: str | None = None
    reason: str = ""


TRIGGER_ANSWERS = (TriggerAccepted, TriggerDeduplicated, TriggerRejected, RequestRejected)


def answers_trigger(fact: Event[Any]) -> bool:
    """Return whether the fact says what became of the trigger that it has as its cause."""
    return isinstance(fact.data, TRIGGER_ANSWERS)


def answers_request(fact: Event[Any]) -> bool:
    """Return whether the fact says what became of its cause: whatever follows from it does."""
    return True


def trigger_answer(appended: Answer, fact: Event[Any]) -> Answer:
    """Return the answer that the fact gives to a trigger, ``appended`` so far."""
    known = (appended.source, appended.trigger_id, appended.run_id, appended.position)
    data = fact.data
    if isinstance(data, TriggerAccepted):
        return Answer("accepted", *known)
    if isinstance(data, TriggerDeduplicated):
        return Answer("repeated", *known)
    problems = data.problems if isinstance(data, TriggerRejected) else ()
    return Answer("rejected", *known, code=data.code, reason=data.reason, problems=problems)


def request_answer(appended: RequestAnswer, fact: Event[Any]) -> RequestAnswer:
    """Return the answer that the fact gives to a request, ``appended`` so far."""
    known = (appended.run_id, appended.position)
    if isinstance(fact.data, RequestRejected):
        return RequestAnswer("rejected", *known, code=fact.data.code, reason=fact.data.reason)
    return RequestAnswer("accepted", *known)
