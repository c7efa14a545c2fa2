"""My work, and everybody's: what is whose, what nobody has, who is away and who stands in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.principals import Permission
from meshline.console.approvals import address_of
from meshline.console.commands import absence_typed
from meshline.console.reading import PAGE_ROWS, Reader, moment_asked, reached
from meshline.console.rendering import rendered
from meshline.console.visit import Act, FormRefused, Visit, acts
from meshline.console.words import moment_of
from meshline.events.clock import SystemClock
from meshline.events.people_requests import ABSENCES, AbsenceChangeRequested

__all__ = ["router"]

router = APIRouter()
_clock = SystemClock()
_Away = Annotated[Act, Depends(acts(Permission.APPROVE, {"": AbsenceChangeRequested}))]


@router.get("/work")
async def my_work(
    request: Request, visit: Reader, after: Annotated[str, Query(max_length=500)] = ""
) -> Response:
    """List what is one's own to do: what is due first, then priority, then age."""
    shows_all = await reached(request, visit, "tasks", "directories")
    me, now = visit.principal.actor.id, _clock.now()
    page = await visit.views.work(me, now, limit=PAGE_ROWS, after=after or None)
    return rendered(
        request,
        "work.html",
        work=[(row, address_of(row, is_next=True)) for row in page.rows],
        next=page.next,
        after=after,
        shows_all=shows_all,
        **await _absence(request, visit),
    )


@router.get("/queues")
async def queues(request: Request, visit: Reader) -> Response:
    """Tell what nobody has, how much each person has, and who stands in for whom."""
    shows_all = await reached(request, visit, "directories")
    moment = moment_asked(request)
    views, now = await visit.desk.at(moment), (moment and moment.time) or _clock.now()
    return rendered(
        request,
        "queues.html",
        queues=await views.queue_loads(now),
        people=await views.person_loads(now),
        moment=moment,
        shows_all=shows_all,
        **await _absence(request, visit),
    )


async def _absence(request: Request, visit: Visit) -> dict[str, Any]:
    """Return when one is away, or will be, and whether one may say so."""
    me = visit.principal.actor.id
    mine = [row for row in await visit.views.absences(_clock.now()) if row.absent == me]
    return {
        "absence": min(mine, key=lambda row: row.since, default=None),
        "may": visit.may(Permission.APPROVE) and visit.principal.scope is None,
        "typed": absence_typed(str(request.base_url).rstrip("/"), me),
    }


@router.post("/absences")
async def leave(act: _Away) -> Response:
    """Say that somebody is away from then to then, and who stands in."""
    now = _clock.now()
    since, until = moment_of(act.text("since")) or now, moment_of(act.text("until"))
    if until is None:
        raise FormRefused(
            f"{act.text('until')[:60]!r} is no time: expected when you are back, in UTC. Go back "
            "and correct it; nothing was done."
        )
    if until <= since:
        raise FormRefused(
            f"It would end {_shown(until)}, before it begins ({_shown(since)}): "
            "expected a later end. Go back and correct it; nothing was done."
        )
    return await _changed(
        act,
        AbsenceChangeRequested(
            user=_user(act.text("user")[:300] or act.visit.principal.actor.id),
            substitute=_user(act.text("substitute")[:300]),
            since=since,
            until=until,
            reason=act.reason,
        ),
        "away",
    )


@router.post("/absences/end")
async def come_back(act: _Away) -> Response:
    """Say that one is back before one's time."""
    now = _clock.now()
    back = AbsenceChangeRequested(user=act.visit.principal.actor.id, since=now, until=now)
    return await _changed(act, back, "back")


def _user(text: str) -> str:
    return text if ":" in text else f"user:{text}"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


async def _changed(act: Act, asked: AbsenceChangeRequested, done: str) -> Response:
    answers = await act.visit.desk.ask_everywhere(ABSENCES, asked, 10.0)
    last = max(answers, key=lambda each: (each.status == "rejected", each.status == "appended"))
    at = last.decided_at or last.position
    query = urlencode({"done": done, "at": str(at), "how": last.status})
    then = "/work" if act.text("then") == "/work" else "/queues"
    return RedirectResponse(f"{then}?{query}", 303)
