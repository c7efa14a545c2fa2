"""Who may do what: keys of the API, people and their sessions, and what each role gives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.admitting import admissions_of
from meshline.api.principals import ROLES, Permission
from meshline.console.rendering import rendered
from meshline.console.visit import Act, FormRefused, Visit, acts, sees
from meshline.events.clock import SystemClock
from meshline.events.people_requests import AccessChangeRequested
from meshline.projections.admitted import Granting, Key
from meshline.projections.errors import NotFound

__all__ = ["MAY", "SentForms", "router"]

router = APIRouter()
_clock = SystemClock()
KEYS_MAX = 500
SESSIONS_MAX = 500
SENT_MAX = 1_000
EXPIRES = {"30": "30 days", "90": "90 days", "365": "a year", "": "never"}
OVERLAPS = {"0": "not at all", "3600": "for an hour", "86400": "for a day", "604800": "for a week"}
_OF_PROGRAMS = ("source", "worker")
MAY = {
    Permission.PUBLISH: "publish triggers",
    Permission.REPORT: "report outcomes of steps",
    Permission.READ: "see everything but payloads",
    Permission.READ_PAYLOADS: "read payloads",
    Permission.READ_SECRETS: "read what is secret in payloads",
    Permission.OPERATE: "act on runs and exceptions",
    Permission.APPROVE: "decide approvals",
    Permission.AUDIT: "see the audit and this page",
    Permission.ACCESS: "let in and shut out: keys, users, sessions",
    Permission.KEEP_VIEWS: "rebuild views and put them live",
}
Auditor = Annotated[Visit, Depends(sees(Permission.AUDIT))]
Admin = Annotated[Visit, Depends(sees(Permission.ACCESS))]
Changer = Annotated[Act, Depends(acts(Permission.ACCESS, {"": AccessChangeRequested}))]


class SentForms:
    """Forms that made a secret: sent again, one would make a second that nobody sees."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, None] = OrderedDict()

    def take(self, act: Act) -> None:
        """Raise ``FormRefused`` where this very form was taken before."""
        once = f"{act.visit.principal.actor.id} {act.text('once')[:100]}"
        if once in self._sent:
            raise FormRefused(
                "The form was sent already, and what it made was shown then: it is not shown "
                "again. Open the page anew for another."
            )
        self._sent[once] = None
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)


@router.get("/access")
async def show_access(request: Request, visit: Auditor) -> Response:
    """Show keys, people and roles."""
    admissions = admissions_of(visit.desk)
    now = _clock.now()
    listed = sorted(((_state_of(key, now), key) for key in await admissions.keys()), key=_order)
    sessions = await admissions.sessions()
    return rendered(
        request,
        "access.html",
        keys=listed[:KEYS_MAX],
        left_out=max(0, len(listed) - KEYS_MAX),
        users=await admissions.users(),
        sessions=sessions[:SESSIONS_MAX],
        roles={
            role: [MAY.get(each, each.value) for each in Permission if each in permissions]
            for role, permissions in ROLES.items()
        },
        roles_of_people=[role for role in ROLES if role not in _OF_PROGRAMS],
        expires=EXPIRES,
        may_change=visit.may(Permission.ACCESS),
    )


@router.get("/access/keys/{key}")
async def show_key(request: Request, visit: Admin, key: str) -> Response:
    """Show a key, to rotate or revoke it."""
    found = [each for each in await admissions_of(visit.desk).keys() if each.id == key]
    if not found:
        raise NotFound(f"There is no key {key[:60]!r}: the page on access lists them.")
    state = _state_of(found[0], _clock.now())
    return rendered(request, "access_key.html", key=found[0], state=state, overlaps=OVERLAPS)


@router.get("/access/users/{user}")
async def show_user(request: Request, visit: Admin, user: str) -> Response:
    """Show a user, to change what they may, or shut them out."""
    admissions = admissions_of(visit.desk)
    found = [each for each in await admissions.users() if each.name == user]
    if not found:
        raise NotFound(f"There is no user {user[:60]!r}: the page on access lists them.")
    sessions = [each for each in await admissions.sessions() if each.actor == f"user:{user}"]
    return rendered(
        request, "access_user.html", user=found[0], sessions=sessions,
        roles=[role for role in ROLES if role not in _OF_PROGRAMS or role in found[0].roles],
        is_oneself=visit.principal.actor.id == f"user:{user}",
    )  # fmt: skip


