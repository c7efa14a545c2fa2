"""``meshline explain``: why a run is as it is, or why a trigger started nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from meshline.cli.call import Call, command, group, known_words
from meshline.cli.run_ids import APPEAR_S, is_whole, typed_run
from meshline.cli.words import clock_time
from meshline.events.ids import run_id_of
from meshline.events.story import VALUE_LENGTH_MAX

if TYPE_CHECKING:
    from meshline.projections.queries import Views
    from meshline.projections.reasons import Reason
    from meshline.projections.runs_view import RunRow

__all__ = ["app", "explained_text"]

app = group("Why: of runs, and of triggers that started none.")

_POLL_S = 0.1


@command(app)
async def explain(
    call: Call,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="As elsewhere; or the SOURCE of a trigger."),
    ],
    trigger_id: Annotated[
        str | None, typer.Argument(metavar="[TRIGGER_ID]", help="Of the trigger of SOURCE.")
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            help="Only: started, refused, repeated, owner, skipped, again, exception, waits, "
            "not_begun or ended."
        ),
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="Only about this step, owner, exception or request.")
    ] = None,
) -> None:
    """Say why a run started, has its owner, waits, skipped a step, went wrong, and ended so.

    Each reason names the event that says so. A trigger that started nothing is explained too.

    \b
    Examples:
      meshline explain 1f0c2a9b
      meshline explain web.forms F-1
      meshline explain web.forms/F-1 --question waits --question not_begun
      meshline explain web.forms/F-1 --about big_deal --output json | jq '.reasons[].saw'
    """
    from meshline.projections.reasons import Reason

    known_words(question, Reason, "question", "--question")
    async with call.views() as views:
        run_id, row = await _found(views, run, trigger_id)
        reasons = [
            reason
            for reason in await _reasons(views, run_id, row)
            if (not question or reason.question in question) and about in (None, reason.about)
        ]
    data = {
        "run_id": run_id,
        "workflow": row.workflow if row else None,
        "version": row.version if row else None,
        "state": row.state if row else None,
        "reasons": reasons,
    }
    call.out.thing(data, lambda: explained_text(run_id, row, reasons))


async def _reasons(views: Views, run_id: str, row: RunRow | None) -> list[Reason]:
    """Read them where the history is; a server gives all but what the key may not see."""
    from meshline.client import RemoteViews
    from meshline.projections.explain import reasons_of
    from meshline.projections.masked_views import MaskedViews

    if isinstance(views, RemoteViews):
        return await views.reasons(run_id)
    if isinstance(views, MaskedViews):
        return await views.reasons(run_id, row)
    return await reasons_of(views, run_id, row)


async def _found(views: Views, run: str, trigger_id: str | None) -> tuple[str, RunRow | None]:
    """Return the id, and the run if there is one: a trigger has a history before it is a run."""
    from meshline.projections.errors import NotFound

    begins = typed_run(run) if trigger_id is None else run_id_of(run, trigger_id)
    if not is_whole(begins):
        row = await views.run(begins)
        return row.run_id, row
    give_up = asyncio.get_running_loop().time() + APPEAR_S
    while True:
        try:
            return begins, await views.run(begins)
        except NotFound:
            if await _is_known(views, begins):
                return begins, None
            if asyncio.get_running_loop().time() >= give_up:
                raise
        await asyncio.sleep(_POLL_S)


async def _is_known(views: Views, run_id: str) -> bool:
    from meshline.client import RemoteViews
    from meshline.projections.errors import NotFound

    try:
        if isinstance(views, RemoteViews):
            return bool(await views.reasons(run_id))
        return bool(await views.history(run_id, limit=1))
    except NotFound:
        return False


def explained_text(run_id: str, run: RunRow | None, reasons: Sequence[Reason]) -> str:
    """Return the reasons under their questions."""
    from meshline.projections.reasons import QUESTIONS

    if run is None:
        lines = [f"No run was begun; it would be {run_id}"]
    else:
        lines = [f"Run {run_id}: {run.workflow} v{run.version}, {run.state}"]
    for question, title in QUESTIONS.items():
        found = [reason for reason in reasons if reason.question == question]
        if found:
            lines += ["", title, *(line for reason in found for line in _lines(reason))]
    return "\n".join(lines)


def _lines(reason: Reason) -> Iterator[str]:
    by = f", by {reason.by}" if reason.by else ""
    yield f"  {reason.about}: {reason.words}"
    for name, value in (reason.saw or {}).items():
        yield f"      it saw {name} = {_short(value)}"
    yield f"      {clock_time(reason.at)} at {reason.position}{by}"


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else text[: VALUE_LENGTH_MAX - 1] + "…"
