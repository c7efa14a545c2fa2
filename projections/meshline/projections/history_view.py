"""The view ``history``: every event, request and refusal of every run, in the order of the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Recorded
from meshline.events.facts import (
    AbsenceChanged,
    CauseReopened,
    CauseResolved,
    DirectoryChanged,
    LogCreated,
    PartitionClaimed,
    WorkflowRegistered,
)
from meshline.events.people_requests import AbsenceChangeRequested, DirectoryChangeRequested
from meshline.events.requests import CauseActionRequested
from meshline.projections.columns import Json, json_text
from meshline.projections.projection import Projection, RowAccess

__all__ = ["HistoryRow", "history", "projection"]


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
