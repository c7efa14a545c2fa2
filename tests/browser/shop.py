"""Orders that are checked, approved and shipped; the carrier works where it is told to."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshline.workflow import Approval, Retry, Workflow

__all__ = ["CARRIER", "MISTYPED", "SOURCE", "Carrier", "orders"]

SOURCE = "shop.orders"


MISTYPED = "Acme Gmbx"
"""A customer whose name has no address."""


class Carrier:
    """Takes parcels, or not."""

    is_down = False


CARRIER = Carrier()


class CarrierDown(Exception):
    """The carrier takes nothing now."""


class NoAddress(Exception):
    """Nobody knows where the customer lives."""


class OrderPlaced(BaseModel):
    customer: str
    euros: int = Field(gt=0)
    note: str = ""


class Shipped(BaseModel):
    parcel: str


orders = Workflow(
    "orders",
    version=1,
    trigger=OrderPlaced,
    source=SOURCE,
    owner="team:fulfilment",
    exceptions="queue:dispatch",
    outcome=Shipped,
    due="2d",
    description="An order that was placed becomes a parcel, with an owner all the way.",
)


@orders.step
async def check_stock(trigger: OrderPlaced) -> str:
    """See that it is there."""
    return f"shelf {trigger.euros % 9}"


@orders.assign
def route(trigger: OrderPlaced) -> str:
    """Large orders have a team of their own."""
    return "team:key-accounts" if trigger.euros > 500 else "team:fulfilment"


@orders.approval(
    "credit", when=lambda trigger: trigger.euros > 500, by="role:credit", due="4h",
    escalate="team:finance",
)  # fmt: skip
class Credit(BaseModel):
    """Terms for a large order."""

    discount_percent: int = Field(ge=0, le=40, description="Off the list price.")
    insured: bool = True


@orders.step(retry=Retry(attempts=2, initial="10ms"))
async def ship(
    trigger: OrderPlaced, check_stock: str, credit: Approval | None, idempotency_key: str
) -> Shipped:
    """Hand it to the carrier."""
    if trigger.customer == MISTYPED:
        raise NoAddress(f"There is no address of {trigger.customer!r}")
    if CARRIER.is_down and trigger.note != "ship anyway":
        raise CarrierDown(f"The carrier takes nothing from {check_stock} now")
    return Shipped(parcel=f"P-{idempotency_key[:6]}")
