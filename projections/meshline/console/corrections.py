"""Correcting what a run knows, to try its failed step again: edit, see what changes, ask."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from meshline.api.principals import Permission
from meshline.console.reading import Reader
from meshline.console.rendering import rendered
from meshline.console.visit import Act, FormRefused, Visit, acts, tag_of
from meshline.events.corrections import Corrected, Correction
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.masking import masked_corrections
from meshline.projections.run_values import previewed, values_in, whole_history

__all__ = ["router"]

router = APIRouter()

FIELD = "value."
"""Before the name of a value, in the form."""

EDITED_BYTES_MAX = 64 * 1024
"""A value that is longer is edited with the command line."""


@router.get("/exceptions/{exception}/edit")
async def edit(request: Request, visit: Reader, exception: str) -> Response:
    """Show what the run knows, to be corrected."""
    row = await visit.views.exception(exception)
    shown = None
    if visit.may(Permission.OPERATE) and visit.may(Permission.READ_PAYLOADS):
        shown = await _shown(visit, row, await _values(visit, row))
    return _page(request, visit, row, shown)


@router.post("/exceptions/{exception}/edit")
async def preview(
    request: Request,
    exception: str,
    act: Annotated[Act, Depends(acts(Permission.OPERATE, {"": ExceptionActionRequested}))],
) -> Response:
    """Show what the corrections would change; nothing is asked for yet.

    A secret that is shown as the mask stays as it is, also on the page that follows: it is put in
    only when the corrections are asked for.
    """
    act.visit.principal.check(Permission.READ_PAYLOADS)
    row = await act.visit.desk.exception(exception)
    typed = {
        name.removeprefix(FIELD): act.json(name) for name in act.form if name.startswith(FIELD)
    }
    desk, values = act.visit.desk, await _values(act.visit, row)
    edited = [Correction(of=of, value=value) for of, value in typed.items()]
    try:
        found = previewed(values, await desk.kept(row.run_id, values, edited))
    except ValueError as error:
        raise FormRefused(f"It can't be corrected so: {error}. Nothing was done.") from None
    changes = [each for each in found if each.changes]
    if not changes:
        raise FormRefused("Nothing is different: expected a value to be changed. Go back.")
    if not act.visit.may(Permission.READ_SECRETS):
        changes = masked_corrections(changes, await desk.secrets(row.run_id))
    shown = await _shown(act.visit, row, values)
    return _page(request, act.visit, row, shown, typed, changes, act.reason)


def _page(
    request: Request,
    visit: Visit,
    row: ExceptionRow,
    values: dict[str, Any] | None,
    typed: dict[str, Any] | None = None,
    changes: list[Corrected] | None = None,
    reason: str = "",
) -> Response:
    """Return the page; ``values`` are None for who may not correct any."""
    known = values or {}
    too_long = [name for name in known if len(orjson.dumps(known[name])) > EDITED_BYTES_MAX]
    shown = {name: value for name, value in known.items() if name not in too_long}
    corrections = [
        {"of": each.of, "path": "", "value": (typed or {})[each.of]} for each in changes or ()
    ]
    return rendered(
        request,
        "correct.html",
        exception=row,
        may=values is not None and row.blocking and row.state in OPEN_EXCEPTIONS,
        values=shown | (typed or {}),
        too_long=too_long,
        changes=[(each.of, change) for each in changes or () for change in each.changes],
        corrections=corrections,
        reason=reason,
        tag=tag_of(row),
    )


async def _values(visit: Visit, row: ExceptionRow) -> dict[str, Any]:
    return values_in(await whole_history(visit.views, row.run_id))


async def _shown(visit: Visit, row: ExceptionRow, values: dict[str, Any]) -> dict[str, Any] | None:
    """Return them as the principal may see them; who reads them is kept."""
    return await visit.desk.values(values, "values", f"run {row.run_id}", row.run_id)
