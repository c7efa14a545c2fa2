"""What is so: the state of a partition and of its runs, derived from the log and from nothing else.

Run states are mutable, because they are the hottest data there is; only ``appliers.py`` changes
them, and whoever wants to try something out works on a ``copy``. Node states are replaced, never
changed. Payloads and results are kept as JSON bytes: a fifth of the memory of parsed ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import orjson

from meshline.events.envelope import Event
from meshline.events.fence import Fence
from meshline.events.people import NOBODY, People
from meshline.events.requests import StepError

__all__ = [
    "ENDED",
    "NODE_ENDED",
    "OPEN",
    "REDUCER_VERSION",
    "UNDO",
    "EndedRun",
    "NodeState",
    "NodeStatus",
    "OpenException",
    "PartitionState",
    "RunState",
    "RunStatus",
    "TaskState",
    "Undo",
    "Vote",
    "WaitTuple",
    "stored",
]

REDUCER_VERSION = 8
"""Raised whenever the same log would fold to another state; other versions' snapshots are void."""

RunStatus = Literal[
    "accepted", "running", "waiting", "held", "paused", "succeeded", "failed", "cancelled"
]
"""``accepted`` is a run between its trigger's acceptance and its start, which is one append."""

ENDED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})
OPEN: frozenset[str] = frozenset({"accepted", "running", "waiting", "held", "paused"})

NodeStatus = Literal[
    "ready",  # a person asked for another try; it starts as soon as the run may go on
    "started",  # a try is under way
    "fanned_out",  # its items are under way, as steps of their own
    "failed",  # the last try failed, and nothing is decided about it yet
    "retrying",  # waits for ``at`` to be tried again
    "held",  # an open exception holds it
    "sleeping",  # waits for ``at``
    "requested",  # a task or an approval that waits for a person
    "awaiting",  # waits for a message
    "succeeded",
    "skipped",
    "denied",
    "abandoned",  # under way when the run was ended by a person
]

UNDO = "undo:"
"""Prefix of the names under which compensations run."""


class Vote(NamedTuple):
    """Who approved, and whose substitute that was."""

    by: str
    on_behalf_of: str | None


class TaskState(NamedTuple):
    """What is so of work for people that is asked, beside where its node stands.

    Args:
        due_at: when it goes to somebody else, or expires; the node's ``at`` may be a reminder.
        requester: who asks for it, and so may not decide.
        votes: who approved so far, where several must.
        form: what the last of them filled in, as JSON.
        reason: that they gave.
        assignee: who took it, or was given it; nobody else decides,
        delegate: but the one who may in their place.
        heirs: to whom it was handed over, and who so may decide beside those who were asked.
        kind: how the work ends: decided, or completed.
    """

    due_at: datetime | None = None
    requester: str | None = None
    votes: tuple[Vote, ...] = ()
    form: bytes = b"null"
    reason: str = ""
    assignee: str | None = None
    delegate: str | None = None
    heirs: tuple[str, ...] = ()
    kind: Literal["approval", "task"] = "approval"


class NodeState(NamedTuple):
    """Where one node of a run's graph stands.

    Args:
        attempt: of the last try; 0 before the first.
        failures: tries that failed since the node was last begun or retried by a person.
        epoch: in which the last try was started.
        value: the node's value as JSON, when it has ended with one.
        at: when something is to happen without anybody asking: retry, wake-up, escalation.
        since: when it came to its status.
        first_at: when the first try was started.
        owner: of work for people.
        escalations: how often that was handed on.
        items: how many there are of a step that is done for each of a list.
        losses: tries in a row whose worker was gone before they ended.
        task: of work for people, while it is asked.
    """

    status: NodeStatus
    since: datetime
    attempt: int = 0
    failures: int = 0
    epoch: int = -1
    value: bytes | None = None
    at: datetime | None = None
    first_at: datetime | None = None
    error: StepError | None = None
    owner: str | None = None
    escalations: int = 0
    items: int = 0
    losses: int = 0
    task: TaskState | None = None

    def to(self, status: NodeStatus, since: datetime, **changes: Any) -> NodeState:
        """Return this in another status; what is not named stays, but what belongs to the old."""
        gone = {"at": None, "error": None, "task": None}
        return self._replace(status=status, since=since, **gone | changes)

    @property
    def has_ended(self) -> bool:
        return self.status in NODE_ENDED


