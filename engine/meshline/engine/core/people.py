"""Who there is, as the log of a partition says it.

Where no directory was ever applied, nobody is known, and every principal is taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from meshline.events import facts
from meshline.events.directory import ADMIN, Roster
from meshline.events.envelope import Event

__all__ = ["NOBODY", "PEOPLE_FACTS", "People", "Right", "people_after"]


_NAMED_MAX = 10


class Right(NamedTuple):
    """By what right somebody acts: their own, or as the substitute of who is absent."""

    on_behalf_of: str | None


@dataclass(frozen=True, slots=True)
class People:
    """The directory of a partition.

    Args:
        number: of the directory's last change; 0: there never was one.
        directory_hash: of its content.
        roster: the directory, to be asked; None: there is none.
    """

    number: int = 0
    directory_hash: str = ""
    roster: Roster | None = None

    def right_of(self, actor: str, principals: Sequence[str]) -> Right | None:
        """Return by what right the actor may do what these principals may; None: by none.

        Where there is no directory, a team or a role may be anybody.
        """
        if self.roster is None:
            stands_for = any(not each.startswith("user:") or each == actor for each in principals)
        else:
            stands_for = not self.roster.roles_of(actor).isdisjoint(principals)
        return Right(None) if stands_for else None

    def named(self, principals: Sequence[str]) -> str:
        """Return the principals in words, with some of the users that they stand for."""
        words = []
        for principal in principals:
            users = [] if self.roster is None else self.roster.users_of(principal)
            some = ", ".join(users[:_NAMED_MAX]) + (" …" if len(users) > _NAMED_MAX else "")
            is_user = principal.startswith("user:")
            nobody = "nobody" if self.roster is not None else ""
            who = "" if is_user else some or nobody
            words.append(f"{principal} ({who})" if who else principal)
        return ", ".join(words)

    def is_admin(self, principal: str) -> bool:
        """Whether the principal may do what admins may: anybody, where nobody is named as one."""
        if self.roster is None or not self.roster.knows(ADMIN):
            return True
        return ADMIN in self.roster.roles_of(principal)


NOBODY = People()
"""Before there is a directory."""


def people_after(people: People, event: Event[Any]) -> People:
    """Return what is known of people after one of ``PEOPLE_FACTS``."""
    return _APPLIERS[type(event.data)](people, event.data)


def _directory_changed(people: People, data: facts.DirectoryChanged) -> People:
    return replace(
        people,
        number=data.number,
        directory_hash=data.directory_hash,
        roster=Roster(data.directory),
    )


_APPLIERS: dict[type, Callable[[People, Any], People]] = {
    facts.DirectoryChanged: _directory_changed,
}

PEOPLE_FACTS = frozenset(_APPLIERS)
"""Facts about people and not about a run."""
