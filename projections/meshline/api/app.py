"""The HTTP API as an ASGI application, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import Response

from meshline.api import looking_after, people, runs, triggers
from meshline.api.access import Authenticator, check_every_route
from meshline.api.context import Services
from meshline.api.problems import answer_problems, problem

__all__ = ["PUBLIC", "ROUTERS", "ApiSettings", "create_api"]

PUBLIC = frozenset({"/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect"})
"""What is open to everybody: it tells nothing of the installation but that it is there."""

ROUTERS = (
    triggers.router,
    runs.router,
    people.router,
    looking_after.router,
    looking_after.health,
)

_ABOUT = """\
Publish triggers, see what every run waits for and whose it is, and act on runs, exceptions and
approvals. Lists have the same filters as the command line. A list's `next` is sent as `after` to
get the page that follows. What is refused is kept in the log, and told as a problem (RFC 9457)
with a code that never changes its meaning.
"""

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Args:
    hosts: names under which this server may be spoken to, without port; a page of another name
        that was made to point here is turned away.
    body_bytes_max: of a request; a larger one is refused before it is read.
    """

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    body_bytes_max: int = 1024 * 1024


def create_api(
    services: Services, authenticator: Authenticator, settings: ApiSettings | None = None
) -> FastAPI:
    """Return the application; ``services`` are opened and closed by the caller."""
    settings = settings or ApiSettings()
    api = FastAPI(
        title="Meshline",
        version=version("meshline"),
        description=_ABOUT,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.services = services
    api.state.authenticator = authenticator
    check_every_route(ROUTERS, PUBLIC)
    for router in ROUTERS:
        api.include_router(router)
    answer_problems(api)

    @api.middleware("http")
    async def guard(request: Request, go_on: Next) -> Response:
        refused = _refusal(request, settings)
        response = await go_on(request) if refused is None else refused
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    return api


def _refusal(request: Request, settings: ApiSettings) -> Response | None:
    """Return why the request is not even looked at, if that is so."""
    host = _host_of(f"//{request.headers.get('host', '')}")
    if host not in settings.hosts:
        return problem(
            400, "unknown_host", f"This server is not called {host!r}: expected one of "
            f"{', '.join(sorted(settings.hosts))}. Start it with --host-name, if it is.",
        )  # fmt: skip
    origin = request.headers.get("origin")
    if origin is not None and _host_of(origin) not in settings.hosts:
        return problem(
            403, "unknown_origin", f"A page of {origin!r} may not speak to this server: expected "
            "one of its own. Start it with --host-name, if it may.",
        )  # fmt: skip
    length: Any = request.headers.get("content-length")
    if request.method == "POST" and (length is None or not length.isdecimal()):
        return problem(
            411, "length_required", "The request does not say how long its body is: expected "
            "Content-Length.",
        )  # fmt: skip
    if length is not None and int(length) > settings.body_bytes_max:
        return problem(
            413, "too_large", f"The body has {int(length):,} bytes: expected at most "
            f"{settings.body_bytes_max:,}. Keep large content elsewhere and send its address.",
        )  # fmt: skip
    return None


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
