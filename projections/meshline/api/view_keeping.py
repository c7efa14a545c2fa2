"""Keeping the views over HTTP: rebuild one, see what would change, put it live, and go back.

Of all teams, so for who has no limits of one. What is asked here is done by the projector, which
has the views' code, or by PostgreSQL; the books of the views say who asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from meshline.api.access import requires
from meshline.api.answers import ListOf, item_of, list_of
from meshline.api.context import After, Body, Limit, Wait, invalid, position_of
from meshline.api.desk import Answered, Desk
from meshline.api.principals import Permission
from meshline.api.problems import Conflict, documented
from meshline.events.envelope import Position
from meshline.events.requests import ParkedActionRequested
from meshline.events.story import sentence
from meshline.projections.as_of import item_of as event_of
from meshline.projections.asked_rebuilds import AskedRebuild, AskedRebuilds
from meshline.projections.build_choice import (
    Sides,
    both_of,
    build_before,
    build_to_swap_to,
    sides_of_last_swap,
)
from meshline.projections.diff import RowDiff, as_data, diff_view
from meshline.projections.errors import NotFound
from meshline.projections.freeing import parked_at, subjects_of
from meshline.projections.intake import Undecodable
from meshline.projections.masked_tables import masked_diff
from meshline.projections.masking import Definitions
from meshline.projections.pages import page_of_all
from meshline.projections.poison import parked_keys
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.rebuild import swap_when_ready

__all__ = [
    "BuildShown",
    "WhichBuild",
    "builds_of",
    "compared",
    "freed",
    "last_swap",
    "parked_of",
    "rebuilds_of",
    "router",
    "swapped",
    "wished",
]

router = APIRouter(prefix="/v1", tags=["keeping views"])

BEHIND_MAX = 1_000
SWAP_S = 10.0
COMPARE_S = 20.0
Keeper = Annotated[Desk, Depends(requires(Permission.KEEP_VIEWS))]
Changer = Annotated[Desk, Depends(requires(Permission.KEEP_VIEWS, changes_books=True))]
Freer = Annotated[Desk, Depends(requires(Permission.KEEP_VIEWS, ParkedActionRequested))]
Number = Annotated[int | None, Field(ge=1, le=2**31 - 1)]
_ACTS = documented(404, 409, 411, 413, 415, 422)


class Nothing(Body):
    """There is nothing more to say."""


class WhichBuild(Body):
    """Which build, where it is not the newest that is loaded."""

    version: Number = None
    build: Number = None
    allow_parked: bool = False


class Freeing(Body):
    """The event, by its place in the log, and why; to leave one out needs a reason."""

    position: str
    reason: str = Field("", max_length=2_000)


class ParkedShown(BaseModel):
    """A key of a build: the event that stopped it, why, and how many wait `behind` it."""

    version: int
    build: int
    state: str
    key: str
    position: str
    event_type: str
    why: str
    stops: bool
    error: str
    parked_at: datetime
    behind: int


class BuildShown(BaseModel):
    """A build of a view. `rows` is PostgreSQL's estimate; `parked` events it could not take in."""

    name: str
    version: int
    build: int
    state: str
    positions: dict[int, int]
    behind_events: int
    behind_s: float
    rows: int
    bytes: int
    parked: int
    stopped: int
    error: str


class Swapped(BaseModel):
    """Which build is live now, and which was before."""

    name: str
    version: int
    build: int
    before_version: int | None
    before_build: int | None


def _address_of(desk: Desk) -> str:
    if desk.principal.scope is not None:
        raise NotFound("Views are of all teams: expected a key without workflows or queues.")
    if desk.services.views_at is None:
        raise NotFound("This server keeps no views: ask where the projector runs.")
    return desk.services.views_at


@asynccontextmanager
async def _books(desk: Desk) -> AsyncIterator[Builds]:
    books = Builds(_address_of(desk))
    try:
        yield books
    finally:
        await books.aclose()


@asynccontextmanager
async def rebuilds_of(desk: Desk) -> AsyncIterator[AskedRebuilds]:
    """The rebuilds that were asked for.

    Raises:
        NotFound: the principal sees one team, or this server does not keep views.
    """
    asked = AskedRebuilds(_address_of(desk))
    try:
        await asked.open()
        yield asked
    finally:
        await asked.aclose()


