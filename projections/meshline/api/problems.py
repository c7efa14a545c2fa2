"""What goes wrong, as RFC 9457 problems: a stable code, what happened, and what to do."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from meshline.events.errors import MeshlineError
from meshline.events.pointers import pointer_to

__all__ = [
    "Conflict",
    "Denied",
    "FieldError",
    "KeyReused",
    "Problem",
    "Stale",
    "TooBusy",
    "TooMany",
    "TriggerRefused",
    "Unauthenticated",
    "answer_problems",
    "documented",
    "problem",
]

_logger = logging.getLogger("meshline.api")
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class FieldError(BaseModel):
    """What is wrong with one field.

    ``pointer`` is a JSON pointer into the body; ``parameter`` is what stands in the path, the query
    or a header.
    """

    pointer: str | None = None
    parameter: str | None = None
    message: str

    @property
    def where(self) -> str:
        return self.parameter or self.pointer or "the body"


class Problem(BaseModel):
    """An answer other than success. ``code`` never changes its meaning; ``detail`` is for people.

    ``run_id`` and ``position`` say where what was sent stands in the log: also what is refused is
    kept there.
    """

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] = []
    run_id: str | None = None
    position: str | None = None


class Unauthenticated(MeshlineError):
    """The request does not say who sends it, or with a key that nobody knows."""

    code = "ML6001"


class Denied(MeshlineError):
    """Who sends the request may not do this."""

    code = "ML6002"


class Conflict(MeshlineError):
    """What was asked for was refused, as things are: the refusal is in the run's history.

    Args:
        reason: the refusal's own code, such as ``already_ended``.
        run_id: None: it was about no run.
    """

    code = "ML6003"

    def __init__(self, message: str, *, reason: str, run_id: str | None, position: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.run_id = run_id
        self.position = position


class TriggerRefused(MeshlineError):
    """A trigger starts nothing; it is kept, with the reason."""

    code = "ML6004"

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        run_id: str,
        position: str,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.run_id = run_id
        self.position = position
        self.errors = list(errors)


class Stale(MeshlineError):
    """What is to be changed is no longer what the asker saw."""

    code = "ML6006"


class KeyReused(MeshlineError):
    """An Idempotency-Key came with something else than before."""

    code = "ML6007"


class TooBusy(MeshlineError):
    """This server has as much to do as it may take on: nothing was taken, and nothing is lost."""

    code = "ML6008"


class TooMany(MeshlineError):
    """One key asks more often than it may.

    Args:
        after_s: so long it is to wait.
    """

    code = "ML6009"

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


_STATUS = {
    "ML1001": 422,
    "ML2001": 503,
    "ML2002": 503,
    "ML2006": 422,
    "ML2007": 503,
    "ML3001": 422,
    "ML5004": 422,
    "ML5005": 503,
    "ML5006": 503,
    "ML5007": 404,
    "ML5009": 409,
    "ML5011": 409,
    "ML6001": 401,
    "ML6002": 403,
    "ML6003": 409,
    "ML6004": 422,
    "ML6006": 412,
    "ML6007": 422,
    "ML6008": 503,
    "ML6009": 429,
}
_TITLES = {
    400: "The request is wrong",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Not here",
    409: "Refused, as things are",
    411: "How long is it?",
    412: "No longer so",
    413: "Too large",
    415: "Not JSON",
    422: "Refused",
    429: "Too often",
    500: "A mistake in Meshline",
    503: "Try again",
}
_EVERYWHERE = (400, 401, 403, 429, 503)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of its problems in the OpenAPI document."""
    return {
        status: {"description": "Still as you know it"}
        if status == 304
        else {
            "description": _TITLES[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            "model": Problem,
        }
        for status in sorted({*statuses, *_EVERYWHERE})
    }


def problem(
    status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return the answer for a problem."""
    body = Problem(
        title=_TITLES.get(status, "Not done"), status=status, code=code, detail=detail, **more
    )
    headers = dict(headers or {})
    if status in (429, 503):
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type=MEDIA_TYPE
    )


def answer_problems(api: FastAPI) -> None:
    """Let every error leave the API as a problem."""

    @api.exception_handler(MeshlineError)
    async def _of_meshline(_: Request, error: MeshlineError) -> JSONResponse:
        status = _STATUS.get(error.code, 500)
        if status == 500:
            _logger.error("%s", error, exc_info=error)
        more = {
            name: value
            for name in ("run_id", "position", "errors")
            if (value := getattr(error, name, None))
        }
        headers = {}
        if isinstance(error, TooMany):
            headers["Retry-After"] = str(math.ceil(error.after_s))
        code = getattr(error, "reason", error.code)
        return problem(status, code, error.message, headers=headers, **more)

    @api.exception_handler(RequestValidationError)
    async def _of_validation(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [_field_error(each["loc"], each["msg"]) for each in error.errors()]
        detail = "; ".join(f"{each.where}: {each.message}" for each in errors[:5])
        return problem(422, "invalid_request", f"The request is not as expected: {detail}.",
                       errors=errors)  # fmt: skip

    @api.exception_handler(HTTPException)
    async def _of_http(_: Request, error: HTTPException) -> JSONResponse:
        code = {404: "no_such_path", 405: "no_such_method"}.get(error.status_code, "http_error")
        return problem(
            error.status_code, code,
            f"{error.detail}: expected a path and a method that /openapi.json lists.",
            headers=dict(error.headers or {}),
        )  # fmt: skip

    @api.exception_handler(Exception)
    async def _of_a_mistake(_: Request, error: Exception) -> JSONResponse:
        _logger.error("A mistake in Meshline", exc_info=error)
        return problem(
            500, "mistake", "The server met what it was not made for; its log says what. Nothing "
            "that was answered as accepted is lost.",
        )  # fmt: skip


def _field_error(where: Sequence[int | str], message: str) -> FieldError:
    place, *path = where or ("body",)
    if place == "body":
        # JSON that can't be read is told with the place at which reading it ended: no path.
        return FieldError(pointer=pointer_to(path), message=message)
    return FieldError(parameter=".".join(map(str, path)) or str(place), message=message)
