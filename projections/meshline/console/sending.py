"""Sending a trigger from the console: a refused one set right, or one to try a workflow with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from meshline.api.principals import Permission
from meshline.console.reading import Reader, values_of
from meshline.console.rendering import rendered
from meshline.console.visit import WAIT_S, Act, FormRefused, Visit, acts
from meshline.events.publish import Answer
from meshline.events.requests import TriggerReceived
from meshline.events.secrets import NOTHING, holds_mask, kept
from meshline.projections.masking import Definitions
from meshline.projections.run_values import TRIGGER
from meshline.projections.triggers_view import TriggerRow

__all__ = ["example_of", "router"]

router = APIRouter()
Text = Annotated[str, Query(max_length=300)]
_DEPTH_MAX = 5
_EXAMPLES: dict[str, Any] = {
    "string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None,
}  # fmt: skip


@router.get("/triggers/send")
async def compose(
    request: Request,
    visit: Reader,
    source: Text = "",
    trigger_id: Annotated[str, Query(alias="id", max_length=300)] = "",
) -> Response:
    """Show a trigger to be sent: the refused one with this id, or one as the workflow takes it."""
    refused = await _refused(visit, source, trigger_id)
    if refused is None:
        return await _page(request, visit, source, trigger_id)
    payload = (await values_of(visit, refused, f"trigger {trigger_id} of {source}"))["payload"]
    return await _page(
        request, visit, source, trigger_id, refused.trigger_type, payload, refused=refused
    )


@router.post("/triggers/send")
async def send(
    request: Request,
    act: Annotated[Act, Depends(acts(Permission.PUBLISH, {"": TriggerReceived}))],
) -> Response:
    """Publish it in the name of who is signed in; a refusal is shown with what is wrong."""
    source, trigger_id = act.text("source"), act.text("id")
    if not source or not trigger_id:
        raise FormRefused("A trigger has a source and an id of the source's own: expected both.")
    visit = act.visit
    visit.desk.check_source(source)
    payload = act.json("payload")
    whole = await _whole(visit, source, trigger_id, payload)
    answer = await visit.services.publisher.publish(
        source, whole, trigger_id=trigger_id, trigger_type=act.text("type"),
        actor=visit.principal.actor, wait_s=WAIT_S,
    )  # fmt: skip
    if answer.status == "rejected":
        kind = act.text("type")
        return await _page(request, visit, source, trigger_id, kind, payload, answer=answer)
    if answer.status == "appended":
        # Nobody has decided yet: there may be no run.
        asked = urlencode({"source": answer.source, "id": answer.trigger_id})
        return RedirectResponse(f"/triggers?{asked}", 303)
    return RedirectResponse(f"/runs/{answer.run_id}?at={answer.decided_at or answer.position}", 303)


async def _whole(visit: Visit, source: str, trigger_id: str, typed: Any) -> Any:
    """Return what was typed with the secrets of the refused trigger where their mask was left."""
    if not holds_mask(typed):
        return typed
    refused = await _refused(visit, source, trigger_id)
    before, places = None, NOTHING
    if refused is not None:
        definitions = Definitions(await visit.services.views.workflows())
        before, places = refused.payload, definitions.of_trigger_row(refused).of(TRIGGER)
    try:
        return kept(typed, before, places)
    except ValueError as error:
        raise FormRefused(f"{error}. Go back and correct it; nothing was sent.") from None


async def _page(
    request: Request,
    visit: Visit,
    source: str,
    trigger_id: str,
    trigger_type: str = "",
    payload: Any = None,
    *,
    refused: TriggerRow | None = None,
    answer: Answer | None = None,
) -> Response:
    """Return the form; without a payload it begins as the source's newest workflow takes it."""
    definitions = await visit.views.workflows()
    own = [each for each in definitions if each.source == source]
    newest = max(own, key=lambda each: each.version, default=None)
    schema = {} if newest is None else (newest.spec or {}).get("trigger", {}).get("schema", {})
    return rendered(
        request,
        "send.html",
        status=200 if answer is None else 422,
        source=source,
        trigger_id=trigger_id,
        trigger_type=trigger_type,
        refused=refused,
        value=example_of(schema) if payload is None else payload,
        schema=schema,
        sources=sorted({each.source for each in definitions}),
        answer=answer,
        may=visit.may(Permission.PUBLISH),
    )


async def _refused(visit: Visit, source: str, trigger_id: str) -> TriggerRow | None:
    if not source or not trigger_id:
        return None
    page = await visit.views.triggers(
        statuses=["rejected"], source=source, trigger_id=trigger_id, limit=1
    )
    return page.rows[0] if page.rows else None


def example_of(schema: Mapping[str, Any]) -> Any:
    """Return a value of the JSON schema's shape to begin with: its defaults, and else empty."""
    return _example(schema, schema.get("$defs", {}), 0)


def _example(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
    if "default" in schema:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    if "$ref" in schema and depth < _DEPTH_MAX:
        return _example(defs.get(schema["$ref"].rpartition("/")[2], {}), defs, depth + 1)
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _example(schema[several][0], defs, depth + 1)
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {}) if depth < _DEPTH_MAX else {}
        return {name: _example(each, defs, depth + 1) for name, each in properties.items()}
    return _EXAMPLES.get(str(schema.get("type")))
