"""A changed rule of ownership: a run is owned by the person who works on it, not by the group.

Version 2 of the view ``ownership``, with the same rows. A group owns what nobody works on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    OwnerAssigned,
    RunCancelled,
    RunFailed,
    RunReopened,
    RunStarted,
    RunSucceeded,
)
from meshline.projections.ownership_view import OwnershipRow, PeriodRow
from meshline.projections.projection import Projection, RowAccess, by_run

__all__ = ["ownership", "periods", "projection"]

projection = Projection("ownership", version=2)
ownership = projection.table(
    "ownership", OwnershipRow, key=["run_id"], keys=by_run, indexes=[["owner", "run_id"]]
)
periods = projection.table("ownership_periods", PeriodRow, key=["run_id", "number"])


def _put(rows: RowAccess, row: OwnershipRow) -> None:
    rows.put(ownership, row)
    rows.put(periods, PeriodRow(**row._asdict()))


def _next(rows: RowAccess, row: OwnershipRow, event: Recorded[Any], **changes: Any) -> None:
    actor = event.event.actor
    after = row._replace(
        number=row.number + 1,
        since=event.event.time,
        until=None,
        actor=None if actor is None else actor.id,
        **changes,
    )
    _put(rows, after)


@projection.on(RunStarted)
def _started(rows: RowAccess, event: Recorded[RunStarted]) -> None:
    run_id, data = event.event.subject, event.event.data
    before = OwnershipRow(
        run_id, data.workflow, data.owner, None, 0, event.event.time, None, None, None, ""
    )
    _next(rows, before, event)


@projection.on(OwnerAssigned)
def _assigned(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
    data, row = event.event.data, rows.get(ownership, event.event.subject)
    owner = data.assignee or data.owner
    if row is None or row.until is not None or row.owner == owner:
        return
    _end(rows, row, event.event.time)
    _next(rows, row, event, owner=owner, rule=data.rule, reason=data.reason)


@projection.on(RunSucceeded, RunFailed, RunCancelled)
def _ended(rows: RowAccess, event: Recorded[Any]) -> None:
    row = rows.get(ownership, event.event.subject)
    if row is not None and row.until is None:
        _end(rows, row, event.event.time)


def _end(rows: RowAccess, row: OwnershipRow, at: datetime) -> None:
    _put(rows, row._replace(until=at))


@projection.on(RunReopened)
def _reopened(rows: RowAccess, event: Recorded[RunReopened]) -> None:
    row = rows.get(ownership, event.event.subject)
    if row is not None and row.until is not None:
        _next(rows, row, event, rule=None, reason=event.event.data.reason)
