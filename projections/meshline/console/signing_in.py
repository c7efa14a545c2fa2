"""Signing in and out, and the choice between light and dark."""

from __future__ import annotations

import secrets
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.accounts import LASTS_MAX, Accounts
from meshline.api.oidc import SignInRefused
from meshline.api.problems import TooMany
from meshline.console.oidc_login import OidcLogin
from meshline.console.rendering import THEMES, rendered
from meshline.console.visit import cookie_name, form_of, form_token, is_secure
from meshline.events.errors import SettingsInvalid
from meshline.projections.errors import NotFound

__all__ = ["PUBLIC", "router"]

router = APIRouter()
PUBLIC = frozenset({"/login", "/login/oidc", "/login/oidc/callback", "/logout", "/theme"})
AWAY_S = 600
"""How long somebody may take at the identity provider."""


@router.get("/login")
async def login_page(request: Request) -> Response:
    """Ask for name and password."""
    return _page(request, request.query_params.get("then", "/"))


def _page(request: Request, then: str, *, said: str = "", status: int = 200) -> Response:
    secret = request.cookies.get(cookie_name(request, "visitor")) or secrets.token_urlsafe(32)
    provider: OidcLogin | None = request.app.state.login
    page = rendered(
        request, "login.html", status=status, token=form_token(secret), then=inside(then),
        said=said, provider=provider.name if provider else None,
    )  # fmt: skip
    page.set_cookie(cookie_name(request, "visitor"), secret, secure=is_secure(request),
                    httponly=True, samesite="strict", max_age=3_600)  # fmt: skip
    return page


@router.post("/login")
async def login(request: Request) -> Response:
    """Begin a session."""
    form = await form_of(request, request.cookies.get(cookie_name(request, "visitor")))
    accounts: Accounts = request.app.state.accounts
    name, then = form.get("name", "").strip().lower()[:100], form.get("then", "/")
    try:
        token = await accounts.sign_in(name, form.get("password", ""))
    except TooMany as error:
        return _page(request, then, said=error.message, status=429)
    if token is None:
        return _page(request, then, said="Name or password is wrong.", status=401)
    return await _begun(request, token, then)


async def _begun(request: Request, token: str, then: str) -> Response:
    """Return the answer that a session begins with; the one that the browser had is over."""
    accounts: Accounts = request.app.state.accounts
    before = request.cookies.get(cookie_name(request, "session"))
    if before:
        await accounts.sign_out(before)
    answer = RedirectResponse(inside(then), 303)
    for name in ("visitor", "away"):
        answer.delete_cookie(cookie_name(request, name), secure=is_secure(request), httponly=True)
    # Lax: a link in a mail opens the page; no form of another site is ever sent with it.
    answer.set_cookie(cookie_name(request, "session"), token, secure=is_secure(request),
                      httponly=True, samesite="lax",
                      max_age=int(LASTS_MAX.total_seconds()))  # fmt: skip
    return answer


@router.get("/login/oidc")
async def go_to_provider(request: Request) -> Response:
    """Lead to the identity provider."""
    provider = _provider(request)
    secret = secrets.token_urlsafe(32)
    then = inside(request.query_params.get("then", "/"))
    try:
        answer = RedirectResponse(await provider.address(secret, _back(request)), 303)
    except SignInRefused as error:
        return _page(request, then, said=error.message, status=503)
    # Lax: the browser brings it along when the provider leads back here.
    answer.set_cookie(cookie_name(request, "away"), f"{secret}.{quote(then, safe='')}",
                      secure=is_secure(request), httponly=True, samesite="lax",
                      max_age=AWAY_S)  # fmt: skip
    return answer


@router.get("/login/oidc/callback")
async def come_back(request: Request) -> Response:
    """Begin a session for whom the identity provider knows."""
    provider = _provider(request)
    accounts: Accounts = request.app.state.accounts
    secret, _, then = request.cookies.get(cookie_name(request, "away"), "").partition(".")
    try:
        granted = await provider.granted(secret, _back(request), dict(request.query_params))
    except SignInRefused as error:
        return _page(request, unquote(then), said=error.message, status=403)
    return await _begun(request, await accounts.begin(granted), unquote(then))


def _provider(request: Request) -> OidcLogin:
    provider: OidcLogin | None = request.app.state.login
    if provider is None:
        raise NotFound("Nobody signs in here with an identity provider. Sign in with a password.")
    return provider


def _back(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/login/oidc/callback"


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End the session."""
    token = request.cookies.get(cookie_name(request, "session"))
    await form_of(request, token)
    accounts: Accounts = request.app.state.accounts
    await accounts.sign_out(token or "")
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie_name(request, "session"), secure=is_secure(request), httponly=True)
    return answer


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Remember light, dark, or what the system says."""
    form = await form_of(request, request.cookies.get(cookie_name(request, "session")))
    theme = form.get("theme", "")
    if theme not in THEMES:
        raise SettingsInvalid(f"{theme[:60]!r} is no theme: expected one of {', '.join(THEMES)}.")
    answer = RedirectResponse(inside(form.get("then", "/")), 303)
    answer.set_cookie("theme", theme, secure=is_secure(request), httponly=True, samesite="lax",
                      max_age=365 * 86_400)  # fmt: skip
    return answer


def inside(path: str) -> str:
    """Return the path if it leads to a page of this server, else that of the first page."""
    is_inside = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_inside and path.isprintable() and "\\" not in path else "/"
