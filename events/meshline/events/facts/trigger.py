"""What became of a trigger."""

from __future__ import annotations

from typing import Literal

from meshline.events.facts.fact import Fact, FieldProblem

__all__ = [
    "TriggerAccepted",
    "TriggerDeduplicated",
    "TriggerRejected",
]


class TriggerAccepted(Fact):
    """The trigger is valid and becomes the run. The payload stands in the request before it.

    ``exception_route`` is who sees it if no worker can start the run.
    """

    TYPE = "meshline.trigger.accepted"

    source: str
    trigger_id: str
    trigger_type: str
    payload_hash: str
    workflow: str
    version: int
    exception_route: str = ""


class TriggerRejected(Fact):
    """The trigger starts nothing, and why; ``code`` is stable, ``problems`` are field by field."""

    TYPE = "meshline.trigger.rejected"

    source: str
    trigger_id: str
    trigger_type: str
    code: Literal["invalid", "unreadable", "unknown_source", "conflict"]
    reason: str
    problems: tuple[FieldProblem, ...] = ()


class TriggerDeduplicated(Fact):
    """The same trigger came again, with the same payload: it is the run that it already was."""

    TYPE = "meshline.trigger.deduplicated"

    source: str
    trigger_id: str
    trigger_type: str
