"""Who may do what: keys of the API, users of the console, and what each role gives."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.accounts import Accounts
from meshline.api.keys import ApiKeys, Key
from meshline.api.principals import ROLES, Permission
from meshline.api.problems import Denied
from meshline.console.rendering import rendered
from meshline.console.visit import Act, Visit, acts, sees
from meshline.events.clock import SystemClock

__all__ = ["router"]

router = APIRouter()
_clock = SystemClock()
KEYS_MAX = 500
_MAY = {
    Permission.PUBLISH: "publish triggers",
    Permission.REPORT: "report outcomes of steps",
    Permission.READ: "see everything but payloads",
    Permission.READ_PAYLOADS: "read payloads",
    Permission.OPERATE: "act on runs and exceptions",
    Permission.APPROVE: "decide approvals",
    Permission.AUDIT: "see the audit and this page",
    Permission.ACCESS: "revoke keys",
    Permission.KEEP_VIEWS: "rebuild views and put them live",
}


@router.get("/access")
async def show_access(
    request: Request, visit: Annotated[Visit, Depends(sees(Permission.AUDIT))]
) -> Response:
    """Show keys, users and roles."""
    _check_whole(visit)
    keys: ApiKeys = request.app.state.keys
    accounts: Accounts = request.app.state.accounts
    now = _clock.now()
    listed = sorted(((_state_of(key, now), key) for key in await keys.all()), key=_order)
    return rendered(
        request,
        "access.html",
        keys=listed[:KEYS_MAX],
        left_out=max(0, len(listed) - KEYS_MAX),
        users=await accounts.all(),
        roles={
            role: [_MAY.get(each, each.value) for each in Permission if each in permissions]
            for role, permissions in ROLES.items()
        },
        may_revoke=visit.may(Permission.ACCESS),
    )


def _check_whole(visit: Visit) -> None:
    if visit.principal.scope is not None:
        raise Denied(
            f"{visit.principal.actor.id} sees one team: expected somebody without such limits, for "
            "keys are of all teams. Ask an admin."
        )


def _state_of(key: Key, now: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "good"


def _order(listed: tuple[str, Key]) -> tuple[bool, float]:
    """Those that count first, then the newest."""
    state, key = listed
    return (state != "good", -key.made_at.timestamp())


@router.post("/access/keys/{key}/revoke")
async def revoke_key(
    request: Request, key: str, act: Annotated[Act, Depends(acts(Permission.ACCESS, {}))]
) -> Response:
    """Let a key count no more."""
    _check_whole(act.visit)
    keys: ApiKeys = request.app.state.keys
    await keys.revoke(key, by=act.visit.principal.actor.id, reason=act.reason)
    return RedirectResponse("/access?done=revoke", 303)
