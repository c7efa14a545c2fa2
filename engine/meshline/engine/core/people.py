"""Who there is and who is away, as the log of a partition says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from meshline.events import facts
from meshline.events.directory import Directory, Roster
from meshline.events.envelope import Event
from meshline.events.people import Absence, People

__all__ = ["PEOPLE_FACTS", "people_after"]

_ABSENCE_KEPT = timedelta(days=1)
"""How long an absence that is over is known, for one that was asked before and comes after it."""


def people_after(people: People, event: Event[Any]) -> People:
    """Return what is known of people after one of ``PEOPLE_FACTS``."""
    return _APPLIERS[type(event.data)](people, event, event.data)


def _directory_changed(people: People, event: Event[Any], data: facts.DirectoryChanged) -> People:
    before = set() if people.roster is None else _principals(people.roster.directory)
    return replace(
        people,
        number=data.number,
        directory_hash=data.directory_hash,
        roster=Roster(data.directory),
        gone=frozenset((people.gone | before) - _principals(data.directory)),
    )


def _principals(directory: Directory) -> set[str]:
    users = {f"user:{name}" for name in directory.users}
    return users | {principal for principal, _ in directory.groups()}


def _absence_changed(people: People, event: Event[Any], data: facts.AbsenceChanged) -> People:
    absence = Absence(data.user, data.substitute, data.since, data.until, data.requested_at)
    others = (
        each
        for each in people.absences
        if each.absent != data.user
        and max(each.until, each.requested_at) + _ABSENCE_KEPT > event.time
    )
    return replace(people, absences=(*others, absence))


_APPLIERS: dict[type, Callable[[People, Event[Any], Any], People]] = {
    facts.DirectoryChanged: _directory_changed,
    facts.AbsenceChanged: _absence_changed,
}

PEOPLE_FACTS = frozenset(_APPLIERS)
"""Facts about people and not about a run."""
