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

__all__ = [
    "OPEN_EXCEPTIONS",
    "CauseSaidRow",
    "ExceptionRow",
    "ResolutionRow",
    "exceptions",
    "projection",
    "resolution_after",
    "resolutions",
]


OPEN_EXCEPTIONS = ("open", "acknowledged", "in_progress")


class ExceptionRow(NamedTuple):
    """One exception; ``how`` tells how it was resolved, ``reason`` the words of who did it last.

    ``code`` names the case where a step says it on purpose; ``error.business`` has its data.
    ``changed_at`` is the greatest time of what changed it, however late that came.
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
    changed_at: datetime


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


class CauseSaidRow(NamedTuple):
    """What a partition heard of a cause from the first time on that somebody said it is mended.

    ``opened`` is an exception of it, of a run in ``version``; of what was ``resolved`` that is the
    version from which on.
    """

    cause: str
    partition: int
    log_offset: int
    time: datetime
    what: Literal["resolved", "reopened", "opened"]
    version: int | None
    actor: str | None
    reason: str


def _by_cause(event: Recorded[Any]) -> Iterable[Key]:
    cause = getattr(event.event.data, "cause", None)
    return () if cause is None else ((cause, event.position.partition),)


def _by_exception(event: Recorded[Any]) -> Iterable[Key]:
    exception_id = getattr(event.event.data, "exception_id", None)
    return () if exception_id is None else ((exception_id,),)


projection = Projection("exceptions", version=7)
exceptions = projection.table(
    "exceptions",
    ExceptionRow,
    key=["exception_id"],
    keys=_by_exception,
    indexes=[["run_id"], ["state", "owner", "run_id"], ["cause"], ["opened_at"]],
)
resolutions = projection.table(
    "cause_resolutions", ResolutionRow, key=["cause", "partition"], keys=_by_cause
)
# Small: as of a past moment it is gone through again, since what was said last is all that
# `cause_resolutions` holds.
said_of_causes = projection.table(
    "cause_history", CauseSaidRow, key=["cause", "partition", "log_offset"]
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
    _say_of_cause(rows, event, "opened", data.version or None)
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
        changed_at=event.event.time,
    )
    rows.put(exceptions, row)


def _changed(row: ExceptionRow, event: Recorded[Any], **changes: Any) -> ExceptionRow:
    changed_at = max(row.changed_at, event.event.time)
    return row._replace(reason=event.event.data.reason, changed_at=changed_at, **changes)


@exceptions.on(ExceptionAcknowledged)
def _acknowledged(
    row: ExceptionRow | None, event: Recorded[ExceptionAcknowledged]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return _changed(
        row,
        event,
        # Who works on it already has seen it: that is said, and takes nothing back.
        state="in_progress" if row.state == "in_progress" else "acknowledged",
        acknowledged_at=event.event.time,
        acknowledged_by=_actor(event),
    )


@exceptions.on(ExceptionWorkStarted)
def _started(
    row: ExceptionRow | None, event: Recorded[ExceptionWorkStarted]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return _changed(
        row,
        event,
        state="in_progress",
        started_at=event.event.time,
        started_by=_actor(event),
    )


@exceptions.on(ExceptionAssigned)
def _assigned(row: ExceptionRow | None, event: Recorded[ExceptionAssigned]) -> ExceptionRow | None:
    if row is None:
        return None
    return _changed(row, event, owner=event.event.data.owner)


@exceptions.on(ExceptionResolved)
def _resolved(row: ExceptionRow | None, event: Recorded[ExceptionResolved]) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return _changed(
        row,
        event,
        state="resolved",
        resolved_at=event.event.time,
        resolved_by=_actor(event),
        how=event.event.data.how,
    )


@exceptions.on(ExceptionDismissed)
def _dismissed(
    row: ExceptionRow | None, event: Recorded[ExceptionDismissed]
) -> ExceptionRow | None:
    if row is None or row.state not in OPEN_EXCEPTIONS:
        return row
    return _changed(
        row,
        event,
        state="dismissed",
        dismissed_at=event.event.time,
        dismissed_by=_actor(event),
    )


@exceptions.on(ExceptionReopened)
def _reopened(row: ExceptionRow | None, event: Recorded[ExceptionReopened]) -> ExceptionRow | None:
    if row is None or row.state in OPEN_EXCEPTIONS:
        return row
    # How it was closed stands in the history; open is what it is now, and nobody has seen it.
    return _changed(
        row,
        event,
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
    )


# -- causes ------------------------------------------------------------------------------------


@projection.on(CauseResolved)
def _cause_resolved(rows: RowAccess, event: Recorded[CauseResolved]) -> None:
    _say_of_cause(rows, event, "resolved", event.event.data.in_version)


@projection.on(CauseReopened)
def _cause_reopened(rows: RowAccess, event: Recorded[CauseReopened]) -> None:
    _say_of_cause(rows, event, "reopened", None)


def _say_of_cause(
    rows: RowAccess,
    event: Recorded[Any],
    what: Literal["resolved", "reopened", "opened"],
    version: int | None,
) -> None:
    data, (partition, offset) = event.event.data, event.position
    row = rows.get(resolutions, data.cause, partition)
    if row is None and what != "resolved":
        return
    by = None if what == "opened" else _actor(event)
    reason = "" if what == "opened" else data.reason
    said = CauseSaidRow(data.cause, partition, offset, event.event.time, what, version, by, reason)
    rows.add(said_of_causes, said)
    after = resolution_after(row, said)
    if after is not None:
        rows.put(resolutions, after)


def resolution_after(row: ResolutionRow | None, said: CauseSaidRow) -> ResolutionRow | None:
    """Return what is known of a cause after this was said, too; None: nobody said it is mended."""
    if said.what == "resolved":
        return ResolutionRow(
            cause=said.cause,
            partition=said.partition,
            state="resolved",
            in_version=said.version or 1,
            resolved_at=said.time,
            resolved_by=said.actor,
            reason=said.reason,
            reopened_at=None,
            reopened_by=None,
            reopened_version=None,
        )
    if row is None or row.state == "reopened":
        return row
    # A run of an older version, or of one that is not known, has what was mended since.
    if said.what == "opened" and (said.version is None or said.version < row.in_version):
        return row
    return row._replace(
        state="reopened",
        reopened_at=said.time,
        reopened_by=said.actor,
        reopened_version=said.version,
    )
