"""The view ``history``: every event, request and refusal of every run, in the order of the log."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.envelope import Recorded
from meshline.events.facts import (
    AbsenceChanged,
    ApprovalExpired,
    CauseReopened,
    CauseResolved,
    DirectoryChanged,
    ExceptionOpened,
    ExceptionReopened,
    LogCreated,
    PartitionClaimed,
    RequestRejected,
    RunFailed,
    StepFailed,
    TaskExpired,
    TriggerRejected,
    WorkflowRegistered,
)
from meshline.events.people_requests import AbsenceChangeRequested, DirectoryChangeRequested
from meshline.events.requests import CauseActionRequested
from meshline.projections.columns import Json, json_text
from meshline.projections.projection import Projection, RowAccess

__all__ = ["KINDS", "HistoryRow", "history", "kind_of", "projection", "types_meant"]


class HistoryRow(NamedTuple):
    """One event, at its newest version. ``epoch`` and ``sequence`` are a fact's, None in requests.

    ``causation_id`` is the position of the request that it answers, or another event's id.
    """

    run_id: str
    partition: int
    log_offset: int
    type: str
    event_id: str
    time: datetime
    recorded_at: datetime
    actor_kind: str | None
    actor: str | None
    causation_id: str | None
    epoch: int | None
    sequence: int | None
    data: Json


_OF_NO_RUN = (
    LogCreated, PartitionClaimed, WorkflowRegistered, DirectoryChangeRequested, DirectoryChanged,
    AbsenceChangeRequested, AbsenceChanged, CauseActionRequested, CauseResolved, CauseReopened,
)  # fmt: skip
_NAMES = {data_type: name for name, data_type in CATALOGUE.items()}


def kind_of(event_type: str) -> str:
    """Return a type of event without what all have: ``step.failed``."""
    return event_type.removeprefix("meshline.").rpartition(".v")[0]


KINDS = {kind_of(name): name for name, each in CATALOGUE.items() if each not in _OF_NO_RUN}
"""The types of events of runs, by their kind."""

FAILURES = frozenset(
    type_name(each)
    for each in (
        *(StepFailed, RunFailed, ExceptionOpened, ExceptionReopened, TaskExpired, ApprovalExpired),
        *(RequestRejected, TriggerRejected),
    )
)
"""The types that say that something failed, was refused, or was not done in time."""


def types_meant(kinds: Collection[str] | None, *, failed: bool) -> list[str] | None:
    """Return the types of these kinds, and with ``failed`` of ``FAILURES`` alone; None: all."""
    if not kinds and not failed:
        return None
    named = {KINDS.get(kind, kind) for kind in kinds} if kinds else FAILURES
    return sorted(named & FAILURES if failed else named)


projection = Projection("history", version=2)
# One index serves a run's history, and is all that a load of millions has to keep.
history = projection.table(
    "history", HistoryRow, key=["run_id", "partition", "log_offset"], append_only=True
)


@projection.on(*(c for c in CATALOGUE.values() if c not in _OF_NO_RUN))
def _said(rows: RowAccess, event: Recorded[Any]) -> None:
    said, (partition, offset) = event
    kind, actor = said.actor or (None, None)
    row = (
        said.subject,
        partition,
        offset,
        _NAMES[said.data.__class__],
        said.id,
        said.time,
        said.recorded_at,
        kind,
        actor,
        said.causation_id,
        said.epoch,
        said.sequence,
        json_text(said.data),
    )
    rows.append(history, HistoryRow._make(row))
