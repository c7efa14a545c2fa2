"""From what a source says to the request that the log keeps: also where it can't be read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from meshline.events.envelope import Actor
from meshline.events.errors import PayloadRefused
from meshline.events.gate import Gate, check_identifier, check_time, kept, sketched
from meshline.events.ids import run_id_of
from meshline.events.publish.answer import Trigger
from meshline.events.requests import Request, TriggerReceived

__all__ = ["Received", "receive"]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Received:
    """A request, and what its envelope says around it."""

    data: Request
    run_id: str
    source: str
    time: datetime | None
    correlation_id: str | None
    traceparent: str | None
    actor: Actor | None


def receive(trigger: Trigger, gate: Gate, *, raw: bytes | None = None) -> Received:
    """Return the request for a trigger; one with ``unreadable`` if something can't be kept as is.

    Args:
        raw: the payload as it came, where it is to be parsed here.
    """
    problems: list[PayloadRefused] = []
    payload = None
    try:
        payload = gate.check(trigger.payload) if raw is None else gate.parse(raw)
    except PayloadRefused as refusal:
        problems.append(refusal)
    source = _identifier("source", trigger.source, problems)
    trigger_id = _identifier("trigger id", trigger.trigger_id, problems)
    trigger_type = trigger.trigger_type
    if trigger_type != "":
        trigger_type = _identifier("trigger type", trigger_type, problems) or ""
    correlation_id = trigger.correlation_id
    if correlation_id is not None:
        correlation_id = _identifier("correlation id", correlation_id, problems)
    time = _moment(trigger.time, problems)
    if problems or source is None or trigger_id is None:
        return _unreadable(trigger, raw, problems, source, trigger_id, trigger_type, time)
    return Received(
        TriggerReceived(
            source=source, trigger_id=trigger_id, trigger_type=trigger_type, payload=payload
        ),
        run_id_of(source, trigger_id),
        source,
        time,
        correlation_id,
        _traceparent(trigger.traceparent),
        trigger.actor,
    )


def _identifier(name: str, value: object, problems: list[PayloadRefused]) -> str | None:
    try:
        return check_identifier(name, value)
    except PayloadRefused as refusal:
        problems.append(refusal)
        return None


def _moment(value: object, problems: list[PayloadRefused]) -> datetime | None:
    try:
        return None if value is None else check_time(value)
    except PayloadRefused as refusal:
        problems.append(refusal)
        return None


def _traceparent(value: object) -> str | None:
    """W3C Trace Context: what is no traceparent is to be ignored."""
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _unreadable(
    trigger: Trigger,
    raw: bytes | None,
    problems: list[PayloadRefused],
    source: str | None,
    trigger_id: str | None,
    trigger_type: str,
    time: datetime | None,
) -> Received:
    content = sketched(trigger.payload) if raw is None else raw
    if source is None or trigger_id is None:
        # What can't be a key is kept under one of its own: the same again is the same again.
        original = sketched([trigger.source, trigger.trigger_id]) + content
        digest = hashlib.sha256(original).hexdigest()[:16]
        source = source or "unreadable"
        trigger_id = trigger_id or f"unreadable-{digest}"
    refusal = PayloadRefused(problems[0].reason, " ".join(problem.message for problem in problems))
    return Received(
        TriggerReceived(
            source=source,
            trigger_id=trigger_id,
            trigger_type=trigger_type,
            unreadable=kept(content, refusal),
        ),
        run_id_of(source, trigger_id),
        source,
        time,
        None,
        _traceparent(trigger.traceparent),
        trigger.actor,
    )
