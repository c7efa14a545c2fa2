"""Every pair of a run's status and a fact, and the status that follows: the truth about runs.

The diagram in the docs and the exhaustive test are made from this table. ``SAME`` says that the
status stays; a pair that is not in the table changes nothing at all: deciding never brings it
about, and applying never refuses (``never(status, fact)`` tells which pairs these are).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshline.engine.core.state import RunStatus
from meshline.events.facts import (
    AccessChanged,
    ActivityRecorded,
    ApprovalApproved,
    ApprovalDenied,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalVoted,
    CauseReopened,
    CauseResolved,
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
    ParkedEventRetried,
    ParkedEventSkipped,
    RequestRejected,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunNoted,
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
    TaskAssigned,
    TaskClaimed,
    TaskCommented,
    TaskCompleted,
    TaskCreated,
    TaskDelegated,
    TaskEscalated,
    TaskExpired,
    TaskReleased,
    TaskReminded,
    TaskTransferred,
    TimerFired,
    TimerSet,
    TriggerDeduplicated,
    TriggerRejected,
)

__all__ = ["SAME", "STATUSES", "TRANSITIONS", "never"]

SAME: Final = "same"

Pairs = dict[tuple[RunStatus, type[Fact]], str]

STATUSES: Final[tuple[RunStatus, ...]] = (
    "accepted", "running", "waiting", "held", "paused", "succeeded", "failed", "cancelled",
)  # fmt: skip
_GOING: tuple[RunStatus, ...] = ("running", "waiting", "held")
_LIVE: tuple[RunStatus, ...] = (*_GOING, "paused")
_OVER: tuple[RunStatus, ...] = ("succeeded", "failed", "cancelled")


def _pairs(
    statuses: Iterable[RunStatus], facts: Iterable[type[Fact]], then: RunStatus | str
) -> Pairs:
    facts = tuple(facts)
    return {(status, fact): then for status in statuses for fact in facts}


TRANSITIONS: Final[Pairs] = {
    ("accepted", RunStarted): "running",
    # A run that no worker can start: somebody must see it, and may give it up.
    **_pairs(
        ("accepted",),
        (
            ExceptionOpened, ExceptionAcknowledged, ExceptionWorkStarted, ExceptionAssigned,
            ExceptionResolved, ExceptionDismissed, ExceptionReopened,
        ),
        SAME,
    ),
    ("accepted", RunCancelled): "cancelled",
    # Something moves: the run is running again, whatever it waited for; decide says what is next.
    **_pairs(
        _GOING,
        (
            StepStarted, StepSucceeded, StepFailed, StepSkipped, StepFannedOut, StepJoined,
            TimerFired, MessageMatched, ApprovalApproved, ApprovalDenied, TaskCompleted,
            ExceptionResolved, CompensationStarted, ActivityRecorded,
        ),
        "running",
    ),
    # In a paused run, what was under way may still finish; nothing else does.
    **_pairs(
        ("paused",),
        (
            StepStarted, StepSucceeded, StepFailed, StepSkipped, TimerFired, MessageMatched,
            ApprovalApproved, ApprovalDenied, TaskCompleted, ExceptionResolved, ActivityRecorded,
        ),
        SAME,
    ),
    # Something is noted that moves nothing.
    **_pairs(
        _LIVE,
        (
            StepRetryScheduled, TimerSet, MessageAwaited, ApprovalRequested, ApprovalEscalated,
            ApprovalExpired, ApprovalVoted, TaskReminded, ExceptionOpened, ExceptionAcknowledged,
            ExceptionWorkStarted, ExceptionAssigned, ExceptionDismissed,
            ExceptionReopened, OwnerAssigned, TaskClaimed, TaskReleased,
            TaskAssigned, TaskDelegated, TaskTransferred, TaskCommented, TaskCreated,
            TaskEscalated, TaskExpired,
        ),
        SAME,
    ),
    # Said about a request, or to a view: the run, if there is one, stays as it is.
    **_pairs(
        STATUSES,
        (
            RequestRejected, TriggerDeduplicated, TriggerRejected, ParkedEventRetried,
            ParkedEventSkipped, RunNoted, CauseResolved, CauseReopened, AccessChanged,
        ),
        SAME,
    ),
    **_pairs(_GOING, (RunWaiting,), "waiting"),
    **_pairs(_GOING, (RunHeld,), "held"),
    **_pairs(_GOING, (RunPaused,), "paused"),
    **_pairs(("paused",), (RunResumed, CompensationStarted), "running"),
    **_pairs(_LIVE, (RunSucceeded,), "succeeded"),
    **_pairs(_LIVE, (RunFailed,), "failed"),
    **_pairs(_LIVE, (RunCancelled,), "cancelled"),
    # After the end: only what is said about it, and, for observed runs, that it was not the end.
    **_pairs(
        _OVER,
        (
            ExceptionOpened, ExceptionAcknowledged, ExceptionWorkStarted, ExceptionAssigned,
            ExceptionResolved, ExceptionDismissed, ActivityRecorded,
        ),
        SAME,
    ),
    **_pairs(_OVER, (RunReopened,), "running"),
}  # fmt: skip


def never(status: RunStatus, fact: type[Fact]) -> bool:
    """Return whether deciding never brings this fact about in this status."""
    return (status, fact) not in TRANSITIONS
