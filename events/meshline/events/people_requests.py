"""Requests of and about people: who there is, who is away, and what is done with their tasks."""

from __future__ import annotations

from typing import Literal

from meshline.events.directory import Directory
from meshline.events.requests import Request

__all__ = ["DirectoryChangeRequested", "TaskActionRequested"]


class DirectoryChangeRequested(Request):
    """Let this be the directory; one request goes to every partition.

    ``number`` counts the changes. Where two admins change it at once, the one with the higher
    number, or else the higher hash, counts in the end, whatever comes first in a partition.
    """

    TYPE = "meshline.directory.change.requested"

    number: int
    directory: Directory
    reason: str = ""


class TaskActionRequested(Request):
    """Do something about an approval short of deciding it.

    ``claim`` takes it for oneself, ``release`` gives it back to all who may; ``assign`` gives it to
    the user ``to``; ``delegate`` lets ``to`` decide in one's place; ``comment`` says ``reason``.
    """

    TYPE = "meshline.task.action.requested"

    task: str
    action: Literal["claim", "release", "assign", "delegate", "comment"]
    to: str | None = None
    reason: str = ""
