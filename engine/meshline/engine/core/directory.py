"""Answering who wants another directory: the same way in every partition, and in every order."""

from __future__ import annotations

from meshline.engine.core.decision import Decision, Moment
from meshline.engine.core.replies import refuse, say
from meshline.events import facts
from meshline.events.directory import ADMIN, hash_of, problems_of
from meshline.events.envelope import Event
from meshline.events.people_requests import DirectoryChangeRequested

__all__ = ["answer_directory"]


def answer_directory(
    moment: Moment, request: Event[DirectoryChangeRequested], cause: str
) -> Decision:
    """Return the answer: the fact that this is the directory, or a refusal."""
    data, people = request.data, moment.people
    found = hash_of(data.directory)
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who wants it")
    if not people.is_admin(request.actor.id, moment.now):
        reason = f"only who has {ADMIN} may change the directory, and {request.actor.id} asked"
        return refuse(request, cause, "not_allowed", reason)
    if (data.number, found) == (people.number, people.directory_hash):
        return refuse(request, cause, "unchanged", "it is the directory already")
    if (data.number, found) < (people.number, people.directory_hash):
        reason = f"the directory is number {people.number} by now, and this is {data.number}"
        return refuse(request, cause, "outdated", reason)
    problems = problems_of(data.directory)
    if problems:
        return refuse(request, cause, "inconsistent", "; ".join(problems))
    fact = facts.DirectoryChanged(
        number=data.number, directory_hash=found, directory=data.directory, reason=data.reason
    )
    return say(request, cause, fact)
