"""Answering who is away and who stands in: the same way in every partition, and in every order."""

from __future__ import annotations

from datetime import timedelta

from meshline.engine.core.decision import Decision, Moment
from meshline.engine.core.replies import refuse, say
from meshline.events import facts
from meshline.events.directory import ADMIN
from meshline.events.envelope import Event
from meshline.events.people import Absence
from meshline.events.people_requests import AbsenceChangeRequested
from meshline.events.principals import is_principal

__all__ = ["ABSENCES_MAX", "ABSENCE_MAX", "answer_absence"]

ABSENCE_MAX = timedelta(days=366)
"""How long somebody may stand in at most: who is away for longer no longer does the work."""


ABSENCES_MAX = 1_000
"""People who are away at once, or will be, as far as a partition keeps it in mind."""


def answer_absence(moment: Moment, request: Event[AbsenceChangeRequested], cause: str) -> Decision:
    """Return the answer: the fact that it is so, or a refusal."""
    data, people = request.data, moment.people
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who says so")
    # Not a substitute: they would make themselves one for ever.
    if request.actor.id != data.user and not people.is_admin(request.actor.id, moment.now):
        reason = f"only {data.user} and who has {ADMIN} may say so, and {request.actor.id} asked"
        return refuse(request, cause, "not_allowed", reason)
    problem = _problem_with(moment, data)
    if problem is not None:
        return refuse(request, cause, "invalid", problem)
    # A clock that is ahead must not keep out what is asked later.
    asked_at = min(request.time, moment.now)
    absence = Absence(data.user, data.substitute, data.since, data.until, asked_at)
    before = people.absence_of(data.user)
    if before is not None and absence.order <= before.order:
        reason = f"something else was asked about {data.user} at {before.requested_at}"
        return refuse(request, cause, "outdated", reason)
    return say(
        request,
        cause,
        facts.AbsenceChanged(
            user=data.user,
            substitute=data.substitute,
            since=data.since,
            until=data.until,
            requested_at=asked_at,
            reason=data.reason,
        ),
    )


def _problem_with(moment: Moment, data: AbsenceChangeRequested) -> str | None:
    people = moment.people
    for user in (data.user, data.substitute):
        if user is None:
            continue
        if not is_principal(user) or not user.startswith("user:"):
            return f"{user!r} can't be away or stand in: expected a user such as 'user:ada'"
        if people.roster is not None and not people.roster.knows(user):
            return f"{user} is not in the directory"
    if data.user == data.substitute:
        return f"{data.user} can't stand in for themselves"
    if people.absence_of(data.user) is None and len(people.absences) >= ABSENCES_MAX:
        return f"{ABSENCES_MAX} people are away already, which is the most"
    if data.since > moment.now + ABSENCE_MAX:
        return f"{data.since} is more than {ABSENCE_MAX.days} days ahead: ask again later"
    if data.substitute is not None and not data.since < data.until <= data.since + ABSENCE_MAX:
        return (
            f"expected an end after {data.since}, at most {ABSENCE_MAX.days} days later, and found "
            f"{data.until}"
        )
    return None
