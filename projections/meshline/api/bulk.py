"""Many exceptions or runs at once, over HTTP: a frozen list, looked at and then applied."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query
from pydantic import AwareDatetime, BaseModel, Field

from meshline.api.access import requires
from meshline.api.answers import ListOf, item_of, list_of
from meshline.api.bulk_work import BulkWork
from meshline.api.context import After, AtLeast, Body, Limit, Reader
from meshline.api.desk import Desk
from meshline.api.principals import Permission
from meshline.api.problems import KeyReused, documented
from meshline.api.repeats import id_of_repeat
from meshline.events.corrections import Correction
from meshline.events.envelope import Actor
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.bulk import CONFIRMED_ABOVE, Bulks
from meshline.projections.bulk_list import (
    BulkAction,
    BulkItem,
    BulkList,
    Chosen,
    acts_on_runs,
)
from meshline.projections.errors import NotFound
from meshline.projections.masking import Definitions, masked_more
from meshline.projections.pages import next_after, values_after

__all__ = ["BulkShown", "bulks_of", "name_of_repeat", "router", "shown_list"]

router = APIRouter(prefix="/v1/bulk-lists", tags=["bulk"])

SAMPLES = 5
Operator = Annotated[Desk, Depends(requires(Permission.OPERATE, ExceptionActionRequested))]
Outcome = Literal["done", "skipped", "refused", "unanswered", "left", "left_out"]
_ACTS = documented(404, 409, 411, 413, 415, 422)


class Which(Body):
    """All that fit all that is given, and are open. `step`, `cause`, `kind`, `route` and `severity`
    are of exceptions; `source` and `waiting_on` of runs."""

    cause: str | None = None
    workflow: str | None = None
    step: str | None = None
    kind: str | None = None
    owner: str | None = None
    route: str | None = None
    severity: str | None = None
    opened_before: AwareDatetime | None = None
    state: Literal["open", "acknowledged", "in_progress", "running", "waiting", "held",
                   "paused"] | None = None  # fmt: skip
    source: str | None = None
    waiting_on: str | None = None


class Preview(Body):
    """What is to be done, to which. `cancel` and `hand_over` are done to runs, all else to
    exceptions.

    `owner` goes with `assign` and `hand_over`, `value` with `skip`, `corrections` with `retry`:
    they are made in each run before its step is tried again. A list that is longer than
    `second_person_above` has to be confirmed by somebody else than who made it.
    """

    action: BulkAction
    chosen: Which
    owner: str | None = None
    value: Any = None
    corrections: tuple[Correction, ...] = Field((), max_length=100)
    reason: str = Field("", max_length=2_000)
    second_person_above: int = Field(CONFIRMED_ABOVE, ge=0, le=CONFIRMED_ABOVE)


class Nothing(Body):
    """There is nothing more to say."""


class BulkShown(BaseModel):
    """A frozen list, what it does, and what came of it.

    `seen_at`: where the view stood in the log, by partition. `left_out`: what fits and can't be
    acted on so, by why. `counts`: items by what came of them; `left`: nothing yet. `problem`: what
    ended the last applying before its time.
    """

    name: str
    action: BulkAction
    more: dict[str, Any]
    reason: str
    chosen: dict[str, Any]
    items: int
    left_out: dict[str, int]
    seen_at: dict[str, int]
    made_by: str
    made_at: datetime
    confirmed_above: int
    confirmed_by: str | None
    confirmed_at: datetime | None
    needs_second_person: bool
    runs: int
    by_step: dict[str, int]
    counts: dict[str, int]
    is_being_applied: bool
    problem: str | None
    samples: list[item_of(BulkItem)]  # type: ignore[valid-type]


def bulks_of(desk: Desk) -> tuple[Bulks, BulkWork]:
    """Return the lists of the installation, and what applies them."""
    services = desk.services
    if services.bulks is None or services.bulk_work is None:
        raise NotFound("This server keeps no bulk lists: expected one that was given them.")
    return services.bulks, services.bulk_work


def name_of_repeat(actor: Actor, key: str) -> str:
    """Return the name of the list that this actor makes with this key, now or again."""
    return f"bulk-{id_of_repeat(actor, key).replace('-', '')[:20]}"


async def shown_list(desk: Desk, made: BulkList) -> dict[str, Any]:
    """Return a list as this principal may see it, with what came of it."""
    bulks, work = bulks_of(desk)
    effect = await bulks.effect(made.name)
    values = [name for name in ("value", "corrections") if name in made.more]
    more = made.more
    if values and not desk.principal.may(Permission.READ_PAYLOADS):
        more = {}
    elif values:
        definitions = Definitions(await desk.services.views.workflows())
        shown = masked_more(made, definitions)
        what = ", ".join(values)
        if not await desk.reads(what, f"bulk list {made.name}", secrets=shown != more):
            more = shown
    # Before the counts: who reads that it has ended reads all that came of it.
    is_being_applied = await work.is_at(made.name)
    fields = made._asdict()
    del fields["scope"]
    return {
        **fields,
        "more": more,
        "needs_second_person": made.is_unconfirmed,
        "runs": effect.runs,
        "by_step": dict(effect.by_step),
        "counts": await bulks.counts(made.name),
        "is_being_applied": is_being_applied,
        "problem": work.problem(made.name),
        "samples": await _shown(desk, made.name, await bulks.items(made.name, limit=SAMPLES)),
    }


async def _shown(desk: Desk, name: str, items: Iterable[BulkItem]) -> list[dict[str, Any]]:
    shown = await desk.page(items, f"items of bulk list {name}")
    return list(shown["items"])


async def _one(desk: Desk, name: str) -> BulkList:
    return await bulks_of(desk)[0].one(name, desk.principal.scope)


@router.post("", status_code=201, response_model=BulkShown, responses=_ACTS)
async def preview_bulk(
    desk: Operator,
    least: AtLeast,
    body: Preview,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="Asking again with it makes one list."),
    ] = None,
) -> Any:
    """Freeze a list of what fits, and say what applying it will do. Nothing is done yet."""
    await least.reached(desk, "runs" if acts_on_runs(body.action) else "exceptions")
    more: dict[str, Any] = {} if body.owner is None else {"owner": body.owner}
    if "value" in body.model_fields_set:
        more["value"] = body.value
    if body.corrections:
        more["corrections"] = [each.model_dump(mode="json") for each in body.corrections]
    actor, chosen, name = desk.principal.actor, Chosen(**dict(body.chosen)), None
    if idempotency_key is not None:
        name = name_of_repeat(actor, idempotency_key)
    made = await bulks_of(desk)[0].freeze(
        desk.views, body.action, chosen, actor=actor.id, reason=body.reason, more=more, name=name,
        confirmed_above=body.second_person_above,
    )  # fmt: skip
    asked = (body.action, more, body.reason, chosen.as_dict())
    if (made.action, made.more, made.reason, made.chosen) != asked:
        raise KeyReused(
            f"Another list was made with this Idempotency-Key ({made.name}): expected the same "
            "again, or a new key."
        )
    return await shown_list(desk, made)


@router.get("", response_model=ListOf[BulkShown], responses=documented(404, 422))
async def list_bulks(desk: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 20,
                     after: After = None) -> Any:  # fmt: skip
    """List the lists that there were, the newest first."""
    page = await bulks_of(desk)[0].all(limit, after=after, scope=desk.principal.scope)
    return {"items": [await shown_list(desk, made) for made in page.rows], "next": page.next}


@router.get("/{bulk}", response_model=BulkShown, responses=documented(404, 422))
async def show_bulk(desk: Reader, bulk: str) -> Any:
    """Show a list: what it does, and what came of it so far."""
    return await shown_list(desk, await _one(desk, bulk))


@router.get("/{bulk}/items", response_model=list_of(BulkItem), responses=documented(404, 422))
async def bulk_items(
    desk: Reader,
    bulk: str,
    result: Annotated[list[Outcome] | None, Query()] = None,
    limit: Limit = 50,
    after: After = None,
) -> Any:
    """List the items, each as it stood when the list was made, with what came of it.

    `corrected` is what the list's corrections change in it. `result=left_out` lists what fits and
    is none of the list, with why; of very much, the first of it.
    """
    made = await _one(desk, bulk)
    [last] = [0] if after is None else values_after(after, [int])
    if not 0 <= last < 2**31:
        raise NotFound("There is no such page: begin again without `after`.")
    items = await bulks_of(desk)[0].items(made.name, results=result, limit=limit, after=last)
    following = next_after([items[-1].number]) if len(items) == limit else None
    return {"items": await _shown(desk, made.name, items), "next": following}


@router.post("/{bulk}/confirm", response_model=BulkShown, responses=_ACTS)
async def confirm_bulk(desk: Operator, bulk: str, body: Nothing) -> Any:
    """Agree, as a second person, that a long list is applied."""
    made = await bulks_of(desk)[0].confirm(
        bulk, actor=desk.principal.actor.id, scope=desk.principal.scope
    )
    return await shown_list(desk, made)


@router.post("/{bulk}/apply", status_code=202, response_model=BulkShown, responses=_ACTS)
async def apply_bulk(desk: Operator, bulk: str, body: Nothing) -> Any:
    """Do what a list says, item by item, beside: look at the list for what has come of it.

    Asked again, it goes on with what has no result yet.
    """
    made = await _one(desk, bulk)
    await bulks_of(desk)[1].begin(made, desk.views, desk.principal.actor)
    return await shown_list(desk, made)
