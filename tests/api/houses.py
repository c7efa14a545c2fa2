"""A house that somebody measures before it is listed."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshline.workflow import Workflow

__all__ = ["HOUSES", "houses"]

HOUSES = "crm.houses"


class House(BaseModel):
    street: str


class Listed(BaseModel):
    text: str


houses = Workflow(
    "houses", version=1, trigger=House, source=HOUSES, owner="team:listing",
    exceptions="queue:listing", outcome=Listed, due="9d",
)  # fmt: skip


@houses.task("measure", by="team:site", due="2d", priority="high")
class Measured(BaseModel):
    """What was found on the spot."""

    metres: int = Field(title="Square metres", gt=0)
    floor: str = "ground"


@houses.step
async def describe(trigger: House, measure: Measured) -> Listed:
    return Listed(text=f"{trigger.street}, {measure.metres} m2, {measure.floor} floor")