async def builds_of(desk: Desk) -> list[BuildShown]:
    """Return every build of every view, and how far it is."""
    async with _books(desk) as books:
        sizes = await books.sizes()
    views = desk.services.views
    statuses = {Build(s.name, s.version, s.build): s for s in await views.status()}
    shown = []
    for lag in await views.lag(desk.services.log):
        build = Build(lag.name, lag.version, lag.build)
        status = statuses.get(build)
        if status is None or status.scratch:
            continue
        rows, size, *_ = sizes.get(build, (0, 0))
        state: str = status.state
        if status.bulk:
            state = "paused" if status.wish == "pause" else "loading"
        shown.append(
            BuildShown(
                name=lag.name, version=lag.version, build=lag.build, state=state,
                positions={p: at.offset for p, at in sorted(status.checkpoints.items())},
                behind_events=lag.events, behind_s=lag.seconds, rows=rows, bytes=size,
                parked=status.parked, stopped=status.stopped, error=status.error,
            )
        )  # fmt: skip
    return shown


async def last_swap(desk: Desk, view: str) -> Sides | None:
    """Return what the last swap or rollback was from and to; None where one is not there."""
    async with _books(desk) as books:
        return await sides_of_last_swap(books, view)


async def compared(
    desk: Desk, view: str, old: str | None = None, new: str | None = None, samples: int = 20
) -> dict[str, Any]:
    """Return what differs between two builds, with samples; who reads rows is noted."""
    found = await diff_view(
        _address_of(desk), view, old=old, new=new, samples_max=samples, wait_s=COMPARE_S
    )
    shown = masked_diff(found, Definitions(await desk.services.views.workflows()))
    in_clear = await desk.reads("rows", f"two builds of the view {view}", secrets=shown != found)
    data = as_data(found if in_clear else shown)
    for table in data["tables"]:
        table["samples"] = [_sample(sample) for sample in table["samples"]]
    return data


def _sample(sample: RowDiff) -> Mapping[str, Any]:
    events = []
    for row in sample.events or ():
        item = event_of(row)
        said = row.type if isinstance(item, Undecodable) else sentence(item.event, values=True)
        events.append({"position": f"{row.partition}:{row.log_offset}", "said": said})
    return {
        "kind": sample.kind, "key": sample.key, "columns": list(sample.columns),
        "alike": sample.alike, "old": sample.old, "new": sample.new, "run_id": sample.run_id,
        "events": events,
    }  # fmt: skip


async def swapped(desk: Desk, view: str, which: WhichBuild | None) -> Swapped:
    """Let the stable names show another build; None: the one that was live before.

    Raises:
        NotFound: there is no such build.
        NotSwappable: something speaks against it.
    """
    async with _books(desk) as books:
        if which is None:
            target = await build_before(books, view)
        else:
            target = await build_to_swap_to(books, view, which.version, which.build)
        before = await swap_when_ready(
            books,
            desk.services.log,
            target,
            actor=desk.principal.actor.id,
            behind_max=BEHIND_MAX,
            wait_s=SWAP_S,
            # It was live with what it has: going back must not be harder than that.
            allow_parked=which is None or which.allow_parked,
            is_rollback=which is None,
        )
    return Swapped(
        name=view, version=target.version, build=target.build,
        before_version=None if before is None else before.version,
        before_build=None if before is None else before.build,
    )  # fmt: skip


async def parked_of(desk: Desk, view: str, limit: int = 50) -> list[ParkedShown]:
    """Return the keys that are parked in the view, those that are longest first."""
    found = await parked_keys(_address_of(desk), view, limit=limit)
    return [
        ParkedShown(
            position=str(each.position),
            **{n: getattr(each, n) for n in ParkedShown.model_fields if n != "position"},
        )
        for each in found
    ]


async def freed(
    desk: Desk, view: str, action: Literal["retry", "skip"], position: Position, reason: str,
    wait_s: float,
) -> Answered:  # fmt: skip
    """Ask that a parked event is applied after all, or left out.

    Raises:
        NotFound: none is parked there.
        Conflict: it was refused.
    """
    services = desk.services
    each = await parked_at(_address_of(desk), view, position)
    subjects = await subjects_of(services.log, [each])
    asked = ParkedActionRequested(
        view=view, partition=position.partition, offset=position.offset, action=action,
        reason=reason,
    )  # fmt: skip
    answer = await services.publisher.request(
        subjects[each.position], asked, actor=desk.principal.actor, partition=position.partition,
        wait_s=wait_s or None,
    )  # fmt: skip
    at = answer.decided_at or answer.position
    if answer.status == "rejected":
        raise Conflict(
            answer.reason or "Refused.",
            reason=answer.code or "refused",
            run_id=answer.run_id,
            position=str(at),
        )
    return Answered(status=answer.status, run_id=answer.run_id, position=str(at))