NODE_ENDED = frozenset({"succeeded", "skipped", "denied", "abandoned"})


@dataclass(frozen=True, slots=True)
class OpenException:
    """An exception of a run that is not closed."""

    kind: str
    about: str
    owner: str
    blocking: bool
    since: datetime
    acknowledged: bool = False


class WaitTuple(NamedTuple):
    """A ``Wait`` as runs keep it: a tenth of the memory of the model."""

    kind: str
    about: str
    since: datetime
    until: datetime | None
    owner: str


class Undo(NamedTuple):
    """A compensation under way: how the run ends then, why, and which steps are left to undo."""

    then: Literal["failed", "cancelled"]
    reason: str
    steps: tuple[str, ...]


class RunState:
    """One run, as the facts so far make it. Only the reducer changes it."""

    __slots__ = (
        "assignee",
        "closed",
        "due_at",
        "exceptions",
        "exceptions_opened",
        "memo",
        "nodes",
        "overdue",
        "owner",
        "payload",
        "payload_hash",
        "reported_at",
        "requester",
        "route",
        "run_id",
        "seen",
        "source",
        "started_at",
        "status",
        "trigger_id",
        "undo",
        "version",
        "waits",
        "workflow",
    )

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.workflow = ""
        self.version = 0
        self.source = ""
        self.trigger_id = ""
        self.payload: bytes = b"null"
        self.payload_hash = ""
        self.requester: str | None = None
        self.status: RunStatus = "accepted"
        self.owner = ""
        self.assignee: str | None = None
        self.route = ""
        self.started_at: datetime | None = None
        self.due_at: datetime | None = None
        self.overdue = False
        self.nodes: dict[str, NodeState] = {}
        self.exceptions: dict[str, OpenException] | None = None
        # What a person closed, the latest last: it can be opened again. Replaced, never changed.
        self.closed: dict[str, OpenException] | None = None
        self.exceptions_opened = 0
        self.waits: tuple[WaitTuple, ...] = ()
        self.undo: Undo | None = None
        self.memo: Any = None
        self.seen: frozenset[int] | None = None
        self.reported_at: datetime | None = None

    def copy(self) -> RunState:
        """Return another run state that is equal and shares nothing that the reducer changes."""
        other = RunState.__new__(RunState)
        for name in _COPIED:
            setattr(other, name, getattr(self, name))
        other.nodes = self.nodes.copy()
        exceptions = self.exceptions
        other.exceptions = None if exceptions is None else exceptions.copy()
        return other

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunState) and all(
            getattr(self, name) == getattr(other, name) for name in RunState.__slots__
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"<RunState {self.run_id} {self.workflow} {self.status}>"


_COPIED = tuple(name for name in RunState.__slots__ if name not in ("nodes", "exceptions"))


def stored(value: Any) -> bytes:
    """Return the value as JSON, in just as many bytes: it stays as long as the run."""
    # orjson gives a buffer of at least 4 KiB, however short the text in it is.
    return bytes(memoryview(orjson.dumps(value)))


class EndedRun(NamedTuple):
    """What stays in memory of a run that has ended.

    Enough to know its trigger again, and to give further exceptions ids of their own.
    """

    status: RunStatus
    payload_hash: str
    exceptions_opened: int = 0


@dataclass(slots=True)
class PartitionState:
    """All that the log of one partition says: the runs, and the requests without an answer.

    Args:
        pending: requests that no fact has answered yet, by causation id, in the order of the log.
        registered: definitions that the log knows, with their hashes.
        people: who there is, and who is in what.
        next_offset: where the fold goes on.
        void_facts: how many facts did not count, for people to see.
    """

    partition: int
    next_offset: int = 0
    fence: Fence = field(default_factory=Fence)
    runs: dict[str, RunState] = field(default_factory=dict)
    ended: dict[str, EndedRun] = field(default_factory=dict)
    pending: dict[str, Event[Any]] = field(default_factory=dict)
    registered: dict[tuple[str, int], str] = field(default_factory=dict)
    people: People = NOBODY
    void_facts: int = 0
