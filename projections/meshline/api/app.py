"""The HTTP API as an ASGI application, put together."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from meshline.api import (
    admitting,
    audit,
    bulk,
    hooks,
    live,
    looking_after,
    owners,
    people,
    runs,
    triggers,
    view_keeping,
    work,
)
from meshline.api.access import check_every_route
from meshline.api.desk import Services
from meshline.api.document import add_document_page
from meshline.api.guard import ApiSettings, Guard
from meshline.api.guarded import Guarded
from meshline.api.principals import Authenticator
from meshline.api.problems import answer_problems
from meshline.api.rates import Rates
from meshline.api.webhooks import Webhooks

__all__ = ["PUBLIC", "ROUTERS", "ApiSettings", "create_api"]

PUBLIC = frozenset({"/openapi.json", "/docs"})
"""What is open to everybody: it tells nothing of the installation but that it is there."""

ROUTERS = (
    triggers.router,
    runs.router,
    people.router,
    work.router,
    owners.router,
    bulk.router,
    looking_after.router,
    view_keeping.router,
    audit.router,
    admitting.router,
    live.router,
    hooks.router,
)

_ABOUT = """\
Publish triggers, see what every run waits for and whose it is, and act on runs, exceptions and
approvals. Lists have the same filters as the command line. A list's `next` is sent as `after` to
get the page that follows. What is refused is kept in the log, and told as a problem (RFC 9457)
with a code that never changes its meaning.
"""


def create_api(
    services: Services,
    authenticator: Authenticator,
    settings: ApiSettings | None = None,
    webhooks: Webhooks | None = None,
) -> FastAPI:
    """Return the application; ``services`` are opened and closed by the caller."""
    settings = settings or ApiSettings()
    api = Guarded(
        partial(Guard, settings=settings),
        title="Meshline",
        version=version("meshline"),
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.services = services
    api.state.authenticator = authenticator
    api.state.webhooks = webhooks
    api.state.rates = Rates(settings.rate_per_s, settings.burst_max)
    api.state.unknown = Rates(settings.unknown_per_s, max(1, int(settings.unknown_per_s)))
    check_every_route(ROUTERS, PUBLIC)
    for router in ROUTERS:
        api.include_router(router)
    add_document_page(api)
    answer_problems(api)
    return api