@router.post("/access/keys")
async def create_key(request: Request, act: Changer) -> Response:
    """Make a key, and show its secret, this once."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    days = act.text("expires")
    if days not in EXPIRES:
        raise FormRefused(f"{days[:60]!r} is no such time: expected one of the list.")
    request.app.state.sent.take(act)
    made, secret = await admissions.create_key(
        act.text("actor"), _granting(act)._replace(sources=_names(act, "sources")),
        by=act.visit.principal.actor, reason=reason,
        expires_at=_clock.now() + timedelta(days=int(days)) if days else None,
    )  # fmt: skip
    return _told(request, "Key", made.actor, secret)


@router.post("/access/keys/{key}/rotate")
async def rotate_key(request: Request, key: str, act: Changer) -> Response:
    """Make a key in place of an old one, and show its secret, this once."""
    admissions, reason, overlap = admissions_of(act.visit.desk), _because(act), act.text("overlap")
    if overlap not in OVERLAPS:
        raise FormRefused(f"{overlap[:60]!r} is no such time: expected one of the list.")
    request.app.state.sent.take(act)
    made, secret = await admissions.rotate_key(
        key, by=act.visit.principal.actor, overlap_s=float(overlap), reason=reason
    )
    return _told(request, "Key", made.actor, secret)


@router.post("/access/keys/{key}/revoke")
async def revoke_key(key: str, act: Changer) -> Response:
    """Let a key count no more."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    await admissions.revoke_key(key, by=act.visit.principal.actor, reason=reason)
    return RedirectResponse("/access?done=revoke", 303)


@router.post("/access/users")
async def create_user(request: Request, act: Changer) -> Response:
    """Make a user, and show the password, this once."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    request.app.state.sent.take(act)
    user, password = await admissions.create_user(
        act.text("name"), _granting(act), by=act.visit.principal.actor, reason=reason
    )
    return _told(request, "Password", f"user:{user.name}", password)


@router.post("/access/users/{user}/change")
async def change_user(user: str, act: Changer) -> Response:
    """Give a user other roles and another scope."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    await admissions.change_user(user, _granting(act), by=act.visit.principal.actor, reason=reason)
    return RedirectResponse("/access?done=user-change", 303)


@router.post("/access/users/{user}/password")
async def change_password(request: Request, user: str, act: Changer) -> Response:
    """Give a user a new password, and show it, this once."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    request.app.state.sent.take(act)
    made = await admissions.change_password(user, by=act.visit.principal.actor, reason=reason)
    return _told(request, "Password", f"user:{user}", made)


@router.post("/access/users/{user}/remove")
async def remove_user(user: str, act: Changer) -> Response:
    """Let a user sign in no more."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    await admissions.remove_user(user, by=act.visit.principal.actor, reason=reason)
    return RedirectResponse("/access?done=user-remove", 303)


@router.post("/access/sessions/end")
async def end_sessions(act: Changer) -> Response:
    """Sign somebody out wherever they are signed in."""
    admissions, reason = admissions_of(act.visit.desk), _because(act)
    await admissions.end_sessions(act.text("actor"), by=act.visit.principal.actor, reason=reason)
    return RedirectResponse("/access?done=sessions-end", 303)


def _told(request: Request, what: str, about: str, secret: str) -> Response:
    return rendered(request, "secret.html", what=what, about=about, secret=secret)


def _because(act: Act) -> str:
    if not act.reason:
        raise FormRefused("There is no reason: expected why it is done, for the audit.")
    return act.reason


def _granting(act: Act) -> Granting:
    roles = [role for role in ROLES if act.text(f"role_{role}")]
    return Granting(roles, None, _names(act, "workflows"), _names(act, "queues"))


def _names(act: Act, field: str) -> Sequence[str] | None:
    """Return what was typed with commas between; None, which is all, where nothing was."""
    return [each for each in map(str.strip, act.text(field).split(",")) if each] or None


def _state_of(key: Key, now: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _order(listed: tuple[str, Key]) -> tuple[bool, float]:
    """Those that count first, then the newest."""
    state, key = listed
    return (state != "good", -key.made_at.timestamp())
