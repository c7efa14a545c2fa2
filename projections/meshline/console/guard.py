"""What is looked at before any page: by what name, from which page, how large; and what browsers
are told with every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse

from meshline.api import ApiSettings
from meshline.api.guard import headers_of, name_of

__all__ = ["BODY_BYTES_MAX", "LOOPBACK", "Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX = 256 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_LASTING = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """The application behind it sees only what may be looked at."""

    def __init__(self, app: Application, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                lasting = [*_LASTING]
                if not any(name == b"cache-control" for name, _ in headers):
                    lasting.append((b"cache-control", b"no-store"))
                message["headers"] = [*headers, *lasting]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            status, text = refused
            await PlainTextResponse(text, status)(scope, receive, send_on)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send_on)
        finally:
            self._in_flight -= 1

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = headers_of(scope)
        host = headers.get(b"host", "")
        name = name_of(host)
        if name not in self._settings.hosts:
            return 400, (
                f"This server is not called {name!r}: expected one of "
                f"{', '.join(sorted(self._settings.hosts))}. Start it with --host-name, if it is.\n"
            )
        if b"%00" in scope.get("raw_path", b"") or b"%00" in scope["query_string"]:
            return 400, "The address has a NUL (%00) in it: expected text without.\n"
        if self._in_flight >= self._settings.in_flight_max:
            return 503, (
                f"The server answers {self._in_flight} requests now, as many as it may. Come again "
                "in a moment.\n"
            )
        return None if scope["method"] in ("GET", "HEAD") else self._refusal_of_form(scope, name)

    def _refusal_of_form(self, scope: Scope, name: str) -> tuple[int, str] | None:
        headers = headers_of(scope)
        origin = headers.get(b"origin")
        if origin is not None and _server_of(origin) != headers.get(b"host", "").lower():
            return 403, f"A page of {origin[:200]!r} may not send forms here.\n"
        length = headers.get(b"content-length", "")
        if not (length.isascii() and length.isdecimal()):
            return 411, "The form does not say how long it is: expected Content-Length.\n"
        if int(length) > BODY_BYTES_MAX:
            return 413, (
                f"The form has {int(length):,} bytes: expected at most {BODY_BYTES_MAX:,}. Send "
                "large values with the command line.\n"
            )
        if scheme_is_open(scope, name):
            return 403, (
                "Forms are taken over HTTPS only, but on this machine itself: expected a proxy "
                "that ends TLS before this server and sends X-Forwarded-Proto.\n"
            )
        return None


def scheme_is_open(scope: Scope, name: str) -> bool:
    """Return whether somebody on the way could read along."""
    return scope.get("scheme") != "https" and name not in LOOPBACK


def _server_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
