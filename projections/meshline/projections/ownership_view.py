"""The views ``ownership`` (who owns what now) and ``ownership_periods`` (who did, when and why).

A period is the longest stretch, in the order of the log, with one pair of owner and assignee. Its
times are event times: with imported history they may overlap or run backwards, as they came.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    OwnerAssigned,
    RunCancelled,
    RunFailed,
    RunReopened,
    RunStarted,
    RunSucceeded,
)
from meshline.projections.projection import Projection, RowAccess, by_run

__all__ = ["OwnershipRow", "PeriodRow", "ownership", "periods", "projection"]


class OwnershipRow(NamedTuple):
    """Who answers for a run since when; ``until`` is its end, None while it is open."""

    run_id: str
    workflow: str
    owner: str
    assignee: str | None
    number: int
    since: datetime
    until: datetime | None
    actor: str | None
    rule: str | None
    reason: str


class PeriodRow(NamedTuple):
    """One stretch of a run's ownership; ``number`` counts from 1."""

    run_id: str
    number: int
    workflow: str
    owner: str
    assignee: str | None
    since: datetime
    until: datetime | None
    actor: str | None
    rule: str | None
    reason: str


projection = Projection("ownership", version=1)
ownership = projection.table(
    "ownership", OwnershipRow, key=["run_id"], keys=by_run, indexes=[["owner", "run_id"]]
)
periods = projection.table("ownership_periods", PeriodRow, key=["run_id", "number"])


def _period(row: OwnershipRow) -> PeriodRow:
    return PeriodRow(
        row.run_id,
        row.number,
        row.workflow,
        row.owner,
        row.assignee,
        row.since,
        row.until,
        row.actor,
        row.rule,
        row.reason,
    )


def _begin(rows: RowAccess, row: OwnershipRow) -> None:
    rows.put(ownership, row)
    rows.add(periods, _period(row))


def _end(rows: RowAccess, row: OwnershipRow) -> None:
    rows.put(ownership, row)
    rows.put(periods, _period(row))


def _actor(event: Recorded[Any]) -> str | None:
    actor = event.event.actor
    return None if actor is None else actor.id


@projection.on(RunStarted)
def _started(rows: RowAccess, event: Recorded[RunStarted]) -> None:
    data = event.event.data
    rows.get(ownership, event.event.subject)
    _begin(
        rows,
        OwnershipRow(
            run_id=event.event.subject,
            workflow=data.workflow,
            owner=data.owner,
            assignee=None,
            number=1,
            since=event.event.time,
            until=None,
            actor=_actor(event),
            rule=None,
            reason="",
        ),
    )


@projection.on(OwnerAssigned)
def _assigned(rows: RowAccess, event: Recorded[OwnerAssigned]) -> None:
    data, time = event.event.data, event.event.time
    row = rows.get(ownership, event.event.subject)
    if row is None or row.until is not None:
        return
    if (row.owner, row.assignee) == (data.owner, data.assignee):
        return
    _end(rows, row._replace(until=time))
    after = row._replace(
        owner=data.owner,
        assignee=data.assignee,
        number=row.number + 1,
        since=time,
        actor=_actor(event),
        rule=data.rule,
        reason=data.reason,
    )
    _begin(rows, after)


@projection.on(RunSucceeded, RunFailed, RunCancelled)
def _ended(rows: RowAccess, event: Recorded[Any]) -> None:
    row = rows.get(ownership, event.event.subject)
    if row is not None and row.until is None:
        _end(rows, row._replace(until=event.event.time))


@projection.on(RunReopened)
def _reopened(rows: RowAccess, event: Recorded[RunReopened]) -> None:
    row = rows.get(ownership, event.event.subject)
    if row is None or row.until is None:
        return
    after = row._replace(
        number=row.number + 1,
        since=event.event.time,
        until=None,
        actor=_actor(event),
        rule=None,
        reason=event.event.data.reason,
    )
    _begin(rows, after)
