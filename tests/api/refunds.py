"""The workflow of another team: refunds that a person approves, and some that can't be paid."""

from __future__ import annotations

from pydantic import BaseModel

from meshline.workflow import Approval, Retry, Workflow

__all__ = ["REFUNDS", "refunds"]

REFUNDS = "shop.refunds"


class RefundAsked(BaseModel):
    order: str


class Refunded(BaseModel):
    receipt: str


refunds = Workflow(
    "refunds",
    version=1,
    trigger=RefundAsked,
    source=REFUNDS,
    owner="team:support",
    exceptions="queue:support",
    outcome=Refunded,
    due="2d",
)


@refunds.step(retry=Retry(attempts=1))
async def look_up(trigger: RefundAsked) -> str:
    if trigger.order == "lost":
        raise LookupError("no such order")
    return trigger.order


large = refunds.approval("large", when=lambda look_up: True, by="role:lead", due="4h")


@refunds.step
async def pay(look_up: str, large: Approval | None) -> Refunded:
    return Refunded(receipt=look_up)
