"""Facts: events that say what is so. Only the keeper of a partition appends them.

Names are past participles, subject first. Field types are part of the history: a released version
never changes; a new meaning is a new version with an upcast (see ``upcast.py``).
"""

from __future__ import annotations

from meshline.events.facts.directory import AbsenceChanged, DirectoryChanged
from meshline.events.facts.fact import (
    Fact,
    FieldProblem,
    Part,
    Wait,
)
from meshline.events.facts.partition import (
    LogCreated,
    ParkedEventRetried,
    ParkedEventSkipped,
    PartitionClaimed,
    RequestRejected,
    WorkflowRegistered,
)
from meshline.events.facts.people import (
    ApprovalApproved,
    ApprovalDenied,
    ApprovalEscalated,
    ApprovalExpired,
    ApprovalRequested,
    ExceptionAcknowledged,
    ExceptionAssigned,
    ExceptionOpened,
    ExceptionResolved,
    ExceptionWorkStarted,
    OwnerAssigned,
)
from meshline.events.facts.run import (
    CompensationStarted,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunPaused,
    RunReopened,
    RunResumed,
    RunStarted,
    RunSucceeded,
    RunWaiting,
)
from meshline.events.facts.step import (
    ActivityRecorded,
    MessageAwaited,
    MessageMatched,
    StepFailed,
    StepFannedOut,
    StepJoined,
    StepRetryScheduled,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    TimerFired,
    TimerSet,
)
from meshline.events.facts.tasks import (
    ApprovalVoted,
    TaskAssigned,
    TaskClaimed,
    TaskCommented,
    TaskDelegated,
    TaskReleased,
    TaskReminded,
)
from meshline.events.facts.trigger import (
    TriggerAccepted,
    TriggerDeduplicated,
    TriggerRejected,
)

__all__ = [
    "Fact",
    "Part",
    "FieldProblem",
    "Wait",
    "LogCreated",
    "PartitionClaimed",
    "WorkflowRegistered",
    "RequestRejected",
    "ParkedEventRetried",
    "ParkedEventSkipped",
    "AbsenceChanged",
    "DirectoryChanged",
    "TriggerAccepted",
    "TriggerRejected",
    "TriggerDeduplicated",
    "RunStarted",
    "RunWaiting",
    "RunHeld",
    "RunPaused",
    "RunResumed",
    "RunReopened",
    "CompensationStarted",
    "RunSucceeded",
    "RunFailed",
    "RunCancelled",
    "StepStarted",
    "StepSucceeded",
    "StepFailed",
    "StepRetryScheduled",
    "StepSkipped",
    "StepFannedOut",
    "StepJoined",
    "TimerSet",
    "TimerFired",
    "MessageAwaited",
    "MessageMatched",
    "ActivityRecorded",
    "OwnerAssigned",
    "ApprovalRequested",
    "ApprovalApproved",
    "ApprovalDenied",
    "ApprovalEscalated",
    "ApprovalExpired",
    "ApprovalVoted",
    "TaskReminded",
    "TaskClaimed",
    "TaskReleased",
    "TaskAssigned",
    "TaskDelegated",
    "TaskCommented",
    "ExceptionOpened",
    "ExceptionAcknowledged",
    "ExceptionAssigned",
    "ExceptionResolved",
    "ExceptionWorkStarted",
]
