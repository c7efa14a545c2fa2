"""My work, and everybody's: what is whose, what nobody has, who is away and who stands in."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.principals import Permission
from meshline.console.approvals import address_of
from meshline.console.reading import PAGE_ROWS, Reader, reached
from meshline.console.rendering import rendered
from meshline.console.visit import Act, FormRefused, acts
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
    shows_all = await reached(request, visit, "tasks")
    me, now = visit.principal.actor.id, _clock.now()
    page = await visit.views.work(me, now, limit=PAGE_ROWS, after=after or None)
    return rendered(
        request,
        "work.html",
        work=[(row, address_of(row, is_next=True)) for row in page.rows],
        next=page.next,
        after=after,
        shows_all=shows_all,
    )


@router.get("/queues")
async def queues(request: Request, visit: Reader) -> Response:
    """Tell what nobody has, how much each person has, and who stands in for whom."""
    shows_all = await reached(request, visit, "directories")
    views, now, me = visit.views, _clock.now(), visit.principal.actor.id
    absence = (await views.people(now)).absence_of(me)
    return rendered(
        request,
        "queues.html",
        queues=await views.queue_loads(now),
        people=await views.person_loads(now),
        absence=absence,
        may=visit.may(Permission.APPROVE) and visit.principal.scope is None,
        shows_all=shows_all,
    )


@router.post("/absences")
async def leave(act: _Away) -> Response:
    """Say that one is away from now on, and who stands in."""
    until = moment_of(act.text("until"))
    if until is None:
        raise FormRefused(
            f"{act.text('until')[:60]!r} is no time: expected when you are back, in UTC. Go back "
            "and correct it; nothing was done."
        )
    now = _clock.now()
    substitute = act.text("substitute")[:300]
    if ":" not in substitute:
        substitute = f"user:{substitute}"
    return await _changed(
        act,
        AbsenceChangeRequested(
            user=act.visit.principal.actor.id,
            substitute=substitute,
            since=now,
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


async def _changed(act: Act, asked: AbsenceChangeRequested, done: str) -> Response:
    answers = await act.visit.desk.ask_everywhere(ABSENCES, asked, 10.0)
    last = max(answers, key=lambda each: (each.status == "rejected", each.status == "appended"))
    at = last.decided_at or last.position
    query = urlencode({"done": done, "at": str(at), "how": last.status})
    return RedirectResponse(f"/queues?{query}", 303)
