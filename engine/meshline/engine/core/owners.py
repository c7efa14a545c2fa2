"""Owners who are gone: what is theirs is seen by somebody, until it is given to another.

A directory that no longer has a user, team, role or queue makes it so; what it never had is taken
at its word.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.openings import open_exception
from meshline.engine.core.replies import no_principal, refuse, say
from meshline.engine.core.state import RunState
from meshline.events import facts
from meshline.events.directory import ADMIN
from meshline.events.envelope import Event
from meshline.events.people import People
from meshline.events.people_requests import HandoverRequested
from meshline.events.principals import is_principal

__all__ = ["OWNER_GONE", "answer_handover", "gone_owners", "is_concerned", "open_gone"]

OWNER_GONE = "owner_gone"
"""The kind of exceptions that are about a principal who is gone and has something of the run."""


def gone_owners(run: RunState, people: People) -> tuple[str, ...]:
    """Return who is gone and has something of the run: itself, an exception, an approval.

    Who works on an observed run has it, as who owns it: the one is there, the other may be too.
    """
    # An ended run that left memory and came back for an exception no longer knows its route.
    if not people.gone or not run.route:
        return ()
    return tuple(dict.fromkeys(who for who in _owners(run) if who in people.gone))


def _owners(run: RunState) -> Iterator[str]:
    if not run.has_ended and run.status != "accepted":
        yield run.owner
        yield run.assignee or ""
        for node in run.nodes.values():
            if node.status == "requested":
                yield node.owner or ""
                yield "" if node.task is None else node.task.assignee or ""
    for opened in (run.exceptions or {}).values():
        # That somebody is gone who should see that they are is said once.
        if opened.kind != OWNER_GONE or opened.about != opened.owner:
            yield opened.owner


def is_concerned(run: RunState, people: People) -> bool:
    """Return whether a change of the directory may have changed what is to be said of the run."""
    said = any(opened.kind == OWNER_GONE for opened in (run.exceptions or {}).values())
    return said or bool(gone_owners(run, people))


def open_gone(run: RunState, people: People) -> Decisions:
    """Yield an exception for each who is gone and has something, unless it is open already."""
    while True:
        said = {e.about for e in (run.exceptions or {}).values() if e.kind == OWNER_GONE}
        left = [who for who in gone_owners(run, people) if who not in said]
        if not left:
            return
        # The one that is opened may itself be somebody's who is gone: look again.
        yield _opened(run, left[0], people)


def _opened(run: RunState, who: str, people: People) -> Decision:
    knows_admin = people.roster is not None and people.roster.knows(ADMIN)
    return open_exception(
        run, OWNER_GONE, who,
        f"{who} is no longer in the directory, and something of this run is theirs. Give it to "
        f"somebody who is: `meshline owner handover {who} OWNER` shows what it is.",
        blocking=False, severity="high",
        owner=ADMIN if knows_admin and people.is_gone(run.route) else None,
    )  # fmt: skip


# -- handing over ------------------------------------------------------------------------------


def answer_handover(
    run: RunState, request: Event[HandoverRequested], cause: str, moment: Moment
) -> Decision:
    """Return the fact that it is another's, or the refusal."""
    data, people = request.data, moment.people
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who asks")
    if request.actor.id != data.previous and not people.is_admin(request.actor.id, moment.now):
        reason = f"only {data.previous} and who has {ADMIN} may, and {request.actor.id} asked"
        return refuse(request, cause, "not_allowed", reason)
    if not is_principal(data.owner):
        return refuse(request, cause, "not_a_principal", no_principal(data.owner))
    if people.roster is not None and not people.roster.knows(data.owner):
        return refuse(request, cause, "not_a_principal", f"{data.owner} is not in the directory")
    if data.owner == data.previous:
        return refuse(request, cause, "unchanged", f"it is {data.owner}'s already")
    match data.kind:
        case "run":
            return _run(run, request, cause)
        case "exception":
            return _exception(run, request, cause)
        case "approval" | "task":
            return _task(run, request, cause, people)


def _not_theirs(request: Event[HandoverRequested], cause: str, owner: str | None) -> Decision:
    reason = f"it is not {request.data.previous}'s, but {owner or 'nobody'}'s by now"
    return refuse(request, cause, "not_theirs", reason)


def _run(run: RunState, request: Event[HandoverRequested], cause: str) -> Decision:
    data = request.data
    if run.has_ended:
        return refuse(request, cause, "already_ended", "the run has ended")
    if run.status == "accepted":
        return refuse(request, cause, "not_started", "the run has not started, and has no owner")
    if data.previous not in (run.owner, run.assignee):
        return _not_theirs(request, cause, run.owner)
    owner, assignee = run.owner, run.assignee
    if owner == data.previous:
        owner = data.owner
    if assignee == data.previous:
        # Who works on it is somebody: of a team or a queue, nobody does yet.
        assignee = data.owner if data.owner.startswith("user:") else None
    return say(
        request,
        cause,
        facts.OwnerAssigned(owner=owner, assignee=assignee, previous=run.owner, reason=data.reason),
    )


def _exception(run: RunState, request: Event[HandoverRequested], cause: str) -> Decision:
    data = request.data
    opened = (run.exceptions or {}).get(data.about)
    if opened is None:
        reason = f"the run has no open exception {data.about!r}"
        return refuse(request, cause, "unknown_exception", reason)
    if opened.owner != data.previous:
        return _not_theirs(request, cause, opened.owner)
    return say(
        request,
        cause,
        facts.ExceptionAssigned(
            exception_id=data.about, owner=data.owner, previous=opened.owner, reason=data.reason
        ),
    )


def _task(run: RunState, request: Event[HandoverRequested], cause: str, people: People) -> Decision:
    data, state = request.data, run.nodes.get(request.data.about)
    if state is None or state.status != "requested":
        status = "not asked for" if state is None else state.status
        return refuse(request, cause, "not_requested", f"{data.about!r} is {status}")
    task = state.task
    assignee = None if task is None else task.assignee
    if data.previous not in (state.owner, assignee):
        return _not_theirs(request, cause, assignee or state.owner)
    if task is not None and people.roster is not None and data.owner == task.requester:
        reason = f"{data.owner} asks for it, and another must decide"
        return refuse(request, cause, "own_request", reason)
    return say(
        request,
        cause,
        facts.TaskTransferred(
            task=data.about,
            owner=data.owner,
            previous=data.previous,
            reason=data.reason,
            kind="approval" if task is None else task.kind,
        ),
    )
