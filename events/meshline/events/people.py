"""Who there is and who is away, and so who may do what others may.

Where no directory was ever applied, nobody is known, and every principal is taken at its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from meshline.events.directory import ADMIN, Roster

__all__ = ["NOBODY", "Absence", "People", "Right"]

_NAMED_MAX = 10


class Right(NamedTuple):
    """By what right somebody acts: their own, or as the substitute of who is absent."""

    on_behalf_of: str | None


class Absence(NamedTuple):
    """Somebody is away, and another may do all that they may; nobody: they are back."""

    absent: str
    substitute: str | None
    since: datetime
    until: datetime
    requested_at: datetime

    @property
    def order(self) -> tuple[datetime, str, datetime, datetime]:
        """Of two about the same user the higher one counts, in every partition."""
        return self.requested_at, self.substitute or "", self.since, self.until


@dataclass(frozen=True, slots=True)
class People:
    """The directory, and who is away.

    Args:
        number: of the directory's last change; 0: there never was one.
        directory_hash: of its content.
        roster: the directory, to be asked; None: there is none.
        gone: users, teams, roles and queues that a change has removed, and none brought back.
        absences: the last one of each who is away, or will be.
    """

    number: int = 0
    directory_hash: str = ""
    roster: Roster | None = None
    gone: frozenset[str] = frozenset()
    absences: tuple[Absence, ...] = ()

    def right_of(self, actor: str, principals: Sequence[str], now: datetime) -> Right | None:
        """Return by what right the actor may do what these principals may; None: by none.

        Where there is no directory, a team or a role may be anybody.
        """
        if self.through(actor, principals) is not None:
            return Right(None)
        for absence in self.absences:
            is_away = absence.since <= now < absence.until
            stands_in = is_away and absence.substitute == actor
            if stands_in and self.through(absence.absent, principals) is not None:
                return Right(absence.absent)
        return None

    def through(self, user: str, principals: Sequence[str]) -> str | None:
        """Return the first of the principals that the user is, or is in; None: none of them."""
        if self.roster is None:
            found = (each for each in principals if not each.startswith("user:") or each == user)
        else:
            roles = self.roster.roles_of(user)
            found = (each for each in principals if each in roles)
        return next(found, None)

    def is_admin(self, principal: str, now: datetime) -> bool:
        """Whether the principal may do what admins may: anybody, where nobody is named as one."""
        if self.roster is None or not self.roster.knows(ADMIN):
            return True
        return self.right_of(principal, (ADMIN,), now) is not None

    def absence_of(self, user: str) -> Absence | None:
        return next((each for each in self.absences if each.absent == user), None)

    def is_gone(self, principal: str) -> bool:
        """Whether a change of the directory has removed this user, team, role or queue."""
        return principal in self.gone

    def named(self, principals: Sequence[str]) -> str:
        """Return the principals in words, with some of the users that they stand for."""
        words = []
        for principal in principals:
            users = [] if self.roster is None else self.roster.users_of(principal)
            some = ", ".join(users[:_NAMED_MAX]) + (" …" if len(users) > _NAMED_MAX else "")
            who = some or ("nobody" if self.roster is not None else "")
            is_user = principal.startswith("user:")
            words.append(principal if is_user or not who else f"{principal} ({who})")
        return ", ".join(words)


NOBODY = People()
"""Before there is a directory."""
