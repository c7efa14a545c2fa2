"""Who asks and what they may: permissions, the roles that bundle them, and the principal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from meshline.api.problems import Denied
from meshline.events.envelope import Actor
from meshline.projections.scope import Scope

__all__ = ["ROLES", "Authenticator", "Permission", "Principal", "permissions_of", "roles_with"]


class Permission(StrEnum):
    """What a route may ask for. Reading a payload is a permission of its own.

    So is reading in it what a definition marks as secret, which admins alone have.
    """

    PUBLISH = "trigger.publish"
    REPORT = "outcome.report"
    READ = "view.read"
    READ_PAYLOADS = "payload.read"
    READ_SECRETS = "payload.secret"
    OPERATE = "run.operate"
    APPROVE = "approval.decide"
    AUDIT = "audit.read"
    ACCESS = "access.manage"
    KEEP_VIEWS = "view.keep"


_VIEWER = frozenset({Permission.READ})

ROLES: Mapping[str, frozenset[Permission]] = {
    "source": frozenset({Permission.PUBLISH}),
    "worker": _VIEWER | {Permission.READ_PAYLOADS, Permission.REPORT},
    "viewer": _VIEWER,
    "auditor": _VIEWER | {Permission.READ_PAYLOADS, Permission.AUDIT},
    "approver": _VIEWER | {Permission.READ_PAYLOADS, Permission.APPROVE},
    "operator": _VIEWER | {Permission.READ_PAYLOADS, Permission.OPERATE},
    "admin": frozenset(Permission),
}
"""By role what it may do. A source may send triggers and learn what became of them, no more."""


def permissions_of(roles: Iterable[str]) -> frozenset[Permission]:
    """Return what the roles give together; a role that there is not gives nothing."""
    return frozenset(permission for role in roles for permission in ROLES.get(role, ()))


def roles_with(permission: Permission) -> list[str]:
    return [role for role, permissions in ROLES.items() if permission in permissions]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request, as this server knows it.

    Args:
        actor: stands on every event that the request leads to.
        permissions: what its roles give.
        sources: the only ones for which it may publish; None: all, if it has no scope.
        scope: the only rows that it sees and may act on; None: all.
        credential: names the key or the token's subject, for limits; it is no secret.
    """

    actor: Actor
    permissions: frozenset[Permission]
    sources: frozenset[str] | None = None
    scope: Scope | None = None
    credential: str = ""

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def check(self, permission: Permission) -> None:
        """Raise ``Denied`` unless it may do this."""
        if not self.may(permission):
            raise Denied(
                f"{self.actor.id} lacks the permission {permission}: expected a role that has it "
                f"({', '.join(roles_with(permission))}). Ask for another key."
            )

    def check_source(self, source: str) -> None:
        """Raise ``Denied`` unless it may publish for the source."""
        sources = self.sources
        if sources is None and self.scope is not None:
            # A team's key publishes for no source that nobody gave it.
            sources = frozenset()
        if sources is not None and source not in sources:
            raise Denied(
                f"{self.actor.id} may not publish for the source {source!r}: expected one of "
                f"{', '.join(sorted(sources)) or 'none'}. Ask for a key with that source."
            )


class Authenticator(Protocol):
    """Tells from a credential who it is."""

    async def principal(self, credential: str | None) -> Principal | None:
        """Return whose it is; None if it is nobody's (any more)."""
        ...
