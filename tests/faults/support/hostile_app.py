"""Steps that do all the harm they can, beside one that does its work."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any, Literal, get_args

from pydantic import BaseModel

from meshline.workflow import Retry, Workflow

__all__ = ["ENDS", "HARMS", "SOURCE", "hostile"]

SOURCE = "test.hostile"

Harm = Literal[
    "none", "loops", "blocks", "hangs", "deaf", "vast", "exits", "interrupts", "raises odd",
    "stops iterating", "floods",
]  # fmt: skip
HARMS: tuple[Harm, ...] = get_args(Harm)

ENDS: dict[Harm, str] = {
    "none": "",
    "loops": "StepBlockedLoop",
    "blocks": "StepBlockedLoop",
    "hangs": "StepTimedOut",
    "deaf": "StepTimedOut",
    "vast": "ResultRefused:too_large",
    "exits": "SystemExit",
    "interrupts": "KeyboardInterrupt",
    "raises odd": "Odd",
    "stops iterating": "RuntimeError",
    "floods": "RuntimeError",
}
"""The error with which the run is held; without one it succeeds."""


class Job(BaseModel):
    number: int
    harm: Harm


class Done(BaseModel):
    number: int


class Odd(BaseException):
    pass


hostile = Workflow(
    "hostile",
    version=1,
    trigger=Job,
    source=SOURCE,
    owner="team:drivers",
    exceptions="queue:wrecks",
    outcome=Done,
)

ONCE = Retry(attempts=1)


@hostile.step(retry=ONCE, timeout="60s")
async def on_the_loop(trigger: Job) -> Any:
    await asyncio.sleep(0)
    if trigger.harm == "loops":
        while True:
            pass
    if trigger.harm == "blocks":
        time.sleep(30)  # noqa: ASYNC251 - what is forbidden
    if trigger.harm == "vast":
        return "x" * 10**9
    if trigger.harm == "exits":
        sys.exit(3)
    if trigger.harm == "interrupts":
        raise KeyboardInterrupt
    if trigger.harm == "raises odd":
        raise Odd("odd")
    if trigger.harm == "floods":
        raise RuntimeError("\ud800\x00" + "x" * 50_000_000)
    return os.getpid()


@hostile.step(retry=ONCE, timeout="4s")
async def deaf(trigger: Job) -> None:
    while trigger.harm == "deaf":
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


@hostile.step(retry=ONCE, timeout="4s", after=on_the_loop)
def in_a_thread(trigger: Job) -> Done:
    if trigger.harm == "hangs":
        time.sleep(100_000)
    if trigger.harm == "stops iterating":
        return next(iter(()))
    return Done(number=trigger.number)
