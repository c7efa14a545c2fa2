"""Due times that were missed, by team and week.

A run is late when its exception `overdue` is opened, or when it ends after its due time (a history
that was imported may have no such exception). It counts once, in the week of its due time, against
whoever owned it when that was noticed. A person's runs count against the person.

    meshline projector --projections examples.projections.breaches

Then, in any SQL tool: `select * from meshline.breaches_by_team_and_week`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    ExceptionOpened,
    OwnerAssigned,
    RunCancelled,
    RunFailed,
    RunStarted,
    RunSucceeded,
)
from meshline.projections.projection import Projection, RowAccess, by_run


class DueRun(NamedTuple):
    """A run with a due time, and who owns it now."""

    run_id: str
    owner: str
    due_at: datetime


class Breach(NamedTuple):
    """A due time that was missed; `ended_at` is empty while the run is open."""

    run_id: str
    owner: str
    due_at: datetime
    ended_at: datetime | None


projection = Projection("breaches", version=1)
due_runs = projection.table("due_runs", DueRun, key=["run_id"], keys=by_run)
breaches = projection.table(
    "breaches", Breach, key=["run_id"], keys=by_run, indexes=[["owner", "due_at"]]
)
projection.query(
    "breaches_by_team_and_week",
    """
    select owner as team,
           date_trunc('week', due_at at time zone 'UTC')::date as week,
           count(*) as breaches,
           count(*) filter (where ended_at is null) as still_open,
           avg(extract(epoch from ended_at - due_at) / 86400.0)::double precision as days_late
    from {breaches}
    group by 1, 2
    """,
)


@due_runs.on(RunStarted)
def started(row: DueRun | None, event: Recorded[RunStarted]) -> DueRun | None:
    data = event.event.data
    return None if data.due_at is None else DueRun(event.event.subject, data.owner, data.due_at)


@due_runs.on(OwnerAssigned)
def assigned(row: DueRun | None, event: Recorded[OwnerAssigned]) -> DueRun | None:
    return None if row is None else row._replace(owner=event.event.data.owner)


@projection.on(ExceptionOpened)
def overdue(rows: RowAccess, event: Recorded[ExceptionOpened]) -> None:
    if event.event.data.kind == "overdue":
        note(rows, event.event.subject, None)


@projection.on(RunSucceeded, RunFailed, RunCancelled)
def ended(rows: RowAccess, event: Recorded[Any]) -> None:
    run = rows.get(due_runs, event.event.subject)
    if run is not None and event.event.time > run.due_at:
        note(rows, run.run_id, event.event.time)


def note(rows: RowAccess, run_id: str, ended_at: datetime | None) -> None:
    """Keep the breach, or when the run of one that is known ended at last."""
    run, known = rows.get(due_runs, run_id), rows.get(breaches, run_id)
    if known is not None:
        rows.put(breaches, known._replace(ended_at=ended_at))
    elif run is not None:
        rows.put(breaches, Breach(run_id, run.owner, run.due_at, ended_at))
