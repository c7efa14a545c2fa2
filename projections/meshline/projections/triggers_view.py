"""The view ``triggers``: every signal that came in, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import TriggerAccepted, TriggerDeduplicated, TriggerRejected
from meshline.events.requests import TriggerReceived
from meshline.projections.columns import Json, to_json
from meshline.projections.projection import Key, Projection

__all__ = ["TriggerRow", "projection", "triggers"]


class TriggerRow(NamedTuple):
    """One trigger as it came, at its position: the same one sent twice stands here twice.

    ``code``, ``reason`` and ``problems`` say why it was rejected; ``unreadable`` keeps what did
    not pass the gate.
    """

    partition: int
    log_offset: int
    source: str
    trigger_id: str
    trigger_type: str
    run_id: str
    status: Literal["received", "accepted", "repeated", "rejected"]
    workflow: str | None
    code: str | None
    reason: str | None
    problems: Json
    payload: Json | None
    unreadable: Json | None
    received_at: datetime
    answered_at: datetime | None


def _by_trigger(event: Recorded[Any]) -> Iterable[Key]:
    """The request's position: its own, or the one that the fact answers."""
    if event.event.data.__class__ is TriggerReceived:
        return (event.position,)
    partition, _, offset = (event.event.causation_id or "").partition(":")
    if partition.isdecimal() and offset.isdecimal():
        return ((int(partition), int(offset)),)
    return ()


projection = Projection("triggers", version=1)
triggers = projection.table(
    "triggers",
    TriggerRow,
    key=["partition", "log_offset"],
    keys=_by_trigger,
    indexes=[["status"], ["source", "trigger_id"], ["run_id"], ["received_at"]],
)


@triggers.on(TriggerReceived)
def _received(row: TriggerRow | None, event: Recorded[TriggerReceived]) -> TriggerRow:
    data = event.event.data
    return TriggerRow(
        partition=event.position.partition,
        log_offset=event.position.offset,
        source=data.source,
        trigger_id=data.trigger_id,
        trigger_type=data.trigger_type,
        run_id=event.event.subject,
        status="received",
        workflow=None,
        code=None,
        reason=None,
        problems=[],
        payload=data.payload,
        unreadable=to_json(data.unreadable),
        received_at=event.event.recorded_at,
        answered_at=None,
    )


@triggers.on(TriggerAccepted)
def _accepted(row: TriggerRow | None, event: Recorded[TriggerAccepted]) -> TriggerRow | None:
    if row is None:
        return None
    data = event.event.data
    return row._replace(
        status="accepted",
        workflow=data.workflow,
        trigger_type=data.trigger_type,
        answered_at=event.event.recorded_at,
    )


@triggers.on(TriggerDeduplicated)
def _repeated(row: TriggerRow | None, event: Recorded[TriggerDeduplicated]) -> TriggerRow | None:
    if row is None:
        return None
    return row._replace(status="repeated", answered_at=event.event.recorded_at)


@triggers.on(TriggerRejected)
def _rejected(row: TriggerRow | None, event: Recorded[TriggerRejected]) -> TriggerRow | None:
    if row is None:
        return None
    data = event.event.data
    return row._replace(
        status="rejected",
        code=data.code,
        reason=data.reason,
        problems=to_json(data.problems),
        answered_at=event.event.recorded_at,
    )
