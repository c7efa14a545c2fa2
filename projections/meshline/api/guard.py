"""What is looked at before anything else: by what name, from which page, how large, how many."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from meshline.api.problems import problem

__all__ = ["ApiSettings", "Guard", "headers_of", "name_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LASTING = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]


_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::[0-9]{1,5})?", re.IGNORECASE)
_STREAM = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Args:
    hosts: names under which this server may be spoken to, without port; a page of another name
        that was made to point here is turned away.
    origins: pages of other servers that may speak to this one, such as ``https://ops.example``;
        its own always may.
    body_bytes_max: of a request; a larger one is refused before it is read.
    in_flight_max: requests that are answered at one time; more are told to come again.
    rate_per_s: requests of one key, in the long run.
    burst_max: requests of one key that may come at once.
    unknown_per_s: requests without a good key, of all senders together.
    """

    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    origins: frozenset[str] = frozenset()
    body_bytes_max: int = 1024 * 1024
    in_flight_max: int = 256
    rate_per_s: float = 500.0
    burst_max: int = 1_000
    unknown_per_s: float = 50.0


class Refusal(Exception):
    """A request that is not even looked at."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Guard:
    """The application behind it sees only what may be looked at, and not too much at once."""

    def __init__(self, application: Application, settings: ApiSettings) -> None:
        self._application = application
        self._settings = settings
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        held = 0

        async def send_on(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_LASTING]
                if held and (b"content-type", _STREAM) in message["headers"]:
                    # Streams have a limit of their own, and wait more than they work.
                    self._in_flight -= held
                    held = 0
            await send(message)

        try:
            self._check(scope)
        except Refusal as refusal:
            answer = problem(refusal.status, refusal.code, refusal.detail)
            await answer(scope, receive, send_on)
            return
        held = 1
        self._in_flight += held
        try:
            await self._application(scope, receive, send_on)
        finally:
            self._in_flight -= held

    def _check(self, scope: Scope) -> None:
        headers = headers_of(scope)
        self._check_names(headers)
        if b"%00" in scope.get("raw_path", b"") or b"%00" in scope["query_string"]:
            raise Refusal(
                400, "bad_address", "The address has a NUL (%00) in it: expected text without."
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            self._check_body(headers)
        if self._in_flight >= self._settings.in_flight_max:
            raise Refusal(
                503, "too_busy", f"The server answers {self._in_flight} requests now, as many as "
                "it may: nothing was taken. Come again in a moment.",
            )  # fmt: skip

    def _check_names(self, headers: dict[bytes, str]) -> None:
        settings = self._settings
        host = headers.get(b"host", "")
        name = name_of(host)
        if name not in settings.hosts:
            raise Refusal(
                400, "unknown_host", f"This server is not called {name!r}: expected one of "
                f"{', '.join(sorted(settings.hosts))}. Start it with --host-name, if it is.",
            )  # fmt: skip
        origin = headers.get(b"origin")
        if origin is None or origin in settings.origins or _server_of(origin) == host.lower():
            return
        raise Refusal(
            403, "unknown_origin", f"A page of {origin!r} may not speak to this server: expected "
            "one of its own. Start it with --origin, if it may.",
        )  # fmt: skip

    def _check_body(self, headers: dict[bytes, str]) -> None:
        length = headers.get(b"content-length")
        if length is None or not (length.isascii() and length.isdecimal()):
            raise Refusal(
                411, "length_required", "The request does not say how long its body is: expected "
                "Content-Length.",
            )  # fmt: skip
        if int(length) > self._settings.body_bytes_max:
            raise Refusal(
                413, "too_large", f"The body has {int(length):,} bytes: expected at most "
                f"{self._settings.body_bytes_max:,}. Keep large content elsewhere and send its "
                "address.",
            )  # fmt: skip
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and "+json" in kind):
            raise Refusal(
                415, "not_json", f"The body is of the type {kind or 'that nobody said'!r}: "
                "expected JSON. Send it with `Content-Type: application/json`.",
            )  # fmt: skip


def headers_of(scope: Scope) -> dict[bytes, str]:
    """Return each header once: the first, which is the one that the pages behind see too."""
    return {name: value.decode("latin-1") for name, value in reversed([*scope["headers"]])}


def name_of(host: str) -> str:
    """Return the name that a Host header has, without port; empty for what is no such header."""
    found = _HOST.fullmatch(host)
    return "" if found is None else found[1].strip("[]").lower()


def _server_of(origin: str) -> str:
    """Return the name and port of an origin, as its own pages send them as Host."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
