"""The guard of every route: who asks is known, may do it, and what is refused is kept.

Everything is denied that is not declared: a route states the permission that it needs, and what it
would append, with ``requires``; an API with a route that does not can't be built.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import iscoroutinefunction
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import State

from meshline.api.desk import Desk, Services
from meshline.api.principals import Authenticator, Permission, Principal
from meshline.api.problems import Denied, Unauthenticated
from meshline.api.refusals import Attempt
from meshline.events.requests import Request as AskedRequest

__all__ = ["Requirement", "is_still_known", "check_every_route", "requirement_of", "requires"]

_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="key",
    description="An API key (`meshline key create`), or a token of the identity provider.",
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


class Requirement:
    """The dependency of a route, which gives it its desk; see ``requires``."""

    def __init__(
        self,
        permission: Permission | None,
        asks: type[AskedRequest] | None,
        *,
        changes_books: bool = False,
    ) -> None:
        self.permission = permission
        self.asks = asks
        self.changes_books = changes_books

    async def __call__(self, request: Request, found: _Credentials) -> Desk:
        services: Services = request.app.state.services
        attempt = None if self.asks is None else Attempt.of(self.asks, request)
        credential = None if found is None else found.credentials
        principal: Principal | None = None
        try:
            principal = await _known(request.app.state, credential)
            if self.permission is not None:
                principal.check(self.permission)
        except (Unauthenticated, Denied) as error:
            if attempt is not None:
                actor = None if principal is None else principal.actor
                services.refusals.note(attempt, actor, error)
            raise
        _check_query(request)
        return Desk(services, principal, attempt)


async def is_still_known(request: Request) -> bool:
    """Return whether the credential of a request that takes long still counts."""
    authenticator: Authenticator = request.app.state.authenticator
    credential = request.headers.get("authorization", "").partition(" ")[2]
    return await authenticator.principal(credential) is not None


def _check_query(request: Request) -> None:
    """Refuse a parameter that the route does not know: a filter mistyped would show everything."""
    if not request.query_params:
        return
    known = _parameters(request.scope["route"].dependant)
    unknown = sorted(request.query_params.keys() - known)
    if unknown:
        expected = f"expected some of {', '.join(sorted(known)) or 'none'}"
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": f"is not known here: {expected}"} for name in unknown]
        )


def _parameters(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_parameters, dependant.dependencies))


async def _known(state: State, credential: str | None) -> Principal:
    """Return who it is, if that is known and they don't ask too often."""
    authenticator: Authenticator = state.authenticator
    principal = await authenticator.principal(credential)
    if principal is not None:
        state.rates.take(principal.credential or principal.actor.id)
    else:
        state.unknown.take("")
        raise Unauthenticated(
            "The request has no key that is known here: expected `Authorization: Bearer mlk_…`."
            " Make one with `meshline key create`, and see that it has not expired."
        )
    return principal


def requires(
    permission: Permission | None,
    asks: type[AskedRequest] | None = None,
    *,
    changes_books: bool = False,
) -> Requirement:
    """Return a dependency that gives the desk of who asks, if they may do this.

    Args:
        permission: None: whoever is known may, for it is about themselves.
        asks: what the route appends; a refusal of it is kept in the log.
        changes_books: it appends nothing, and changes which views there are.
    """
    return Requirement(permission, asks, changes_books=changes_books)


def requirement_of(route: APIRoute) -> Requirement | None:
    """Return what the route asks for; None if it states nothing."""
    return _stated(route.dependant)


def _stated(dependant: Dependant) -> Requirement | None:
    if isinstance(dependant.call, Requirement):
        return dependant.call
    found = (_stated(inner) for inner in dependant.dependencies)
    return next((requirement for requirement in found if requirement is not None), None)


def _threaded(dependant: Dependant) -> bool:
    """Return whether FastAPI would run a dependency in a thread, which costs more than it does."""
    call = dependant.call
    waits = iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)
    return not waits or any(map(_threaded, dependant.dependencies))


def check_every_route(routers: Iterable[APIRouter], public: frozenset[str]) -> None:
    """Raise ``AssertionError`` where a route states no permission and is not meant for all.

    Args:
        public: the paths that need none.
    """
    for route in (route for router in routers for route in router.routes):
        path = getattr(route, "path", "")
        if path in public:
            continue
        stated = requirement_of(route) if isinstance(route, APIRoute) else None
        assert stated is not None, f"{path} states no permission: it would be open to all"
        assert isinstance(route, APIRoute)
        assert not _threaded(route.dependant), f"{path} has a dependency that needs a thread"
        changes = not (route.methods or set()) <= {"GET", "HEAD"}
        states = stated.asks is not None or stated.changes_books
        assert changes == states, f"{path} does not state what it appends"
