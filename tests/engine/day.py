"""A log that a worker wrote: one run that succeeded, and one that is held."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from meshline.engine.settings import WorkerSettings
from meshline.engine.snapshots import SnapshotStore
from meshline.engine.worker import Worker
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.ids import run_id_of
from meshline.events.log import EventLog
from meshline.events.log.reading import records_until
from meshline.events.publish import Publisher
from meshline.workflow import Registry, Retry, Workflow

__all__ = ["GOOD", "HELD", "QUICK", "REGISTRY", "live_a_day", "orders"]

QUICK = WorkerSettings(sweep_s=0.01, reclaim_s=0.05, drain_s=2.0)
GOOD, HELD = run_id_of("shop", "1"), run_id_of("shop", "2")


class Order(BaseModel):
    number: int


class Shipped(BaseModel):
    number: int


def orders(rest: str = "30ms", owner: str = "team:shop", attempts: int = 2) -> Workflow:
    flow = Workflow(
        "orders", trigger=Order, source="shop", owner=owner, exceptions="queue:shop",
        outcome=Shipped,
    )  # fmt: skip
    flow.sleep("rest", rest)

    @flow.step(retry=Retry(attempts=attempts, initial="1ms", maximum="1ms"), after="rest")
    async def ship(trigger: Order) -> Shipped:
        if trigger.number == 2:
            raise RuntimeError("no parcel")
        return Shipped(number=trigger.number)

    return flow


REGISTRY = Registry(orders())


async def live_a_day(log: EventLog, snapshots: SnapshotStore | None = None) -> None:
    """Let a worker write it, and another one claim the partitions after that."""
    worker = Worker(log, REGISTRY, name="w", settings=QUICK, snapshots=snapshots)
    running = asyncio.create_task(worker.run())
    async with asyncio.timeout(90):
        await worker.ready()
    async with Publisher(log) as publisher:
        await publisher.publish("shop", {"number": 1}, trigger_id="1", wait_s=30)
        await publisher.publish("shop", {"number": 2}, trigger_id="2", wait_s=30)
    async with asyncio.timeout(90):
        said: set[type[Any]] = set()
        while not said.issuperset((facts.RunSucceeded, facts.RunHeld)):
            await asyncio.sleep(0.02)
            said = await _said(log)
    worker.stop()
    await running
    other = Worker(log, REGISTRY, name="v", settings=QUICK)
    running = asyncio.create_task(other.run())
    async with asyncio.timeout(90):
        await other.ready()
    other.stop()
    await running


async def _said(log: EventLog) -> set[type[Any]]:
    return {
        type(decode(record.value).data)
        for partition, end in (await log.ends()).items()
        async for records in records_until(log, partition, end)
        for record in records
    }
