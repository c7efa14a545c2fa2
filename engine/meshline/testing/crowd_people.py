"""What the crowd asks about people, and who asks: directories that change, some of them wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

from meshline.engine.core.state import PartitionState, RunState
from meshline.events.directory import ADMIN, Directory
from meshline.events.people import People
from meshline.events.people_requests import (
    AbsenceChangeRequested,
    DirectoryChangeRequested,
    HandoverRequested,
    TaskActionRequested,
)
from meshline.events.requests import Request

__all__ = [
    "EVERYWHERE",
    "PEOPLE",
    "handover",
    "handovers",
    "people_request",
    "random_directory",
    "task_request",
]

EVERYWHERE = (DirectoryChangeRequested, AbsenceChangeRequested)
"""Requests that each partition is asked for itself."""

PEOPLE = ("user:ada", "user:bob", "user:cid", "user:dot")
"""Who asks in a world with a directory; the last one is in none."""

_GROUPS = ("team:red", "team:blue", "team:directors", "role:lead", ADMIN, "queue:triage")


def people_request(random: Random, state: PartitionState, now: datetime) -> tuple[str, Request]:
    """Return a request about people, and its subject."""
    if random.random() < 0.5:
        since = now + timedelta(minutes=random.choice([-60, -60, -1, 30]))
        return "absences", AbsenceChangeRequested(
            user=random.choice([*PEOPLE[:3], *PEOPLE[1:3], *PEOPLE[1:3]]),
            substitute=random.choice([*PEOPLE[1:], *PEOPLE, None]),
            since=since,
            until=since + timedelta(minutes=random.choice([-1, 90, 9000, 90_000, 90_000, 90_000])),
        )
    number = state.people.number + random.choice([1, 1, 1, 0, -1])
    return "directory", DirectoryChangeRequested(number=number, directory=random_directory(random))


def task_request(random: Random, task: str, has: str | None) -> Request:
    """Return what somebody wants to do about a task that somebody may have."""
    actions = ["claim", "assign", "comment", "release"]
    actions += ["claim"] * 4 if has is None else ["release", "release", *["delegate"] * 6]
    return TaskActionRequested(
        task=task,
        action=random.choice(actions),  # type: ignore[arg-type]
        to=random.choice([*PEOPLE, None]),
        reason=random.choice(["", "so it is better"]),
    )


def handover(random: Random, run: RunState, people: People) -> HandoverRequested:
    """Return that something of the run is to be another's; now and then what is not theirs."""
    possible = [*handovers(run, random.choice([*PEOPLE, *_GROUPS]))]
    of_who_is_gone = [each for each in possible if people.is_gone(each.previous)]
    asked = random.choice(of_who_is_gone or possible)
    if random.random() < 0.2:
        asked = asked.model_copy(update={"previous": random.choice(PEOPLE)})
    return asked


def handovers(run: RunState, to: str) -> Iterator[HandoverRequested]:
    """Yield all that can be handed over in the run."""
    for previous in (run.owner, run.assignee):
        if previous is not None:
            yield HandoverRequested(kind="run", previous=previous, owner=to)
    for exception_id, opened in (run.exceptions or {}).items():
        yield HandoverRequested(
            kind="exception", about=exception_id, previous=opened.owner, owner=to
        )
    for name, node in run.nodes.items():
        has = None if node.task is None else node.task.assignee
        for previous in (node.owner, has):
            if node.status == "requested" and previous is not None:
                yield HandoverRequested(
                    kind="approval", about=name, previous=previous, owner=to, reason="they left"
                )


def random_directory(random: Random) -> Directory:
    """Return a directory of some of the people; now and then one that can't be."""
    users = random.sample(PEOPLE[:3], random.choice([1, 2, 3, 3, 3]))
    possible = [*users]
    content: dict[str, Any] = {"users": {user.removeprefix("user:"): {} for user in users}}
    for principal in _GROUPS:
        if random.random() < (0.6 if principal == ADMIN else 0.25):
            continue
        members = random.sample(possible, min(len(possible), random.choice([1, 1, 2, 3])))
        if random.random() < 0.03:
            members.append(random.choice([principal, PEOPLE[3], members[0]]))
        kind, _, name = principal.partition(":")
        content.setdefault(f"{kind}s", {})[name] = {"members": members}
        possible.append(principal)
    return Directory.model_validate(content)
