"""Who there is: users, and the teams, roles and queues that they are in, written by an admin.

A ``Directory`` is data, as it stands in a request and in a fact; a ``Roster`` is one worked out,
so that it can be asked who is in what. Groups may hold groups: a role may be held by a team.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
from pydantic import BaseModel, ConfigDict

from meshline.events.ids import payload_hash_of
from meshline.events.principals import is_principal

__all__ = [
    "ADMIN",
    "DIRECTORY_BYTES_MAX",
    "Directory",
    "Group",
    "Person",
    "Roster",
    "difference",
    "hash_of",
    "problems_of",
]

ADMIN = "role:admin"
"""Who may change a directory that has this role, and give anybody's task to another."""

DIRECTORY_BYTES_MAX = 256 * 1024
"""A directory as JSON; every partition keeps it, and it must fit one record of the log."""

_PROBLEMS_MAX = 20


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Person(_Part):
    """A user; ``name`` and ``email`` are for people."""

    name: str = ""
    email: str = ""


class Group(_Part):
    """A team, role or queue; ``members`` are principals, such as ``user:ada`` and ``team:emea``."""

    name: str = ""
    members: tuple[str, ...] = ()


class Directory(_Part):
    """All users, teams, roles and queues, each by its name without the kind."""

    users: dict[str, Person] = {}
    teams: dict[str, Group] = {}
    roles: dict[str, Group] = {}
    queues: dict[str, Group] = {}

    def groups(self) -> Iterator[tuple[str, Group]]:
        """Yield every team, role and queue as a principal."""
        kinds: tuple[tuple[str, Mapping[str, Group]], ...] = (
            ("team", self.teams), ("role", self.roles), ("queue", self.queues),
        )  # fmt: skip
        for kind, groups in kinds:
            for name, group in groups.items():
                yield f"{kind}:{name}", group


class Roster:
    """A directory that can be asked; equal to another of the same directory."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._members = {principal: group.members for principal, group in directory.groups()}
        self._in: dict[str, list[str]] = {}
        for principal, members in self._members.items():
            for member in members:
                self._in.setdefault(member, []).append(principal)
        self._known: dict[str, frozenset[str]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self.directory == other.directory

    __hash__ = None  # type: ignore[assignment]  # the directory holds dicts

    def __repr__(self) -> str:
        return f"<Roster of {len(self.directory.users)} users, {len(self._members)} groups>"

    def knows(self, principal: str) -> bool:
        """Whether there is such a user, team, role or queue."""
        kind, _, name = principal.partition(":")
        return principal in self._members or (kind == "user" and name in self.directory.users)

    def roles_of(self, user: str) -> frozenset[str]:
        """Return all that the user is: itself, and each group that it is in, through others too.

        Of somebody who is not in the directory, nothing.
        """
        found = self._known.get(user)
        if found is None:
            found = frozenset(_reached(user, self._in)) if self.knows(user) else frozenset()
            self._known[user] = found
        return found

    def users_of(self, principal: str) -> list[str]:
        """Return the users that a principal stands for, in the order of their names."""
        if not self.knows(principal):
            return []
        reached = _reached(principal, self._members)
        return sorted(each for each in reached if each.startswith("user:"))


def _reached(start: str, edges: Mapping[str, list[str] | tuple[str, ...]]) -> set[str]:
    found, stack = {start}, [start]
    while stack:
        for each in edges.get(stack.pop(), ()):
            if each not in found:
                found.add(each)
                stack.append(each)
    return found


def hash_of(directory: Directory) -> str:
    """Return 16 hex digits that are equal for equal directories."""
    return payload_hash_of(directory.model_dump(mode="json"))


def problems_of(directory: Directory) -> list[str]:
    """Return why this can't be the directory, in words; empty if it can."""
    size_bytes = len(orjson.dumps(directory.model_dump(mode="json")))
    if size_bytes > DIRECTORY_BYTES_MAX:
        return [
            f"it has {size_bytes} bytes: expected at most {DIRECTORY_BYTES_MAX}; leave out names "
            "and addresses, or users who decide nothing"
        ]
    return list(_problems(directory))[:_PROBLEMS_MAX]


def _problems(directory: Directory) -> Iterator[str]:
    roster = Roster(directory)
    users = [f"user:{name}" for name in directory.users]
    for principal in (*users, *(principal for principal, _ in directory.groups())):
        if not is_principal(principal):
            yield f"{principal!r} is no name: expected at most 200 characters, no space, no ':'"
    for principal, group in directory.groups():
        seen: set[str] = set()
        for member in group.members:
            if member in seen:
                yield f"{principal} has {member} twice"
            elif not is_principal(member):
                yield f"{principal} has {member!r}: expected a principal such as 'user:ada'"
            elif not roster.knows(member):
                yield f"{principal} has {member}, who is not in the directory"
            seen.add(member)
    cycle = _cycle({principal: group.members for principal, group in directory.groups()})
    if cycle:
        yield f"{' in '.join(cycle)}: a group can't be in itself"
    if "admin" in directory.roles and not roster.users_of(ADMIN):
        yield f"{ADMIN} has no user: nobody could change the directory any more"


def _cycle(members: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return a way from a group back to itself, without recursion: a long chain is no mistake."""
    done: set[str] = set()
    path: dict[str, None] = {}
    stack = [(name, True) for name in members]
    while stack:
        name, enters = stack.pop()
        if not enters:
            del path[name]
            done.add(name)
        elif name in path:
            way = list(path)
            return [name, *reversed(way[way.index(name) :])]
        elif name not in done:
            path[name] = None
            stack.append((name, False))
            stack.extend((each, True) for each in members.get(name, ()))
    return []


def difference(before: Directory | None, after: Directory) -> list[str]:
    """Return what changes, a line each: ``+ user:ada``, ``- team:x``, ``team:y + user:ada``."""
    old, new = _entries(before or Directory()), _entries(after)
    lines = [f"- {principal}" for principal in old if principal not in new]
    for principal, (words, members) in new.items():
        if principal not in old:
            lines.append(f"+ {principal}")
        words_before, members_before = old.get(principal, (words, ()))
        lines += [f"{principal} - {each}" for each in members_before if each not in members]
        lines += [f"{principal} + {each}" for each in members if each not in members_before]
        if words != words_before:
            lines.append(f"{principal} is now {words}")
    return lines


def _entries(directory: Directory) -> dict[str, tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, tuple[str, ...]]] = {
        f"user:{name}": (f"{person.name!r} <{person.email}>", ())
        for name, person in directory.users.items()
    }
    found |= {principal: (repr(g.name), g.members) for principal, g in directory.groups()}
    return found
