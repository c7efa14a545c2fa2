"""A workflow that takes whatever passes the gate, hands it on, and stumbles over it in words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, RootModel

from meshline.workflow import Retry, Workflow

__all__ = ["SOURCE", "anything", "good"]

SOURCE = "test.anything"


class Anything(RootModel[Any]):
    pass


class Good(BaseModel):
    number: int


class Doubled(BaseModel):
    number: int


anything = Workflow(
    "anything",
    version=1,
    trigger=Anything,
    source=SOURCE,
    owner="team:drivers",
    exceptions="queue:wrecks",
    outcome=Anything,
    outcome_step="echo",
)


@anything.step
async def echo(trigger: Anything) -> Anything:
    return trigger


@anything.step(retry=Retry(attempts=1))
async def stumble(echo: Anything) -> None:
    """What a program says when it fails often holds what it failed on, as it came."""
    raise RuntimeError(f"can't work on {echo.root!r} \x00 \ud800")


good = Workflow(
    "good",
    version=1,
    trigger=Good,
    source=SOURCE,
    owner="team:drivers",
    exceptions="queue:wrecks",
    outcome=Doubled,
)


@good.step
async def double(trigger: Good) -> Doubled:
    return Doubled(number=2 * trigger.number)
