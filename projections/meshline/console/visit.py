"""Who looks at a page, what they may, and how they ask: what every page is handed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import RedirectResponse

from meshline.api.answers import PAYLOAD_FIELDS
from meshline.api.desk import Answered, Asking, Desk, Services
from meshline.api.principals import Permission, Principal
from meshline.api.problems import Denied
from meshline.api.refusals import Attempt
from meshline.api.repeats import id_of_repeat
from meshline.console.guard import LOOPBACK
from meshline.events.errors import MeshlineError
from meshline.events.requests import Request as AskedRequest
from meshline.projections.queries import Views

__all__ = [
    "WAIT_S",
    "Act",
    "FormRefused",
    "MovedOn",
    "NotSignedIn",
    "Visit",
    "acts",
    "check_every_page",
    "cookie_name",
    "form_of",
    "form_token",
    "is_secure",
    "recognised",
    "sees",
    "tag_of",
]

FIELDS_MAX = 200
WAIT_S = 10.0


class NotSignedIn(MeshlineError):
    """A page was asked for by somebody whom nobody knows here, or no longer."""

    code = "ML6101"


class FormRefused(MeshlineError):
    """A form came without the token of the page that it was on, or with what can't be read."""

    code = "ML6102"


class MovedOn(MeshlineError):
    """What a page showed is no longer so; nothing was done."""

    code = "ML6103"


@dataclass(frozen=True, slots=True)
class Visit:
    """One principal looking at one page, from their desk.

    Args:
        token: stands in every form of the page, and is only good in this session.
        once: stands in every form of the page: sent twice, it asks once.
    """

    desk: Desk
    token: str
    once: str

    @property
    def services(self) -> Services:
        return self.desk.services

    @property
    def principal(self) -> Principal:
        return self.desk.principal

    @property
    def views(self) -> Views:
        return self.desk.views

    def may(self, permission: str) -> bool:
        return self.principal.may(Permission(permission))


class Act:
    """A form that was sent by somebody who may."""

    def __init__(self, visit: Visit, form: Mapping[str, str]) -> None:
        self.visit = visit
        self.form = form

    def text(self, field: str) -> str:
        return self.form.get(field, "").strip()

    @property
    def reason(self) -> str:
        return self.text("reason")[:2_000]

    def json(self, field: str) -> Any:
        """Return the value that was typed as JSON; None where nothing was.

        Raises:
            FormRefused: it is no JSON.
        """
        text = self.text(field)
        if not text:
            return None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise FormRefused(
                f'The {field} is no JSON ({error}): expected a value such as 12, "text" or '
                '{"crm_id": "L-1"}. Go back and correct it; nothing was done.'
            ) from None

    async def ask(self, row: Any, asked: AskedRequest, *, as_shown: bool = True) -> Answered:
        """Append the request about the row's run in the principal's name; see ``Desk.ask``.

        Args:
            as_shown: only if the row still is as the page showed it.
        Raises:
            MovedOn: the page showed something else than the row as it is now.
        """
        desk, once = self.visit.desk, self.text("once")[:100] or None
        is_so = not as_shown or self.form.get("tag") == tag_of(row)
        if not is_so and not await self._has_asked(row.run_id, once):
            owner = f", with {row.owner}" if getattr(row, "owner", None) else ""
            raise MovedOn(
                f"Somebody was quicker, or time went on: it is {row.state} now{owner}. Nothing was "
                "done. Look at it as it is now, and decide again."
            )
        return await desk.ask(row.run_id, asked, Asking(WAIT_S, idempotency_key=once))

    async def _has_asked(self, run_id: str, once: str | None) -> bool:
        """Return whether this very form was taken before: what has changed is its own doing."""
        if once is None:
            return False
        event_id = id_of_repeat(self.visit.principal.actor, once)
        return await self.visit.views.asked(run_id, event_id) is not None

    @staticmethod
    def shown(path: str, done: str, answered: Answered) -> RedirectResponse:
        """Lead to the page that shows what this led to, as soon as the views do."""
        query = urlencode({"done": done, "at": answered.position, "how": answered.status})
        return RedirectResponse(f"{path}{'&' if '?' in path else '?'}{query}", 303)


_COUNTERS = ("log_offset", "changed_at", "events")


def tag_of(row: Any) -> str:
    """Return the tag of a row: another as soon as what people decide by changes.

    The API's tags change with every event; a run under way would be another at every click.
    """
    hidden = (*PAYLOAD_FIELDS.get(type(row), ()), *_COUNTERS)
    fields = {name: value for name, value in row._asdict().items() if name not in hidden}
    return hashlib.blake2b(orjson.dumps(fields), digest_size=12).hexdigest()


# -- sessions ----------------------------------------------------------------------------------


