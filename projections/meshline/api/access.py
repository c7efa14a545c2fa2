"""Who may do what: permissions, the roles that bundle them, and the principal of a request.

Everything is denied that is not declared: a route states the permission that it needs with
``requires``, and an API with a route that states none can't be built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from meshline.api.problems import Denied, Unauthenticated
from meshline.events.envelope import Actor

__all__ = [
    "ROLES",
    "Authenticator",
    "Permission",
    "Principal",
    "check_every_route",
    "permission_of",
    "requires",
]


class Permission(StrEnum):
    """What a route may ask for. Reading a payload is a permission of its own."""

    PUBLISH = "trigger.publish"
    READ = "view.read"
    READ_PAYLOADS = "payload.read"
    OPERATE = "run.operate"
    APPROVE = "approval.decide"


_VIEWER = frozenset({Permission.READ})
_OPERATOR = _VIEWER | {Permission.READ_PAYLOADS, Permission.OPERATE}

ROLES: Mapping[str, frozenset[Permission]] = {
    "source": frozenset({Permission.PUBLISH}),
    "viewer": _VIEWER,
    "auditor": _VIEWER | {Permission.READ_PAYLOADS},
    "approver": _VIEWER | {Permission.READ_PAYLOADS, Permission.APPROVE},
    "operator": _OPERATOR,
    "admin": frozenset(Permission),
}
"""By role what it may do. A source may send triggers and learn what became of them, no more."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request, as this server knows it.

    Args:
        actor: stands on every event that the request leads to.
        permissions: what its roles give.
        sources: the only ones for which it may publish; None: for all.
    """

    actor: Actor
    permissions: frozenset[Permission]
    sources: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def check_source(self, source: str) -> None:
        """Raise ``Denied`` unless it may publish for the source."""
        if self.sources is not None and source not in self.sources:
            raise Denied(
                f"{self.actor.id} may not publish for the source {source!r}: expected one of "
                f"{', '.join(sorted(self.sources))}. Ask for a key with that source."
            )


class Authenticator(Protocol):
    """Tells from a credential who it is."""

    async def principal(self, credential: str | None) -> Principal | None:
        """Return whose it is; None if it is nobody's (any more)."""
        ...


_BEARER = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key: `meshline key create`."
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class _Requirement:
    """The dependency of a route; see ``requires``."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, request: Request, found: _Credentials) -> Principal:
        authenticator: Authenticator = request.app.state.authenticator
        principal = await authenticator.principal(None if found is None else found.credentials)
        if principal is None:
            raise Unauthenticated(
                "The request has no key that is known here: expected `Authorization: Bearer mlk_…`."
                " Make one with `meshline key create`, and see that it has not expired."
            )
        if not principal.may(self.permission):
            raise Denied(
                f"{principal.actor.id} lacks the permission {self.permission}: expected a role "
                f"that has it ({', '.join(_having(self.permission))}). Ask for another key."
            )
        return principal


def _having(permission: Permission) -> list[str]:
    return [role for role, permissions in ROLES.items() if permission in permissions]


def requires(permission: Permission) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that gives the principal, if it may do this."""
    return _Requirement(permission)


def permission_of(route: APIRoute) -> Permission | None:
    """Return what the route asks for; None if it states nothing."""
    return _stated(route.dependant)


def _stated(dependant: Dependant) -> Permission | None:
    if isinstance(dependant.call, _Requirement):
        return dependant.call.permission
    found = (_stated(inner) for inner in dependant.dependencies)
    return next((permission for permission in found if permission is not None), None)


def check_every_route(routers: Iterable[APIRouter], public: frozenset[str]) -> None:
    """Raise ``AssertionError`` where a route states no permission and is not meant for all.

    Args:
        public: the paths that need none.
    """
    for route in (route for router in routers for route in router.routes):
        path = getattr(route, "path", "")
        is_stated = isinstance(route, APIRoute) and permission_of(route) is not None
        assert is_stated or path in public, f"{path} states no permission: it would be open to all"
