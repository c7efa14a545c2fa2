"""The views ``exceptions`` (what a person must see) and ``exception_groups`` (by cause)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    CauseReopened,
    CauseResolved,
    ExceptionAcknowledged,
    ExceptionAssigned,
    ExceptionDismissed,
    ExceptionOpened,
    ExceptionReopened,
    ExceptionResolved,
    ExceptionWorkStarted,
)
from meshline.projections.columns import Json, to_json
from meshline.projections.projection import Key, Projection, RowAccess

__all__ = ["OPEN_EXCEPTIONS", "ExceptionRow", "exceptions", "projection"]


OPEN_EXCEPTIONS = ("open", "acknowledged", "in_progress")


class ExceptionRow(NamedTuple):
    """One exception; ``how`` tells how it was resolved, ``reason`` the words of who did it last.

    ``code`` names the case where a step says it on purpose; ``error.business`` has its data.
    """

    exception_id: str
    run_id: str
    workflow: str
    kind: str
    code: str | None
    about: str
    route: str
    owner: str
    severity: str
    state: Literal["open", "acknowledged", "in_progress", "resolved", "dismissed"]
    blocking: bool
    cause: str
    message: str
    error: Json | None
    due_at: datetime | None
    opened_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    started_at: datetime | None
    started_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None
    how: str | None
    dismissed_at: datetime | None
    dismissed_by: str | None
    reopened_at: datetime | None
    reopened_by: str | None
    reason: str


class ResolutionRow(NamedTuple):
    """What a partition knows of a cause that somebody said is mended.

    It is ``reopened`` by the first exception of the cause behind that, in this partition, of a run
    in ``in_version`` or a later one; or by the person ``reopened_by``.
    """

    cause: str
    partition: int
    state: Literal["resolved", "reopened"]
    in_version: int
    resolved_at: datetime
    resolved_by: str | None
    reason: str
    reopened_at: datetime | None
    reopened_by: str | None
    reopened_version: int | None


def _by_cause(event: Recorded[Any]) -> Iterable[Key]:
    cause = getattr(event.event.data, "cause", None)
    return () if cause is None else ((cause, event.position.partition),)


def _by_exception(event: Recorded[Any]) -> Iterable[Key]:
    exception_id = getattr(event.event.data, "exception_id", None)
    return () if exception_id is None else ((exception_id,),)


projection = Projection("exceptions", version=5)
exceptions = projection.table(
    "exceptions",
    ExceptionRow,
    key=["exception_id"],
    keys=_by_exception,
    indexes=[["run_id"], ["state", "owner"], ["cause"], ["opened_at"]],
)
resolutions = projection.table(
    "cause_resolutions", ResolutionRow, key=["cause", "partition"], keys=_by_cause
)
projection.query(
    "exception_groups",
    """
    select grouped.*,
           coalesce(said.state, 'open') as state,
           said.in_version, said.resolved_at, said.resolved_by, said.resolution,
           said.reopened_at, said.reopened_by, said.reopened_version
    from (
    select cause,
           min(kind) as kind,
           count(*) as total,
           count(*) filter (where state not in ('resolved', 'dismissed')) as open,
           count(distinct run_id) as runs,
           min(opened_at) as first_seen,
           max(opened_at) as last_seen,
           (array_agg(message order by opened_at desc, exception_id))[1] as message,
           array_agg(distinct workflow) as workflows,
           array_agg(distinct route) as routes
    from {exceptions}
    group by cause
    ) as grouped
    left join (
    select cause,
           case when bool_or(state = 'reopened') then 'reopened' else 'resolved' end as state,
           max(resolved_at) as resolved_at,
           (array_agg(in_version order by resolved_at desc, partition))[1] as in_version,
           (array_agg(resolved_by order by resolved_at desc, partition))[1] as resolved_by,
           (array_agg(reason order by resolved_at desc, partition))[1] as resolution,
           min(reopened_at) as reopened_at,
           (array_agg(reopened_by order by reopened_at, partition))[1] as reopened_by,
           (array_agg(reopened_version order by reopened_at, partition))[1] as reopened_version
    from {cause_resolutions}
    group by cause
    ) as said using (cause)
    """,
)


def _actor(event: Recorded[Any]) -> str | None:
    actor = event.event.actor
    return None if actor is None else actor.id


@projection.on(ExceptionOpened)
def _opened(rows: RowAccess, event: Recorded[ExceptionOpened]) -> None:
    data, run_id = event.event.data, event.event.subject
    if rows.get(exceptions, data.exception_id) is not None:
        return
    _reopen_cause(rows, event, data.version or None, by=None)
    business = None if data.error is None else data.error.business
    row = ExceptionRow(
        exception_id=data.exception_id,
        run_id=run_id,
        workflow=data.workflow,
        kind=data.kind,
        code=None if business is None else business.code,
        about=data.about,
        route=data.route,
        owner=data.owner,
        severity=data.severity,
        state="open",
        blocking=data.blocking,
        cause=data.cause,
        message=data.message,
        error=to_json(data.error),
        due_at=data.due_at,
        opened_at=event.event.time,
        acknowledged_at=None,
        acknowledged_by=None,
        started_at=None,
        started_by=None,
        resolved_at=None,
        resolved_by=None,
        how=None,
        dismissed_at=None,
        dismissed_by=None,
        reopened_at=None,
        reopened_by=None,
        reason="",
    )
    rows.put(exceptions, row)


@exceptions.on(ExceptionAcknowledged)
def _acknowledged(
    row: ExceptionRow | None, event: Recorded[ExceptionAcknowledged]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return row._replace(
        # Who works on it already has seen it: that is said, and takes nothing back.
        state="in_progress" if row.state == "in_progress" else "acknowledged",
        acknowledged_at=event.event.time,
        acknowledged_by=_actor(event),
        reason=event.event.data.reason,
    )


@exceptions.on(ExceptionWorkStarted)
def _started(
    row: ExceptionRow | None, event: Recorded[ExceptionWorkStarted]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return row._replace(
        state="in_progress",
        started_at=event.event.time,
        started_by=_actor(event),
        reason=event.event.data.reason,
    )


@exceptions.on(ExceptionAssigned)
def _assigned(row: ExceptionRow | None, event: Recorded[ExceptionAssigned]) -> ExceptionRow | None:
    if row is None:
        return None
    return row._replace(owner=event.event.data.owner, reason=event.event.data.reason)


@exceptions.on(ExceptionResolved)
def _resolved(row: ExceptionRow | None, event: Recorded[ExceptionResolved]) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return row._replace(
        state="resolved",
        resolved_at=event.event.time,
        resolved_by=_actor(event),
        how=event.event.data.how,
        reason=event.event.data.reason,
    )


@exceptions.on(ExceptionDismissed)
def _dismissed(
    row: ExceptionRow | None, event: Recorded[ExceptionDismissed]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return row._replace(
        state="dismissed",
        dismissed_at=event.event.time,
        dismissed_by=_actor(event),
        reason=event.event.data.reason,
    )


@exceptions.on(ExceptionReopened)
def _reopened(row: ExceptionRow | None, event: Recorded[ExceptionReopened]) -> ExceptionRow | None:
    if row is None or row.state in OPEN_EXCEPTIONS:
        return row
    # How it was closed stands in the history; open is what it is now, and nobody has seen it.
    return row._replace(
        state="open",
        owner=event.event.data.owner,
        acknowledged_at=None,
        acknowledged_by=None,
        started_at=None,
        started_by=None,
        resolved_at=None,
        resolved_by=None,
        how=None,
        dismissed_at=None,
        dismissed_by=None,
        reopened_at=event.event.time,
        reopened_by=_actor(event),
        reason=event.event.data.reason,
    )


# -- causes ------------------------------------------------------------------------------------


@resolutions.on(CauseResolved)
def _cause_resolved(row: ResolutionRow | None, event: Recorded[CauseResolved]) -> ResolutionRow:
    data = event.event.data
    return ResolutionRow(
        cause=data.cause,
        partition=event.position.partition,
        state="resolved",
        in_version=data.in_version,
        resolved_at=event.event.time,
        resolved_by=_actor(event),
        reason=data.reason,
        reopened_at=None,
        reopened_by=None,
        reopened_version=None,
    )


@projection.on(CauseReopened)
def _cause_reopened(rows: RowAccess, event: Recorded[CauseReopened]) -> None:
    _reopen_cause(rows, event, None, by=_actor(event))


def _reopen_cause(
    rows: RowAccess, event: Recorded[Any], version: int | None, *, by: str | None
) -> None:
    row = rows.get(resolutions, event.event.data.cause, event.position.partition)
    if row is None or row.state == "reopened":
        return
    # A run of an older version, or of one that is not known, has what was mended since.
    if by is None and (version is None or version < row.in_version):
        return
    rows.put(
        resolutions,
        row._replace(
            state="reopened",
            reopened_at=event.event.time,
            reopened_by=by,
            reopened_version=version,
        ),
    )
