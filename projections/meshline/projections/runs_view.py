"""The view ``runs``: every run as it is now, what it waits for, and its five answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from meshline.events.envelope import Recorded
from meshline.events.facts import (
    ActivityRecorded,
    ApprovalApproved,
    ApprovalDenied,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalRequested,
    CompensationStarted,
    ExceptionAcknowledged,
    ExceptionAssigned,
    ExceptionDismissed,
    ExceptionOpened,
    ExceptionReopened,
    ExceptionResolved,
    ExceptionWorkStarted,
    Fact,
    MessageAwaited,
    MessageMatched,
    OwnerAssigned,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunPaused,
    RunReopened,
    RunResumed,
    RunStarted,
    RunSucceeded,
    RunWaiting,
    StepFailed,
    StepFannedOut,
    StepJoined,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    TimerFired,
    TimerSet,
    Wait,
)
from meshline.projections.columns import Json, to_json
from meshline.projections.projection import Projection, RowAccess, by_run

__all__ = ["MOVES", "RunRow", "projection", "runs"]

RunState = Literal["running", "waiting", "held", "paused", "succeeded", "failed", "cancelled"]


class RunRow(NamedTuple):
    """One run.

    ``wait_kind`` is of the first wait; ``waiting_since`` the earliest start of all, ``wait_until``
    the earliest end. ``changed_at`` is the greatest time of the facts since it started, however
    late they came; ``events`` counts them.
    """

    run_id: str
    workflow: str
    version: int
    source: str
    trigger_type: str
    trigger_id: str
    state: RunState
    waits: Json
    wait_kind: str | None
    waiting_since: datetime | None
    wait_until: datetime | None
    owner: str
    assignee: str | None
    exception_route: str
    expected_outcome: str
    due_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    outcome: Json | None
    reason: str | None
    open_exceptions: int
    observed: bool
    partition: int
    log_offset: int
    changed_at: datetime
    events: int


MOVES: tuple[type[Fact], ...] = (
    StepStarted,
    StepSucceeded,
    StepFailed,
    StepSkipped,
    StepFannedOut,
    StepJoined,
    TimerFired,
    MessageMatched,
    ApprovalApproved,
    ApprovalDenied,
    CompensationStarted,
)
"""What ends a wait, and so lets a run be running again."""

projection = Projection("runs", version=4)
runs = projection.table(
    "runs",
    RunRow,
    key=["run_id"],
    keys=by_run,
    indexes=[
        ["state", "run_id"],
        ["workflow", "run_id"],
        ["owner", "state", "run_id"],
        ["assignee", "state", "run_id"],
        ["started_at"],
    ],
)

Change = Callable[[RunRow, Recorded[Any]], RunRow]


@projection.on(RunStarted)
def _started(rows: RowAccess, event: Recorded[RunStarted]) -> None:
    run_id, data, time = event.event.subject, event.event.data, event.event.time
    rows.get(runs, run_id)
    row = RunRow(
        run_id=run_id,
        workflow=data.workflow,
        version=data.version,
        source=data.source,
        trigger_type=data.trigger_type,
        trigger_id=data.trigger_id,
        state="running",
        waits=[],
        wait_kind=None,
        waiting_since=None,
        wait_until=None,
        owner=data.owner,
        assignee=None,
        exception_route=data.exception_route,
        expected_outcome=data.expected_outcome,
        due_at=data.due_at,
        started_at=time,
        ended_at=None,
        outcome=None,
        reason=None,
        open_exceptions=0,
        observed=data.observed,
        partition=event.position.partition,
        log_offset=event.position.offset,
        changed_at=time,
        events=1,
    )
    rows.put(runs, row)


def _on(*types: type[BaseModel]) -> Callable[[Change], Change]:
    """Let the function say what a fact changes; that it came is noted for it."""

    def register(function: Change) -> Change:
        def apply(row: RunRow | None, event: Recorded[Any]) -> RunRow | None:
            if row is None:
                return None
            row, time = function(row, event), event.event.time
            if time < row.changed_at:
                time = row.changed_at
            # The last three columns; a slice is a third of the time of `_replace`.
            return RunRow._make((*row[:-3], event.position.offset, time, row.events + 1))

        runs.on(*types)(apply)
        return function

    return register


@_on(
    StepRetryScheduled,
    TimerSet,
    MessageAwaited,
    ApprovalRequested,
    ApprovalEscalated,
    ApprovalExpired,
    ExceptionAcknowledged,
    ExceptionWorkStarted,
    ExceptionAssigned,
)
def _noted(row: RunRow, event: Recorded[Any]) -> RunRow:
    return row


@_on(*MOVES)
def _moved(row: RunRow, event: Recorded[Any]) -> RunRow:
    """Something moves: the run is running again, whatever it waited for; what is next follows."""
    if row.state not in ("waiting", "held"):
        return row
    return row._replace(
        state="running", waits=[], wait_kind=None, waiting_since=None, wait_until=None
    )


def _stopped(row: RunRow, state: RunState, waits: tuple[Wait, ...]) -> RunRow:
    return row._replace(
        state=state,
        waits=to_json(waits),
        wait_kind=waits[0].kind if waits else None,
        waiting_since=min((wait.since for wait in waits), default=None),
        wait_until=min((wait.until for wait in waits if wait.until is not None), default=None),
    )


@_on(RunWaiting)
def _waiting(row: RunRow, event: Recorded[RunWaiting]) -> RunRow:
    return _stopped(row, "waiting", event.event.data.waits)


@_on(RunHeld)
def _held(row: RunRow, event: Recorded[RunHeld]) -> RunRow:
    return _stopped(row, "held", event.event.data.waits)


@_on(RunPaused)
def _paused(row: RunRow, event: Recorded[RunPaused]) -> RunRow:
    data = event.event.data
    wait = Wait(
        kind="task" if data.until is None else "timer",
        about="resume" if data.until is None else "pause",
        since=event.event.time,
        until=data.until,
        owner=row.owner,
    )
    return _stopped(row, "paused", (wait,))._replace(reason=data.reason or None)


@_on(RunResumed)
def _resumed(row: RunRow, event: Recorded[RunResumed]) -> RunRow:
    return _stopped(row, "running", ())._replace(reason=None)


@_on(RunReopened)
def _reopened(row: RunRow, event: Recorded[RunReopened]) -> RunRow:
    return _stopped(row, "running", ())._replace(
        ended_at=None, outcome=None, reason=event.event.data.reason
    )


@_on(RunSucceeded)
def _succeeded(row: RunRow, event: Recorded[RunSucceeded]) -> RunRow:
    return _stopped(row, "succeeded", ())._replace(
        ended_at=event.event.time, outcome=event.event.data.outcome, reason=None
    )


@_on(RunFailed)
def _failed(row: RunRow, event: Recorded[RunFailed]) -> RunRow:
    return _stopped(row, "failed", ())._replace(
        ended_at=event.event.time, reason=event.event.data.reason
    )


@_on(RunCancelled)
def _cancelled(row: RunRow, event: Recorded[RunCancelled]) -> RunRow:
    return _stopped(row, "cancelled", ())._replace(
        ended_at=event.event.time, reason=event.event.data.reason
    )


@_on(OwnerAssigned)
def _assigned(row: RunRow, event: Recorded[OwnerAssigned]) -> RunRow:
    return row._replace(owner=event.event.data.owner, assignee=event.event.data.assignee)


@_on(ExceptionOpened, ExceptionReopened)
def _exception_opened(row: RunRow, event: Recorded[Any]) -> RunRow:
    return row._replace(open_exceptions=row.open_exceptions + 1)


@_on(ExceptionResolved)
def _exception_resolved(row: RunRow, event: Recorded[ExceptionResolved]) -> RunRow:
    return _moved(row, event)._replace(open_exceptions=row.open_exceptions - 1)


@_on(ExceptionDismissed)
def _exception_dismissed(row: RunRow, event: Recorded[ExceptionDismissed]) -> RunRow:
    return row._replace(open_exceptions=row.open_exceptions - 1)


@_on(ActivityRecorded)
def _activity(row: RunRow, event: Recorded[ActivityRecorded]) -> RunRow:
    if row.state not in ("running", "waiting", "held"):
        return row
    waits = event.event.data.waits
    return _stopped(row, "waiting" if waits else "running", waits)
