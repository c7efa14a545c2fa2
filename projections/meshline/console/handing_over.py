"""All that is somebody's, and giving it to another: what the page shows is what goes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from meshline.api.desk import Asking
from meshline.api.principals import Permission
from meshline.api.problems import Conflict
from meshline.console.commands import handover_typed
from meshline.console.reading import Reader, moment_asked, reached, show
from meshline.console.rendering import rendered
from meshline.console.visit import WAIT_S, Act, FormRefused, MovedOn, Visit, acts
from meshline.events.people_requests import HandoverRequested
from meshline.events.principals import is_principal
from meshline.projections.owner_queries import Possession

__all__ = ["router"]

router = APIRouter()
THINGS_MAX = 100
"""On one page, and given away with one press; what is left is on the next."""

AT_ONCE = 32
GONE_MAX = 20
_KINDS = ("run", "exception", "approval", "task")
_VIEWS = ("runs", "exceptions", "tasks", "handovers")


class Thing(NamedTuple):
    """One thing that goes; ``about`` is an exception's id or the name of a task."""

    kind: str
    run_id: str
    about: str


_THINGS = TypeAdapter(list[Thing])


@router.get("/possessions")
async def show_possessions(
    request: Request, visit: Reader, owner: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    """Show all that is open and somebody's, what came to them or left them, and give it away."""
    shows_all = await reached(request, visit, *_VIEWS)
    return await _page(request, visit, owner.strip(), shows_all=shows_all)


@router.post("/possessions/hand-over")
async def hand_over(
    request: Request,
    act: Annotated[Act, Depends(acts(Permission.OPERATE, {"": HandoverRequested}))],
) -> Response:
    """Give away what the page showed, each thing by itself; what is another's by now stays so."""
    previous, owner = act.text("previous")[:300], act.text("owner")[:300]
    if not is_principal(owner):
        raise FormRefused(
            f"{owner[:60]!r} is nobody: expected a new owner, such as user:bob, team:emea or "
            "queue:triage. Go back and correct it; nothing was done."
        )
    things = await _things(act)
    results: Counter[str] = Counter()
    refused: list[tuple[Thing, str]] = []
    decided: list[str] = []
    for start in range(0, len(things), AT_ONCE):
        some = things[start : start + AT_ONCE]
        answers = await asyncio.gather(*(_asked(act, each, previous, owner) for each in some))
        for thing, (status, said) in zip(some, answers, strict=True):
            results[status] += 1
            if status == "rejected":
                refused.append((thing, said))
            else:
                decided.append(said)
    if not decided:
        raise MovedOn(
            f"Nothing went to {owner}. {refused[0][1]} Look at what is {previous}'s now, and "
            "decide again."
        )
    shows_all = await show(act.visit, decided, *_VIEWS)
    return await _page(
        request, act.visit, previous, shows_all=shows_all,
        to=owner, results=results, refused=refused,
    )  # fmt: skip


async def _things(act: Act) -> list[Thing]:
    """Return what the page showed, as far as it is the principal's to see."""
    try:
        things = _THINGS.validate_json(act.text("things"))[:THINGS_MAX]
    except ValidationError:
        things = []
    seen = await act.visit.views.known_runs("runs", {each.run_id for each in things})
    found = [each for each in things if each.run_id in seen and each.kind in _KINDS]
    if not found:
        raise FormRefused("There is nothing to hand over: expected what the page before showed.")
    return found


async def _asked(act: Act, thing: Thing, previous: str, owner: str) -> tuple[str, str]:
    """Return what became of it, and the position of that or why it was refused."""
    asked = HandoverRequested(
        kind=thing.kind,  # type: ignore[arg-type]  # one of _KINDS
        about=thing.about, previous=previous, owner=owner, reason=act.reason,
    )  # fmt: skip
    # The same form sent twice asks once, thing by thing.
    key = f"{act.text('once')[:100]} {'/'.join(thing)}" if act.text("once") else None
    try:
        answered = await act.visit.desk.ask(
            thing.run_id, asked, Asking(WAIT_S, idempotency_key=key)
        )
    except Conflict as error:
        return "rejected", error.message
    return answered.status, answered.position


async def _page(
    request: Request, visit: Visit, owner: str, *, shows_all: bool = True, **done: Any
) -> Response:
    things: list[Possession] = []
    more, moment = None, moment_asked(request)
    if owner:
        views = await visit.desk.at(moment)
        page = await views.possessions(owner, limit=THINGS_MAX)
        things, more = page.rows, page.next
    counts = Counter[str](thing.kind for thing in things)
    handed = None
    if owner and moment is None:
        handed = await visit.views.handovers(owner=owner, limit=GONE_MAX)
    return rendered(
        request,
        "possessions.html",
        owner=owner,
        things=things,
        is_more=more is not None,
        counts=[(kind, counts[kind]) for kind in _KINDS if counts[kind]],
        listed=[[each.kind, each.run_id, each.about] for each in things],
        handed=handed.rows if handed else [],
        moment=moment,
        may=visit.may(Permission.OPERATE) and moment is None,
        shows_all=shows_all,
        typed=handover_typed(str(request.base_url).rstrip("/"), owner, things),
        result={"to": "", "results": {}, "refused": [], **done},
    )
