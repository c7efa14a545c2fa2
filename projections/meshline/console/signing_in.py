"""Signing in and out, and the choice between light and dark."""

from __future__ import annotations

import asyncio
import secrets

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from meshline.console.accounts import LASTS_MAX, Accounts
from meshline.console.rendering import THEMES, rendered
from meshline.console.visit import cookie_name, form_of, form_token, is_secure
from meshline.events.errors import SettingsInvalid

__all__ = ["PUBLIC", "Failures", "router"]

router = APIRouter()
PUBLIC = frozenset({"/login", "/logout", "/theme"})

FAILURES_MAX = 10
"""Wrong passwords for one name, within ``FORGET_S``; more are not even looked at."""

FORGET_S = 900.0
NAMES_MAX = 1_000


class Failures:
    """Counts wrong passwords, so that nobody can try them all. Bounded, whatever is sent."""

    def __init__(self) -> None:
        self._at: dict[str, list[float]] = {}

    def are_too_many(self, name: str) -> bool:
        now_s = asyncio.get_running_loop().time()
        recent = [at for at in self._at.get(name, ()) if at > now_s - FORGET_S]
        return len(recent) >= FAILURES_MAX

    def note(self, name: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if name not in self._at and len(self._at) >= NAMES_MAX:
            del self._at[next(iter(self._at))]
        self._at[name] = [*self._at.get(name, ())[-FAILURES_MAX:], now_s]

    def forget(self, name: str) -> None:
        self._at.pop(name, None)


@router.get("/login")
async def login_page(request: Request) -> Response:
    """Ask for name and password."""
    return _page(request, request.query_params.get("then", "/"))


def _page(request: Request, then: str, *, said: str = "", status: int = 200) -> Response:
    secret = request.cookies.get(cookie_name(request, "visitor")) or secrets.token_urlsafe(32)
    page = rendered(
        request, "login.html", status=status, token=form_token(secret), then=inside(then), said=said
    )
    page.set_cookie(cookie_name(request, "visitor"), secret, secure=is_secure(request),
                    httponly=True, samesite="strict", max_age=3_600)  # fmt: skip
    return page


@router.post("/login")
async def login(request: Request) -> Response:
    """Begin a session."""
    form = await form_of(request, request.cookies.get(cookie_name(request, "visitor"), "-"))
    accounts: Accounts = request.app.state.accounts
    failures: Failures = request.app.state.failures
    name, then = form.get("name", "").strip().lower()[:100], form.get("then", "/")
    if failures.are_too_many(name):
        said = f"Too many wrong passwords for this name: try again in {FORGET_S / 60:g} minutes."
        return _page(request, then, said=said, status=429)
    token = await accounts.sign_in(name, form.get("password", ""))
    if token is None:
        failures.note(name)
        return _page(request, then, said="Name or password is wrong.", status=401)
    failures.forget(name)
    answer = RedirectResponse(inside(then), 303)
    answer.delete_cookie(cookie_name(request, "visitor"), secure=is_secure(request), httponly=True)
    # Lax: a link in a mail opens the page; no form of another site is ever sent with it.
    answer.set_cookie(cookie_name(request, "session"), token, secure=is_secure(request),
                      httponly=True, samesite="lax",
                      max_age=int(LASTS_MAX.total_seconds()))  # fmt: skip
    return answer


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End the session."""
    token = request.cookies.get(cookie_name(request, "session"), "-")
    await form_of(request, token)
    accounts: Accounts = request.app.state.accounts
    await accounts.sign_out(token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie_name(request, "session"), secure=is_secure(request), httponly=True)
    return answer


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Remember light, dark, or what the system says."""
    secret = request.cookies.get(cookie_name(request, "session"))
    form = await form_of(request, secret or "-")
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
