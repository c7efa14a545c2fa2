"""What one may here, where one is signed in, and one's own password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.accounts import PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, Accounts
from meshline.api.admitting import change_own
from meshline.api.principals import Permission
from meshline.api.problems import Denied, TooMany
from meshline.console.access import MAY
from meshline.console.rendering import rendered
from meshline.console.visit import Act, Visit, acts, cookie_name, sees
from meshline.events.errors import MeshlineError, SettingsInvalid
from meshline.events.people_requests import AccessChangeRequested

__all__ = ["router"]

router = APIRouter()
Anybody = Annotated[Visit, Depends(sees(None))]
Themselves = Annotated[Act, Depends(acts(None, {"": AccessChangeRequested}))]
_STATUS: dict[type[MeshlineError], int] = {Denied: 403, SettingsInvalid: 422, TooMany: 429}


@router.get("/account")
async def show_account(request: Request, visit: Anybody) -> Response:
    """Show who one is here."""
    return await _page(request, visit)


async def _page(request: Request, visit: Visit, said: str = "", status: int = 200) -> Response:
    accounts: Accounts = request.app.state.accounts
    actor, scope = visit.principal.actor.id, visit.principal.scope
    return rendered(
        request,
        "account.html",
        status=status,
        said=said,
        may=[MAY.get(each, each.value) for each in Permission if visit.may(each)],
        sees=None if scope is None else [*(scope.workflows or ()), *(scope.queues or ())],
        sessions=[each for each in await accounts.sessions() if each.actor == actor],
        name=next((u.name for u in await accounts.all() if f"user:{u.name}" == actor), None),
        lengths=(PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX),
    )


@router.post("/account")
async def change_own_password(request: Request, act: Themselves) -> Response:
    """Give oneself another password; the session that this is goes on."""
    # As it was typed: a password may begin with a space.
    old, new, again = (act.form.get(field, "") for field in ("old", "new", "again"))
    try:
        if new != again:
            raise SettingsInvalid("The new password is not the same twice: type it again.")
        session = request.cookies.get(cookie_name(request, "session"))
        await change_own(act.visit.desk, old, new, session)
    except (Denied, SettingsInvalid, TooMany) as error:
        return await _page(request, act.visit, error.message, _STATUS[type(error)])
    return RedirectResponse("/account?done=password", 303)
