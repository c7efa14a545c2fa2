"""Who there is, as the log of a partition says it.

Where no directory was ever applied, nobody is known, and every principal is taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from meshline.events import facts
from meshline.events.directory import ADMIN, Roster
from meshline.events.envelope import Event

__all__ = ["NOBODY", "PEOPLE_FACTS", "People", "people_after"]


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
