"""What the crowd asks about people, and who asks: directories that change, some of them wrong."""

from __future__ import annotations

from random import Random
from typing import Any

from meshline.engine.core.state import PartitionState
from meshline.events.directory import ADMIN, Directory
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.events.requests import Request

__all__ = ["EVERYWHERE", "PEOPLE", "people_request", "random_directory"]

EVERYWHERE = (DirectoryChangeRequested,)
"""Requests that each partition is asked for itself."""

PEOPLE = ("user:ada", "user:bob", "user:cid", "user:dot")
"""Who asks in a world with a directory; the last one is in none."""

_GROUPS = ("team:red", "team:blue", "team:directors", "role:lead", ADMIN, "queue:triage")


def people_request(random: Random, state: PartitionState) -> tuple[str, Request]:
    """Return a request about people, and its subject."""
    number = state.people.number + random.choice([1, 1, 1, 0, -1])
    return "directory", DirectoryChangeRequested(number=number, directory=random_directory(random))


def random_directory(random: Random) -> Directory:
    """Return a directory of some of the people; now and then one that can't be."""
    users = random.sample(PEOPLE[:3], random.choice([1, 2, 3, 3, 3]))
    possible = [*users]
    content: dict[str, Any] = {"users": {user.removeprefix("user:"): {} for user in users}}
    for principal in _GROUPS:
        if random.random() < (0.8 if principal == ADMIN else 0.1):
            continue
        members = random.sample(possible, random.randint(1, min(4, len(possible))))
        if random.random() < 0.03:
            members.append(random.choice([principal, PEOPLE[3], members[0]]))
        kind, _, name = principal.partition(":")
        content.setdefault(f"{kind}s", {})[name] = {"members": members}
        possible.append(principal)
    return Directory.model_validate(content)
