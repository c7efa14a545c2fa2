"""A group of exceptions, which have one cause: how it goes on, and what people say and do of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.principals import Permission
from meshline.console.bulk import many_of
from meshline.console.commands import group_typed
from meshline.console.reading import REACH_S, Reader, moment_asked
from meshline.console.rendering import rendered
from meshline.console.trend import HEIGHT, trend_of
from meshline.console.visit import WAIT_S, Act, FormRefused, MovedOn, Visit, acts, tag_of
from meshline.events.clock import SystemClock
from meshline.events.publish import RequestAnswer
from meshline.events.requests import CauseActionRequested
from meshline.projections.cause_queries import ExceptionGroup
from meshline.projections.errors import NotReached
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.run_values import VALUE_TYPES, values_in

__all__ = ["router"]

router = APIRouter()
LISTED = 10
"""Open exceptions on the page of their group."""

_clock = SystemClock()


class _Said(NamedTuple):
    """What people decide by who say something of a group; how many there are changes all the time.

    ``state`` and the rest as of an ``ExceptionGroup``.
    """

    state: str
    in_version: int | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    reopened_at: datetime | None
    reopened_by: str | None

    @classmethod
    def of(cls, group: ExceptionGroup) -> _Said:
        return cls(*(getattr(group, name) for name in cls._fields))

    @property
    def words(self) -> str:
        if self.state == "resolved":
            return f"it is mended in version {self.in_version}, says {self.resolved_by}"
        if self.state == "reopened":
            return f"it is open again{f', says {self.reopened_by}' if self.reopened_by else ''}"
        return "nobody says that it is mended"


@router.get("/exception-groups/{cause}")
async def show_group(request: Request, visit: Reader, cause: str) -> Response:
    """Show the exceptions of one cause together, with what can be done about all of them."""
    moment = moment_asked(request)
    views, time = await visit.desk.at(moment), moment and moment.time
    group, hits, unit, opened = await views.cause(cause, time or _clock.now())
    page = await views.exceptions(cause=cause, limit=LISTED)
    sample = page.rows[:1] or (await views.exceptions(states=None, cause=cause, limit=1)).rows
    # What refreshes itself leaves the sample alone, and reads no payload every few seconds; and
    # what is past is not corrected.
    is_left = moment is not None or "hx-request" in request.headers
    return rendered(
        request,
        "exception_group.html",
        group=group,
        hits=hits,
        trend=trend_of(opened, unit),
        trend_height=HEIGHT,
        page=page,
        sample=sample[0] if sample and not is_left else None,
        knows={} if is_left else await _known(visit, sample),
        moment=moment,
        many=None if moment else _many(visit, request, group, page.rows, is_all=page.next is None),
        actions=[] if moment else await _actions(visit, request, group),
        tag=tag_of(_Said.of(group)),
    )


async def _known(visit: Visit, sample: list[ExceptionRow]) -> dict[str, Any]:
    """Return what the sample's run knows, as the principal may see it."""
    if not sample:
        return {}
    run_id = sample[0].run_id
    said = (await visit.views.said([run_id], VALUE_TYPES)).get(run_id, [])
    values = values_in(said)
    if not values:
        return {}
    return await visit.desk.values(values, "data", f"run {run_id}", run_id, said) or {}


def _many(
    visit: Visit, request: Request, group: ExceptionGroup, rows: list[ExceptionRow], *, is_all: bool
) -> dict[str, Any] | None:
    """Return what can be done to all that are open; what none of them can take is left out."""
    many = many_of(visit, _origin(request), "exceptions", {"cause": group.cause})
    if many is None or not rows:
        return None
    is_held = {row.blocking for row in rows}
    if is_all and len(is_held) == 1:
        never = ("resolve", "dismiss") if rows[0].blocking else ("retry", "edit", "skip")
        many["actions"] = [each for each in many["actions"] if each["name"] not in never]
    return many


async def _actions(visit: Visit, request: Request, group: ExceptionGroup) -> list[dict[str, Any]]:
    # It is said of all teams' exceptions: who sees a part of them can't.
    if not visit.may(Permission.OPERATE) or visit.principal.scope is not None:
        return []
    name = "reopen" if group.state == "resolved" else "resolve"
    versions = [
        row.version for row in await visit.views.workflows() if row.workflow in group.workflows
    ] if group.workflows else []  # fmt: skip
    return [
        {
            "name": name,
            "newest": max(versions, default=None),
            "typed": group_typed(_origin(request), group.cause, name),
        }
    ]


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


@router.post("/exception-groups/{cause}/{action}")
async def act_on_group(
    cause: str,
    action: Literal["resolve", "reopen"],
    act: Annotated[Act, Depends(acts(Permission.OPERATE, {"": CauseActionRequested}))],
) -> Response:
    """Say that the cause is mended from a version on, or that it is not after all."""
    desk = act.visit.desk
    said = _Said.of((await desk.views.cause(cause, _clock.now())).group)
    asked = CauseActionRequested(
        cause=cause,
        action=action,
        in_version=_version(act) if action == "resolve" else None,
        reason=act.reason,
    )
    if not asked.reason:
        raise FormRefused("There is no reason: expected one, for all who look on.")
    path = f"/exception-groups/{cause}"
    if act.form.get("tag") != tag_of(said):
        if _is_so(said, asked, desk.principal.actor.id):
            # The same form, sent twice.
            return RedirectResponse(f"{path}?done=cause-{action}", 303)
        raise MovedOn(
            f"Somebody was quicker: {said.words}. Nothing was done. Look at the group as it is "
            "now, and decide again."
        )
    answers = await desk.ask_everywhere("causes", asked, WAIT_S)
    is_shown = await _shown(act.visit, answers)
    is_decided = all(answer.status != "appended" for answer in answers)
    how = "accepted" if is_decided and is_shown else "appended"
    return RedirectResponse(f"{path}?done=cause-{action}&how={how}", 303)


def _version(act: Act) -> int:
    text = act.text("in_version")
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise FormRefused(
            f"The version is {text[:20]!r}: expected the number of the workflow's version from "
            "which on it is mended, such as 2. Go back and correct it; nothing was done."
        )
    return int(text)


def _is_so(said: _Said, asked: CauseActionRequested, actor: str) -> bool:
    if asked.action == "reopen":
        return said.state == "reopened" and said.reopened_by == actor
    wanted = ("resolved", asked.in_version, actor, asked.reason)
    return (said.state, said.in_version, said.resolved_by, said.resolution) == wanted


async def _shown(visit: Visit, answers: list[RequestAnswer]) -> bool:
    """Wait until the view shows what every partition has said; False if it does not in time."""
    positions = [answer.decided_at for answer in answers if answer.decided_at is not None]
    try:
        await visit.views.reached(positions, ["exceptions"], timeout_s=REACH_S)
    except NotReached:
        return False
    return True
