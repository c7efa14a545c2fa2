"""Whose work something is, and why: as the engine lets them do it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from meshline.events.people import Absence, People, Right
from meshline.projections.directory_view import AbsenceRow, DirectoryRow
from meshline.projections.people_queries import roster_of
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow

__all__ = ["NEVER", "PRIORITIES", "WorkRow", "order_of", "people_of", "right_to", "work_of"]

PRIORITIES = ("urgent", "high", "normal", "low")
"""In the order in which they come."""

NEVER = datetime.fromisoformat("9999-12-31T00:00:00+00:00")
"""When that is due which has no due time."""


class WorkRow(NamedTuple):
    """What somebody may do now: an approval to decide, or a task to complete.

    ``why`` it is theirs: ``claimed``: they have it; ``delegated``: who has it, the ``assignee``,
    lets them do it; ``candidate``: nobody has it, and they are one of ``candidate_by``, who were
    asked. ``substitute_of`` is away, and it is theirs in that place.
    """

    run_id: str
    task: str
    kind: Literal["approval", "task"]
    workflow: str
    state: str
    why: Literal["claimed", "delegated", "candidate"]
    candidate_by: str | None
    substitute_of: str | None
    assignee: str | None
    delegate: str | None
    owner: str
    priority: Literal["low", "normal", "high", "urgent"]
    due_at: datetime | None
    follow_up_at: datetime | None
    requested_at: datetime
    requester: str | None


def people_of(directory: DirectoryRow | None, absences: Iterable[AbsenceRow]) -> People:
    """Return who there is and who is away, to be asked who may do what."""
    return People(
        roster=roster_of(directory),
        absences=tuple(
            Absence(row.absent, row.substitute, row.since, row.until, row.requested_at)
            for row in absences
        ),
    )


def right_to(row: TaskRow, people: People, user: str, now: datetime) -> Right | None:
    """Return by what right the user does it, as the engine would say; None: by none.

    A rule about who asks for it is known to the engine alone: where there is no directory, who asks
    is not left out here.
    """
    if row.state not in OPEN_TASKS or len(row.votes) >= row.of:
        return None
    if row.assignee is None:
        right = people.right_of(user, row.candidates, now)
    elif people.through(row.assignee, row.candidates) is None:
        right = None
    elif user == row.delegate:
        right = Right(row.assignee)
    else:
        right = people.right_of(user, [row.assignee], now)
    if right is None:
        return None
    names = {user, right.on_behalf_of}
    barred = [] if people.roster is None or row.requester is None else [row.requester]
    return right if names.isdisjoint([*barred, *row.voted]) else None


def work_of(row: TaskRow, people: People, user: str, now: datetime) -> WorkRow | None:
    """Return it as the user's work; None: they may not do it."""
    right = right_to(row, people, user, now)
    if right is None:
        return None
    why: Literal["claimed", "delegated", "candidate"] = "candidate"
    candidate_by, substitute_of = None, right.on_behalf_of
    if row.assignee is None:
        candidate_by = people.through(substitute_of or user, row.candidates)
    elif user == row.delegate:
        why, substitute_of = "delegated", None
    else:
        why = "claimed"
    return WorkRow(
        run_id=row.run_id,
        task=row.task,
        kind=row.kind,
        workflow=row.workflow,
        state=row.state,
        why=why,
        candidate_by=candidate_by,
        substitute_of=substitute_of,
        assignee=row.assignee,
        delegate=row.delegate,
        owner=row.owner,
        priority=row.priority,
        due_at=row.due_at,
        follow_up_at=row.follow_up_at,
        requested_at=row.requested_at,
        requester=row.requester,
    )


def order_of(row: TaskRow | WorkRow) -> tuple[datetime, int, datetime, str, str]:
    """Return what work is sorted by: what is due first, then priority, then age."""
    rank = PRIORITIES.index(row.priority) + 1
    return row.due_at or NEVER, rank, row.requested_at, row.run_id, row.task
