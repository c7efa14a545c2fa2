"""Lists that somebody looks at often, under names of their own: a page and its filters."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.accounts import Accounts
from meshline.api.principals import Permission
from meshline.console.visit import Act, FormRefused, acts

__all__ = ["SavedList", "router", "saved_by"]

router = APIRouter()

PAGES = ("/runs", "/exceptions")
NAME_LENGTH_MAX = 60
QUERY_LENGTH_MAX = 1_000
LISTS_MAX = 50
_LEFT_OUT = ("after", "live", "done", "at", "how")
"""What says where one was in a list, and not which list it was."""


class SavedList(NamedTuple):
    name: str
    page: str
    query: str

    @property
    def address(self) -> str:
        return f"{self.page}?{self.query}" if self.query else self.page


async def saved_by(accounts: Accounts, actor: str, page: str) -> list[SavedList]:
    """Return what somebody saved of a page, by name."""
    rows = await accounts.fetch(
        "select name, page, query from {schema}.saved_lists where actor = $1 and page = $2 "
        "order by name",
        actor,
        page,
    )
    return [SavedList(**row) for row in rows]


Sent = Annotated[Act, Depends(acts(Permission.READ, {}))]


@router.post("/saved-lists/save")
async def save(request: Request, act: Sent) -> Response:
    """Save a list under a name; the same name again is another list from then on."""
    name, page = act.text("name")[:NAME_LENGTH_MAX], _page(act)
    asked = parse_qsl(act.text("query")[:QUERY_LENGTH_MAX])
    query = urlencode([each for each in asked if each[0] not in _LEFT_OUT])
    if not name:
        raise FormRefused("The list has no name: expected one, such as “late in EMEA”. Go back.")
    accounts: Accounts = request.app.state.accounts
    actor = act.visit.principal.actor.id
    saved: list[Any] = await accounts.fetch(
        "select name from {schema}.saved_lists where actor = $1 and name <> $2", actor, name
    )
    if len(saved) >= LISTS_MAX:
        raise FormRefused(f"You have {len(saved)} lists: expected at most {LISTS_MAX}. Forget one.")
    await accounts.fetch(
        "insert into {schema}.saved_lists (actor, page, name, query) values ($1, $2, $3, $4) "
        "on conflict (actor, page, name) do update set query = excluded.query",
        actor, page, name, query,
    )  # fmt: skip
    return RedirectResponse(SavedList(name, page, query).address, 303)


@router.post("/saved-lists/forget")
async def forget(request: Request, act: Sent) -> Response:
    """Take a saved list away; what is in it stays."""
    page = _page(act)
    await request.app.state.accounts.fetch(
        "delete from {schema}.saved_lists where actor = $1 and page = $2 and name = $3",
        act.visit.principal.actor.id, page, act.text("name"),
    )  # fmt: skip
    return RedirectResponse(page, 303)


def _page(act: Act) -> str:
    page = act.text("page")
    if page not in PAGES:
        raise FormRefused(f"{page[:60]!r} has no lists: expected one of {', '.join(PAGES)}.")
    return page
