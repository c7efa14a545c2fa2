"""A workflow whose first step takes longer than a member may be silent."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from meshline.workflow import StepContext, Workflow
from tests.acceptance.support.driven import executed

__all__ = ["SECONDS", "SOURCE", "slow"]

SOURCE = "test.slow"
SECONDS = 1.5


class Errand(BaseModel):
    number: int


class Done(BaseModel):
    number: int


slow = Workflow(
    "slow",
    version=1,
    trigger=Errand,
    source=SOURCE,
    owner="team:drivers",
    exceptions="queue:wrecks",
    outcome=Done,
)


@slow.step
async def walk(trigger: Errand, ctx: StepContext) -> int:
    with executed(ctx):
        await asyncio.sleep(SECONDS)
    return trigger.number


@slow.step
async def hand_over(walk: int, ctx: StepContext) -> Done:
    with executed(ctx):
        return Done(number=walk)
