"""The two kinds of reply to a request: a fact that carries it out, and a refusal that says why."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from meshline.engine.core.decision import Decision
from meshline.engine.core.faults import faults_in
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.people_requests import AccessChangeRequested
from meshline.events.requests import RefusalReported
from meshline.events.text import cleaned

__all__ = ["answer_access", "answer_refusal", "no_principal", "problem_of", "refuse", "say"]

REASON_LENGTH_MAX = 2_000


def refuse(request: Event[Any], cause: str, code: str, reason: str) -> Decision:
    name = type(request.data).TYPE
    return say(
        request,
        cause,
        facts.RequestRejected(
            request=name, code=code, reason=f"Refused: {cleaned(reason, REASON_LENGTH_MAX)}."
        ),
    )


def answer_refusal(request: Event[RefusalReported], cause: str) -> Decision:
    """Return what a server refused as a fact: whether there is such a run does not matter."""
    data = request.data
    reason = cleaned(data.reason, REASON_LENGTH_MAX)
    if data.times > 1:
        reason = f"{reason} ({data.times} times alike; this is the last)"
    return say(
        request, cause, facts.RequestRejected(request=data.request, code=data.code, reason=reason)
    )


def answer_access(request: Event[AccessChangeRequested], cause: str) -> Decision:
    """Return it as a fact: what it is about is kept elsewhere, and who asked may do it."""
    data = request.data
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who does it")
    return say(
        request,
        cause,
        facts.AccessChanged(action=data.action, about=data.about, reason=data.reason),
    )


def say(request: Event[Any], cause: str, fact: facts.Fact) -> Decision:
    return Decision(fact, causation_id=cause, actor=request.actor)


def no_principal(value: Any) -> str:
    """Return in words that the value is nobody who can own something."""
    return f"{value!r} can't own anything: expected a principal such as 'team:emea' or 'user:ada'"


def problem_of(adapter: TypeAdapter[Any], value: Any) -> str | None:
    """Return what is wrong with the value, in words; None if nothing is."""
    faults = faults_in(adapter, value)[:5]
    return "; ".join(f"{'.'.join(map(str, at)) or 'value'}: {what}" for at, what in faults) or None