def is_secure(request: Request) -> bool:
    """Return whether cookies can be told to travel over TLS only."""
    return request.url.scheme == "https" or request.url.hostname not in LOOPBACK


def cookie_name(request: Request, name: str) -> str:
    """Return the cookie's name; ``__Host-`` makes browsers hold it to this server alone."""
    return f"__Host-{name}" if is_secure(request) else name


def form_token(secret: str) -> str:
    """Return what the forms of a session carry; it tells nothing of the session's secret."""
    return hmac.new(secret.encode(), b"meshline form", hashlib.sha256).hexdigest()


async def form_of(request: Request, secret: str | None) -> dict[str, str]:
    """Return the form that was sent.

    Args:
        secret: of the session that its page was opened in; None: the browser brought none along.
    Raises:
        FormRefused: it was on no page of this session.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise FormRefused(f"The form came as {kind[:100] or 'nothing'}: expected one of our pages.")
    try:
        body = (await request.body()).decode()
        form = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError:
        raise FormRefused("The form can't be read: expected one of our pages.") from None
    if not secret or not secrets.compare_digest(
        form.get("token", "").encode(), form_token(secret).encode()
    ):
        raise FormRefused(
            "The form is of an older session, or of another page: expected one that was opened "
            "since you signed in. Load the page again; nothing was done."
        )
    return form


async def recognised(request: Request, attempt: Attempt | None = None) -> Visit | None:
    """Return the visit of who is signed in, whatever they may; pages are drawn around it."""
    secret = request.cookies.get(cookie_name(request, "session"))
    state = request.app.state
    # A page that is left open refreshes itself, and is no sign of anybody.
    is_page = (
        "hx-request" in request.headers or request.headers.get("accept", "") == "text/event-stream"
    )
    principal = await state.accounts.principal(secret, by_themselves=not is_page)
    if principal is None or secret is None:
        return None
    desk = Desk(state.services, principal, attempt, refreshes=is_page)
    visit = Visit(desk, form_token(secret), secrets.token_urlsafe(12))
    request.state.visit = visit
    return visit


class _Sees:
    """The dependency of a page; see ``sees``."""

    def __init__(self, permission: Permission | None) -> None:
        self.permission = permission

    def attempt(self, request: Request) -> Attempt | None:
        """Return what the call would append."""
        return None

    async def __call__(self, request: Request) -> Visit:
        visit = await recognised(request, self.attempt(request))
        if visit is None:
            raise NotSignedIn("Nobody is signed in here, or no longer: sign in.")
        principal, desk = visit.principal, visit.desk
        if self.permission is not None and not principal.may(self.permission):
            error = Denied(
                f"{principal.actor.id} may not do this: it needs the permission "
                f"{self.permission}. Ask for a role that has it."
            )
            desk.refused(error)
            raise error
        request.app.state.rates.take(principal.actor.id)
        return visit


class _Acts(_Sees):
    """The dependency of what a form does; see ``acts``."""

    def __init__(
        self, permission: Permission | None, asks: Mapping[str, type[AskedRequest]]
    ) -> None:
        super().__init__(permission)
        self._asks = asks

    def attempt(self, request: Request) -> Attempt | None:
        asks = self._asks.get(request.path_params.get("action", ""), self._asks.get(""))
        return None if asks is None else Attempt.of(asks, request)

    async def __call__(self, request: Request) -> Act:  # type: ignore[override]
        visit = await super().__call__(request)
        secret = request.cookies[cookie_name(request, "session")]
        return Act(visit, await form_of(request, secret))


def sees(permission: Permission | None = Permission.READ) -> _Sees:
    """Return a dependency that gives the visit of who is signed in, if they may see this.

    Args:
        permission: None: everybody may, for it is about themselves.
    """
    return _Sees(permission)


def acts(permission: Permission | None, asks: Mapping[str, type[AskedRequest]]) -> _Acts:
    """Return a dependency that gives the form of who is signed in, if they may do this.

    Args:
        permission: as of ``sees``.
        asks: by the action in the path (else under ``""``) what it appends: a refusal is kept.
    """
    return _Acts(permission, asks)


def check_every_page(router: APIRouter, public: frozenset[str]) -> None:
    """Raise ``AssertionError`` where a page states no permission and is not meant for all."""
    for route in router.routes:
        assert isinstance(route, APIRoute)
        stated = _stated(route.dependant)
        assert stated is not None or route.path in public, f"{route.path} states no permission"
        changes = not (route.methods or set()) <= {"GET", "HEAD"}
        assert route.path in public or changes == isinstance(stated, _Acts), (
            f"{route.path} changes something, and takes no form"
        )


def _stated(dependant: Dependant) -> _Sees | None:
    if isinstance(dependant.call, _Sees):
        return dependant.call
    found = (_stated(inner) for inner in dependant.dependencies)
    return next((stated for stated in found if stated is not None), None)
