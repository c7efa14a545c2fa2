"""Requests of and about people: who there is, who is away, and what is done with their tasks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime

from meshline.events.directory import Directory
from meshline.events.requests import Request

__all__ = [
    "ABSENCES",
    "ACCESS",
    "AbsenceChangeRequested",
    "AccessChangeRequested",
    "DirectoryChangeRequested",
    "HandoverRequested",
    "TaskActionRequested",
    "TaskCompletionRequested",
]

ABSENCES = "absences"
"""The subject of what every partition is asked about absences."""

ACCESS = "access"
"""The subject of what is asked about keys and users."""


class DirectoryChangeRequested(Request):
    """Let this be the directory; one request goes to every partition.

    ``number`` counts the changes. Where two admins change it at once, the one with the higher
    number, or else the higher hash, counts in the end, whatever comes first in a partition.
    """

    TYPE = "meshline.directory.change.requested"

    number: int
    directory: Directory
    reason: str = ""


class AbsenceChangeRequested(Request):
    """While ``user`` is away, let ``substitute`` do all that they may; None: they are back.

    Each partition decides by its own answer. What was asked last counts, also where two that were
    asked at once come in another order.
    """

    TYPE = "meshline.absence.change.requested"

    user: str
    since: AwareDatetime
    until: AwareDatetime
    substitute: str | None = None
    reason: str = ""


class AccessChangeRequested(Request):
    """Let in, narrow or shut out somebody: a key of the API, a user or a session of the console.

    Keys and users are kept beside the views, and no secret of theirs is ever in the log. A server
    asks this before it does it; what is in the log is who did what to whom, and why. ``about``
    names the key or the user, and what they may from then on.
    """

    TYPE = "meshline.access.change.requested"

    action: Literal[
        "create key", "rotate key", "revoke key", "create user", "change user",
        "change password", "remove user", "end sessions",
    ]  # fmt: skip
    about: str
    reason: str = ""


class HandoverRequested(Request):
    """Give one thing that is ``previous``'s to ``owner``: a run, or what is open in it.

    ``about`` is the exception's id or the task's name; empty for the run itself.
    """

    TYPE = "meshline.handover.requested"

    kind: Literal["run", "exception", "approval", "task"]
    about: str = ""
    previous: str
    owner: str
    reason: str = ""


class TaskActionRequested(Request):
    """Do something about a task or an approval short of ending it.

    ``claim`` takes it for oneself, ``release`` gives it back to all who may; ``assign`` gives it to
    the user ``to``; ``delegate`` lets ``to`` do it in one's place; ``comment`` says ``reason``.
    """

    TYPE = "meshline.task.action.requested"

    task: str
    action: Literal["claim", "release", "assign", "delegate", "comment"]
    to: str | None = None
    reason: str = ""


class TaskCompletionRequested(Request):
    """A task is done. ``form`` is what the person who did it filled in."""

    TYPE = "meshline.task.completion.requested"

    task: str
    form: Any = None
    reason: str = ""
