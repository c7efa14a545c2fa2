"""Webhooks over HTTP: a signed body is a trigger, and the sender's id is the trigger's."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from meshline.api.access import Requirement
from meshline.api.desk import Services
from meshline.api.principals import Permission
from meshline.api.problems import Unauthenticated, documented
from meshline.api.refusals import Attempt
from meshline.api.signatures import verified
from meshline.api.webhooks import Webhook, Webhooks
from meshline.events.clock import SystemClock
from meshline.events.envelope import Actor
from meshline.events.pointers import steps_of
from meshline.events.requests import TriggerReceived

__all__ = ["router"]

router = APIRouter(prefix="/v1/hooks", tags=["webhooks"])


class Delivered(BaseModel):
    """The delivery is in the log for good, as the trigger of run ``run_id``.

    ``rejected``: it can't be read, and is kept for a person to see; sending it again helps nobody.
    ``ignored``: it says only that somebody is there.
    """

    status: Literal["appended", "rejected", "ignored"]
    run_id: str | None = None
    position: str | None = None


class Delivery(NamedTuple):
    """A body that was signed with a secret of the webhook."""

    name: str
    webhook: Webhook
    body: bytes
    delivery: str | None


class _SignedRequirement(Requirement):
    """The dependency of the route: the signature stands in for a key."""

    def __init__(self) -> None:
        super().__init__(Permission.PUBLISH, TriggerReceived)

    async def __call__(self, request: Request) -> Delivery:  # type: ignore[override]
        state = request.app.state
        webhooks: Webhooks | None = state.webhooks
        name = request.path_params["hook"]
        webhook = None if webhooks is None else webhooks.all().get(name)
        body = await request.body()
        signed = None
        if webhook is not None:
            signed = verified(
                webhook.scheme, request.headers, body, webhook.secrets,
                SystemClock().now().timestamp(), webhook.tolerance_s,
            )  # fmt: skip
        if webhook is None or signed is None:
            # One answer for a name that there is not and a signature that does not fit.
            state.unknown.take("")
            error = Unauthenticated(
                f"No secret of a webhook {name[:60]!r} has signed this: expected a signature over "
                "the body as it is, not older than the webhook allows."
            )
            claimed = request.headers.get("webhook-id") or request.headers.get("x-github-delivery")
            if webhook is not None and claimed:
                services: Services = state.services
                attempt = Attempt(TriggerReceived, trigger=(webhook.source, claimed))
                services.refusals.note(attempt, None, error)
            raise error
        state.rates.take(f"webhook {name}")
        return Delivery(name, webhook, body, signed.delivery)


_BODY = {
    "required": True,
    "description": "Whatever the sender sends, as JSON, signed with the webhook's secret.",
    "content": {"application/json": {"schema": {}}},
}


@router.post(
    "/{hook}",
    status_code=202,
    responses=documented(411, 413, 415, 422),
    openapi_extra={"requestBody": _BODY, "security": []},
)
async def receive_webhook(
    request: Request, hook: str, delivery: Annotated[Delivery, Depends(_SignedRequirement())]
) -> Delivered:
    """Take a delivery of a webhook: Standard Webhooks, GitHub's or Stripe's signature.

    The sender's id is the trigger's: the same delivery again is the same run.
    """
    if request.headers.get("x-github-event") == "ping":
        return Delivered(status="ignored")
    services: Services = request.app.state.services
    answer = await services.publisher.publish_raw(
        delivery.webhook.source,
        delivery.body,
        trigger_id=_id_of(delivery),
        trigger_type=delivery.webhook.type,
        actor=Actor("service", f"service:webhook-{hook}"),
    )
    status: Literal["appended", "rejected"] = (
        "rejected" if answer.status == "rejected" else "appended"
    )
    return Delivered(status=status, run_id=answer.run_id, position=str(answer.position))


def _id_of(delivery: Delivery) -> str:
    pointer = delivery.webhook.identity
    if pointer is None:
        # The publisher keeps what has no id under one of its own, for a person to see.
        return delivery.delivery or ""
    try:
        value: Any = orjson.loads(delivery.body)
        for step in steps_of(pointer):
            value = value[step]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
