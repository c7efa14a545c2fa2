"""Facts about who there is, who is away, and who is let in.

The first two are said in every partition, for its own decisions; the last moves nothing here.
"""

from __future__ import annotations

from pydantic import AwareDatetime

from meshline.events.directory import Directory
from meshline.events.facts.fact import Fact

__all__ = ["AbsenceChanged", "AccessChanged", "DirectoryChanged"]


class DirectoryChanged(Fact):
    """From here on this is the directory; ``number`` counts the changes, from 1."""

    TYPE = "meshline.directory.changed"

    number: int
    directory_hash: str
    directory: Directory
    reason: str = ""


class AbsenceChanged(Fact):
    """``user`` is away for that time, and ``substitute`` may do all that they may; None: is back.

    Of several about one user the one that was requested last counts.
    """

    TYPE = "meshline.absence.changed"

    user: str
    since: AwareDatetime
    until: AwareDatetime
    requested_at: AwareDatetime
    substitute: str | None = None
    reason: str = ""


class AccessChanged(Fact):
    """Somebody was let in, narrowed or shut out; see ``AccessChangeRequested``."""

    TYPE = "meshline.access.changed"

    action: str
    about: str
    reason: str = ""
