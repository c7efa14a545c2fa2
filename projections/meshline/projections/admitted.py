"""Who is let in, as rows: keys of the API, users and sessions of the console; no secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

__all__ = ["Granting", "Key", "Session", "User"]


class Key(NamedTuple):
    """A key without its secret.

    ``sources``: the only ones it may publish for; None: all. ``workflows`` and ``queues`` are its
    scope: the only rows that it sees; None: all. ``used_at`` is when it was used last, give or take
    ``USED_EVERY``; ``revoked_for`` is the reason.
    """

    id: str
    actor: str
    roles: list[str]
    sources: list[str] | None
    workflows: list[str] | None
    queues: list[str] | None
    made_at: datetime
    made_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoked_for: str | None
    used_at: datetime | None


class User(NamedTuple):
    """Somebody who can sign in; on events they are ``user:NAME``.

    ``workflows`` and ``queues`` are their scope, as of a ``Key``: the only rows that they see.
    """

    name: str
    roles: list[str]
    workflows: list[str] | None
    queues: list[str] | None
    made_at: datetime
    made_by: str


class Session(NamedTuple):
    """Somebody who is signed in; ``with_provider``: their roles are those of their groups then."""

    actor: str
    roles: list[str]
    workflows: list[str] | None
    queues: list[str] | None
    with_provider: bool
    begun_at: datetime
    seen_at: datetime


class Granting(NamedTuple):
    """What somebody may; see ``Key``. People publish nothing: ``sources`` is for keys."""

    roles: Sequence[str]
    sources: Sequence[str] | None = None
    workflows: Sequence[str] | None = None
    queues: Sequence[str] | None = None

    def __str__(self) -> str:
        parts = [f"as {', '.join(self.roles)}"]
        if self.sources is not None:
            parts.append(f"publishes for {', '.join(self.sources) or 'nothing'}")
        if self.workflows is not None or self.queues is not None:
            limits = [*(self.workflows or ()), *(self.queues or ())]
            parts.append(f"sees {', '.join(limits) or 'nothing'}")
        return "; ".join(parts)
