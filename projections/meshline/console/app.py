"""The console as an ASGI application, and beside the API at one address."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope as AsgiScope

from meshline.api import ApiSettings
from meshline.api.accounts import Accounts
from meshline.api.desk import Services
from meshline.api.guarded import Guarded
from meshline.api.keys import ApiKeys
from meshline.api.rates import Rates
from meshline.console import (
    access,
    account,
    approvals,
    audit,
    bulk,
    causes,
    corrections,
    exceptions,
    freshness,
    handing_over,
    looking_after,
    overview,
    run_page,
    runs,
    saved,
    sending,
    signing_in,
    triggers,
    view_keeping,
    work,
    workflows,
)
from meshline.console.guard import Application, Guard, Receive, Scope, Send
from meshline.console.oidc_login import OidcLogin
from meshline.console.problems import answer_problems
from meshline.console.visit import check_every_page

__all__ = ["ROUTERS", "beside", "create_console"]

ROUTERS: tuple[APIRouter, ...] = (
    overview.router,
    saved.router,
    runs.router,
    run_page.router,
    corrections.router,
    exceptions.router,
    freshness.router,
    causes.router,
    bulk.router,
    approvals.router,
    work.router,
    handing_over.router,
    sending.router,
    triggers.router,
    workflows.router,
    looking_after.router,
    view_keeping.router,
    audit.router,
    access.router,
    account.router,
    signing_in.router,
)
_OF_THE_API = ("/v1/", "/docs", "/openapi.json")


class _Static(StaticFiles):
    """Files of this package; browsers ask again, and are mostly told that nothing changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def get_response(self, path: str, scope: AsgiScope) -> Response:
        return await super().get_response(path, scope)


def create_console(
    services: Services,
    accounts: Accounts,
    keys: ApiKeys,
    settings: ApiSettings | None = None,
    login: OidcLogin | None = None,
) -> FastAPI:
    """Return the application; what it stands on is opened and closed by the caller.

    Args:
        login: with an identity provider, beside passwords; None: there is none.
    """
    settings = settings or ApiSettings()
    console = Guarded(
        partial(Guard, settings=settings),
        title="Meshline", openapi_url=None, docs_url=None, redoc_url=None,
    )  # fmt: skip
    console.state.services = services
    console.state.accounts = accounts
    console.state.keys = keys
    console.state.login = login
    console.state.sent = access.SentForms()
    console.state.rates = Rates(settings.rate_per_s, settings.burst_max)
    for router in ROUTERS:
        check_every_page(router, signing_in.PUBLIC)
        console.include_router(router)
    console.mount("/static", _Static(directory=Path(__file__).parent / "static"))
    answer_problems(console)
    return console


def beside(api: Application, console: Application) -> Application:
    """Return both as one application: the API where its paths are, the console elsewhere."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith(_OF_THE_API)
        await (api if is_api else console)(scope, receive, send)

    return both
