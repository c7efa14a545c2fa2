"""What goes wrong, as pages: what happened, what was expected, what to do."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from meshline.api.problems import Conflict, Denied, KeyReused, TooBusy, TooMany
from meshline.console.rendering import rendered
from meshline.console.visit import FormRefused, MovedOn, NotSignedIn, recognised
from meshline.events.errors import AppendRefused, MeshlineError, PayloadRefused, SettingsInvalid
from meshline.projections.errors import (
    NotFound,
    NotReached,
    NotReady,
    NotSwappable,
    RowRefused,
    StoreUnavailable,
)

__all__ = ["answer_problems"]

_logger = logging.getLogger("meshline.console")


class _Kind(NamedTuple):
    status: int
    title: str


_KINDS: dict[type[MeshlineError], _Kind] = {
    Conflict: _Kind(409, "Refused, as things are"),
    MovedOn: _Kind(409, "It has moved on"),
    KeyReused: _Kind(409, "It was sent already"),
    TooMany: _Kind(429, "Too often"),
    Denied: _Kind(403, "Not for you"),
    FormRefused: _Kind(400, "The form was not taken"),
    PayloadRefused: _Kind(422, "The value was not taken"),
    AppendRefused: _Kind(422, "The value was not taken"),
    RowRefused: _Kind(422, "That can't be used"),
    SettingsInvalid: _Kind(422, "That can't be used"),
    NotFound: _Kind(404, "Not found"),
    NotReady: _Kind(409, "Not so"),
    NotSwappable: _Kind(409, "Not as things are"),
    TooBusy: _Kind(503, "Enough to do"),
    NotReached: _Kind(503, "Not shown yet"),
    StoreUnavailable: _Kind(503, "The views do not answer"),
}
_UNAVAILABLE = frozenset({"ML2001", "ML2002", "ML2007"})


def answer_problems(console: FastAPI) -> None:
    """Let every error leave the console as a page."""

    @console.exception_handler(NotSignedIn)
    async def _not_signed_in(request: Request, error: NotSignedIn) -> Response:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        then = here if request.method == "GET" else "/"
        address = f"/login?then={quote(then, safe='')}" if then != "/" else "/login"
        if request.headers.get("hx-request"):
            # A page that refreshes itself leads on to the sign-in, whole.
            return Response(status_code=401, headers={"HX-Redirect": address})
        return RedirectResponse(address, 303)

    @console.exception_handler(MeshlineError)
    async def _of_meshline(request: Request, error: MeshlineError) -> Response:
        kind = _KINDS.get(type(error))
        if error.code in _UNAVAILABLE:
            kind = _Kind(503, "The log does not answer")
        if kind is None:
            _logger.error("%s", error, exc_info=error)
            kind = _Kind(500, "A mistake in Meshline")
        return _page(request, kind, error.message, error.code)

    @console.exception_handler(RequestValidationError)
    async def _of_validation(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()[:5])
        return _page(request, _Kind(422, "The address is wrong"), f"In the address, {said}.")

    @console.exception_handler(HTTPException)
    async def _of_http(request: Request, error: HTTPException) -> Response:
        title = {404: "Not found", 405: "Not here"}.get(error.status_code, "Not done")
        with suppress(MeshlineError):
            # Who is signed in keeps the menu where there is no page, and so no word of who may.
            await recognised(request)
        return _page(request, _Kind(error.status_code, title), "There is no such page here.")

    @console.exception_handler(Exception)
    async def _of_a_mistake(request: Request, error: Exception) -> Response:
        _logger.error("A mistake in Meshline", exc_info=error)
        return _page(
            request,
            _Kind(500, "A mistake in Meshline"),
            "The server met what it was not made for; its log says what. Nothing that was answered "
            "as accepted is lost.",
        )


def _page(request: Request, kind: _Kind, detail: str, code: str = "") -> Response:
    headers = {"Retry-After": "2"} if kind.status == 503 else None
    return rendered(
        request, "problem.html", status=kind.status, headers=headers,
        title=kind.title, detail=detail, code=code, back=_back(request),
    )  # fmt: skip


def _back(request: Request) -> str:
    """Return the page that the form was on; the first page where it was none of a thing's."""
    thing, _, action = request.url.path.rpartition("/")
    thing = thing.removesuffix("/preview")
    return thing if request.method == "POST" and thing and action else "/"
