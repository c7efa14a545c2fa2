"""What the crowd asks about people, and who asks: directories that change, some of them wrong."""

from __future__ import annotations

from random import Random
from typing import Any

from meshline.engine.core.state import PartitionState
from meshline.events.directory import Directory
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.events.requests import Request

__all__ = ["EVERYWHERE", "PEOPLE", "people_request", "random_directory"]

EVERYWHERE = (DirectoryChangeRequested,)
"""Requests that each partition is asked for itself."""

PEOPLE = ("user:ada", "user:bob", "user:cid", "user:dot")
"""Who asks in a world with a directory; the last one is in none."""

_GROUPS = {
    "teams": ("red", "blue", "directors"),
    "roles": ("lead", "admin"),
    "queues": ("triage",),
}


def people_request(random: Random, state: PartitionState) -> tuple[str, Request]:
    """Return a request about people, and its subject."""
    number = state.people.number + random.choice([1, 1, 1, 0, -1])
    return "directory", DirectoryChangeRequested(number=number, directory=random_directory(random))


def random_directory(random: Random) -> Directory:
    """Return a directory of some of the people; now and then one that can't be."""
    users = random.sample(PEOPLE[:3], random.randint(1, 3))
    groups = [f"{kind[:-1]}:{name}" for kind, names in _GROUPS.items() for name in names]
    content: dict[str, Any] = {"users": {user.removeprefix("user:"): {} for user in users}}
    for number, principal in enumerate(groups):
        kind, _, name = principal.partition(":")
        possible = [*users, *groups[:number]]
        if random.random() < 0.05:
            possible += groups
        members = random.sample(possible, random.randint(0, min(3, len(possible))))
        if random.random() < 0.8:
            content.setdefault(f"{kind}s", {})[name] = {"members": members}
    return Directory.model_validate(content)
