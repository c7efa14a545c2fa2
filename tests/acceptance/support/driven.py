"""A workflow for the kills: each kind of order takes another way through it, with a known end.

Every execution is written to a file, line by line, so that what really ran can be held against
what the log says. The folder is MESHLINE_TEST_EXECUTIONS.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel

from meshline.workflow import Approval, FailRun, Retry, StepContext, Workflow

Kind = Literal[
    "plain", "flaky", "rested", "approved", "denied", "asked", "undone", "broken",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

ENDS: dict[Kind, str] = {
    "plain": "succeeded",
    "flaky": "succeeded",
    "rested": "succeeded",
    "approved": "succeeded",
    "denied": "cancelled",
    "asked": "waiting",
    "undone": "failed",
    "broken": "held",
}
"""How a run of each kind stands when all is done."""

FAILURES_OF_FLAKY = 2
EXECUTIONS = "executions.txt"


class Order(BaseModel):
    number: int
    kind: Kind


class Noted(BaseModel):
    number: int


class Delivered(BaseModel):
    number: int


class Unavailable(Exception):
    """It may work next time."""


@contextmanager
def executed(ctx: StepContext) -> Iterator[None]:
    """Write down that the try begins, and that it ends well."""
    _write(f"begin {ctx.run_id} {ctx.step} {ctx.attempt} {os.getpid()}\n")
    yield
    _write(f"end {ctx.run_id} {ctx.step} {ctx.attempt} {os.getpid()}\n")


def _write(line: str) -> None:
    # One write of a short line to a file opened for appending: whole or not at all.
    folder = os.environ["MESHLINE_TEST_EXECUTIONS"]
    file = os.open(Path(folder) / EXECUTIONS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, line.encode())
    os.close(file)


driven = Workflow(
    "driven",
    version=1,
    trigger=Order,
    source="test.orders",
    owner="team:drivers",
    exceptions="queue:wrecks",
    outcome=Delivered,
    due="3d",
)

patient = Retry(attempts=FAILURES_OF_FLAKY + 1, initial="50ms", maximum="200ms")


@driven.step(retry=patient, timeout="10s")
async def prepare(trigger: Order, ctx: StepContext) -> Noted:
    with executed(ctx):
        await asyncio.sleep((5 + trigger.number % 20) / 1000)
        if trigger.kind == "flaky" and ctx.attempt <= FAILURES_OF_FLAKY:
            raise Unavailable("not yet")
    return Noted(number=trigger.number)


@driven.step
def weigh(trigger: Order, ctx: StepContext) -> Noted:
    """A plain function, beside `prepare`."""
    with executed(ctx):
        time.sleep(0.002)
    return Noted(number=trigger.number)


async def release(result: Noted, ctx: StepContext) -> None:
    with executed(ctx):
        await asyncio.sleep(0.005)


@driven.step(compensate=release)
async def reserve(prepare: Noted, weigh: Noted, ctx: StepContext) -> Noted:
    with executed(ctx):
        await asyncio.sleep(0.005)
    return Noted(number=prepare.number)


driven.sleep("rest", "400ms", when=lambda trigger: trigger.kind == "rested", after=reserve)
driven.approval(
    "consent",
    by="role:lead",
    due="3d",
    when=lambda trigger: trigger.kind in ("approved", "denied", "asked"),
    after=reserve,
)


@driven.step(retry=Retry(attempts=3, initial="50ms", maximum="100ms"), after="rest")
async def deliver(
    trigger: Order, reserve: Noted, consent: Approval | None, ctx: StepContext
) -> Delivered:
    with executed(ctx):
        await asyncio.sleep((5 + trigger.number % 30) / 1000)
        if trigger.kind == "undone":
            raise FailRun("it can't be delivered")
        if trigger.kind == "broken":
            raise Unavailable("never")
        assert consent is None or consent.approved
    return Delivered(number=reserve.number)
