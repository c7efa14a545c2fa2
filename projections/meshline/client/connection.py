"""The line to a server: tried again while that can help, and errors as they are known here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx
import orjson

from meshline.events.errors import LogUnavailable, MeshlineError, PayloadRefused
from meshline.projections.errors import NotFound, NotReached, NotReady, StoreUnavailable

__all__ = ["Answered", "Connection", "ServerRefused", "ServerUnreachable"]

_AGAIN = (429, 502, 503, 504)
_BACKOFF_S_MAX = 10.0
_ERRORS: Mapping[str, type[MeshlineError]] = {
    error.code: error
    for error in (NotFound, NotReached, NotReady, StoreUnavailable, LogUnavailable)
}


class ServerUnreachable(MeshlineError):
    """The server did not answer, or not as Meshline does."""

    code = "ML6010"


class ServerRefused(MeshlineError):
    """The server refused what was asked; ``code`` is its problem's, ``errors`` its fields'."""

    code = "ML6011"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")))
        self.code = str(problem.get("code", self.code))
        self.status = int(problem.get("status", 0))
        self.errors: list[dict[str, Any]] = list(problem.get("errors", ()))


class Answered(NamedTuple):
    """An answer that is one: what was asked for, or a problem that is told to the caller."""

    status: int
    body: Any


class Connection:
    """Args:
    server: its address: ``https://meshline.example.org``.
    key: of the API, or a token of the identity provider.
    timeout_s: for one try.
    tries_max: of one call; what can't be told apart from a lost answer is asked again with the
        same Idempotency-Key.
    transport: for tests: the application itself.
    """

    def __init__(
        self,
        server: str,
        key: str,
        *,
        timeout_s: float = 60.0,
        tries_max: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        self._tries_max = tries_max
        self._http = httpx.AsyncClient(
            base_url=self.server,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            limits=httpx.Limits(max_connections=64),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """Return the body of the answer; a query value of None is left away.

        Raises:
            NotFound, NotReached, StoreUnavailable, LogUnavailable: as where the views are.
            ServerUnreachable: there is no answer, after several tries.
            ServerRefused: any other problem.
        """
        answer = await self._asked("GET", path, query, None, {})
        if answer.status >= 400:
            raise error_of(answer.body)
        return answer.body

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
        **query: Any,
    ) -> Answered:
        """Send JSON; what is refused is for the caller to read.

        Args:
            once: it is not sent again where the answer was lost: it would be done twice.
        Raises:
            ServerUnreachable: there is no answer, after several tries. It may have been done.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        return await self._asked("POST", path, query, body, sent, 1 if once else self._tries_max)

    async def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: bytes | None,
        headers: Mapping[str, str],
        tries_max: int | None = None,
    ) -> Answered:
        tries_max = tries_max or self._tries_max
        params = {name: value for name, value in query.items() if value is not None}
        failure = ""
        for number in range(1, tries_max + 1):
            after_s: float | None = None
            try:
                answer = await self._http.request(
                    method, path, params=params, content=body, headers=headers
                )
                read = _read(answer)
                if answer.status_code not in _AGAIN or number == tries_max:
                    if read is None:
                        raise ServerUnreachable(
                            f"{self.server} answered {answer.status_code} with what is no JSON: "
                            "expected Meshline's API. Correct the address."
                        )
                    return Answered(answer.status_code, read)
                after_s = float(answer.headers.get("retry-after", "") or 0)
                failure = f"{answer.status_code}"
            except (httpx.HTTPError, ValueError) as error:
                failure = f"{type(error).__name__}: {error}"
            if number < tries_max:
                backoff_s = min(_BACKOFF_S_MAX, 0.1 * 2**number) * random.random()
                await asyncio.sleep(max(backoff_s, after_s or 0.0))
        raise ServerUnreachable(
            f"{self.server} did not answer in {tries_max} tries: {failure}. Expected "
            "`meshline serve` there: start it, or correct --server or MESHLINE_SERVER."
        )


def _read(answer: httpx.Response) -> Any:
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None


def error_of(problem: Any) -> MeshlineError:
    """Return the error that a problem stands for, as it is known where the views are."""
    code, detail = problem.get("code", ""), problem.get("detail", "")
    known = _ERRORS.get(code)
    if known is not None:
        return known(detail)
    if problem.get("title") == "Refused" and code.islower() and not problem.get("errors"):
        return PayloadRefused(code, detail)
    return ServerRefused(problem)