async def wished(desk: Desk, view: str, wish: Literal["pause", "resume", "cancel"]) -> None:
    """Let the rebuild of a view rest, go on or end."""
    async with rebuilds_of(desk) as asked:
        await asked.wish(view, "run" if wish == "resume" else wish)


@router.get("/view-builds", response_model=ListOf[BuildShown], responses=documented(404, 422))
async def list_view_builds(desk: Keeper, limit: Limit = 50, after: After = None) -> Any:
    """List every build of every view: how far it is, how large, what it could not take in."""
    rows = [(shown.name, shown.version, shown.build, shown) for shown in await builds_of(desk)]
    page = page_of_all(
        rows, lambda row: [*row[:3]], kinds=[str, int, int], limit=limit, after=after
    )
    return {"items": [row[3] for row in page.rows], "next": page.next}


@router.get(
    "/views/{view}/rebuilds", response_model=list_of(AskedRebuild), responses=documented(404, 422)
)
async def show_rebuilds(desk: Keeper, view: str) -> Any:
    """Tell how far the rebuild is that was asked for last."""
    async with rebuilds_of(desk) as asked:
        one = await asked.one(view)
    return {"items": [] if one is None else [one._asdict()], "next": None}


@router.post(
    "/views/{view}/rebuilds",
    status_code=202,
    response_model=item_of(AskedRebuild),
    responses=_ACTS,
)
async def rebuild_view(desk: Changer, view: str, body: Nothing) -> Any:
    """Build a view anew beside the live one; the projector does it, which has the view's code.

    `asked` stays so until a projector runs. One that is ended in the middle goes on where it was.
    """
    async with rebuilds_of(desk) as asked:
        return (await asked.ask(view, actor=desk.principal.actor.id))._asdict()


@router.post("/views/{view}/rebuilds/{wish}", status_code=202, responses=_ACTS)
async def wish_of_rebuild(
    desk: Changer, view: str, wish: Literal["pause", "resume", "cancel"], body: Nothing
) -> None:
    """Let a rebuild rest or go on, or end it: then what it has built is dropped."""
    await wished(desk, view, wish)


@router.get("/views/{view}/diff", responses=documented(404, 409, 422))
async def diff_of_view(
    desk: Keeper,
    view: str,
    old: Annotated[str | None, Query(description="`2`, or `2.1` for a build; else live.")] = None,
    new: Annotated[str | None, Query(description="Else the newest beside it.")] = None,
    last: Annotated[
        bool, Query(alias="last_swap", description="What the last swap or rollback changed.")
    ] = False,
    samples: Annotated[int, Query(ge=0, le=100, description="Rows shown of each table.")] = 20,
) -> dict[str, Any]:
    """Compare two builds of a view at the same positions: rows added, removed and changed."""
    if last:
        old, new = both_of(view, await last_swap(desk, view))
    return await compared(desk, view, old, new, samples)


@router.post("/views/{view}/swap", response_model=Swapped, responses=_ACTS)
async def swap_view(desk: Changer, view: str, body: WhichBuild) -> Any:
    """Let everybody be shown another build: the newest that is loaded. The old one stays warm."""
    return await swapped(desk, view, body)


@router.post("/views/{view}/rollback", response_model=Swapped, responses=_ACTS)
async def roll_back_view(desk: Changer, view: str, body: Nothing) -> Any:
    """Let everybody be shown again the build that was live before."""
    return await swapped(desk, view, None)


@router.get(
    "/views/{view}/parked", response_model=ListOf[ParkedShown], responses=documented(404, 422)
)
async def list_parked(desk: Keeper, view: str, limit: Limit = 50) -> Any:
    """List the keys that a view could not go on with, why, and what waits behind them."""
    return {"items": await parked_of(desk, view, limit), "next": None}


@router.post("/views/{view}/parked/{action}", status_code=202, responses=_ACTS)
async def free_parked(
    desk: Freer, view: str, action: Literal["retry", "skip"], body: Freeing, wait_s: Wait = 10.0
) -> Answered:
    """Apply a parked event after all, with what waits behind it, or leave it out.

    What is left out stays in the log, and every rebuild leaves it out again.
    """
    if action == "skip" and not body.reason.strip():
        raise invalid(("body", "reason"), "expected why it is left out")
    position = position_of(body.position, "position")
    return await freed(desk, view, action, position, body.reason, wait_s)
