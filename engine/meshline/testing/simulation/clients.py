"""Whoever asks: each operation with what came of it, as the one who asked knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from meshline.events.envelope import Actor
from meshline.events.errors import (
    AppendRefused,
    AppendUnknown,
    LogUnavailable,
    PayloadRefused,
)
from meshline.events.publish import Answer, Publisher, PublisherSettings, RequestAnswer
from meshline.events.requests import Request, TriggerReceived
from meshline.testing.crowd_people import EVERYWHERE
from meshline.testing.simulation.log import LogServer, SimulatedLog
from meshline.testing.simulation.world import Process

__all__ = ["Client", "Operation"]

_SETTINGS = PublisherSettings(append_deadline_s=6.0, fetch_wait_s=30.0, idle_s=5.0)


@dataclass
class Operation:
    """One thing that was asked: ``name`` stands in the log as its correlation id.

    ``pending``: the client died before it knew. ``unknown``: it was told that nobody knows.
    """

    name: str
    run_id: str
    request: Request
    result: Literal["pending", "ok", "fail", "unknown"] = "pending"
    answer: Answer | RequestAnswer | None = None
    error: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({type(self.request).__name__} of {self.run_id[:8]})"


class Client:
    """A process that asks, now and then, and writes down what it was answered.

    Args:
        ask: gives what is to be asked next; None: nothing any more.
        pause_s: the longest pause between two questions.
        people: who asks, in turn.
    """

    def __init__(
        self,
        process_name: str,
        server: LogServer,
        ask: Callable[[], tuple[str, Request] | None],
        pause_s: float,
        people: Sequence[str] = ("user:ada",),
    ) -> None:
        self.name = process_name
        self.operations: list[Operation] = []
        self._under_way: set[str] = set()
        self._server = server
        self._ask = ask
        self._pause_s = pause_s
        self._people = people

    @property
    def is_idle(self) -> bool:
        return not self._under_way

    async def run(self, process: Process) -> None:
        dice = process.world.random(f"{self.name}/{process.starts}/client")
        stopping = asyncio.Event()
        process.stop = stopping.set
        self._under_way.clear()
        asking: list[asyncio.Task[None]] = []
        publisher = Publisher(
            SimulatedLog(self._server, process),
            clock=process.clock,
            settings=_SETTINGS,
            new_id=lambda: f"{dice.getrandbits(64):016x}",
        )
        async with publisher:
            while not stopping.is_set():
                await asyncio.sleep(dice.random() * self._pause_s)
                asked = None if process.world.is_healed else self._ask()
                if asked is None:
                    await stopping.wait()
                    break
                for _ in range(dice.choice([1, 1, 1, 2])):
                    operation = Operation(f"{self.name}-{len(self.operations)}", *asked)
                    self.operations.append(operation)
                    wait_s = dice.choice([None, 0.5, 8.0, 30.0])
                    work = self._perform(process, publisher, operation, wait_s)
                    asking.append(asyncio.get_running_loop().create_task(work))
            await asyncio.gather(*asking)

    async def _perform(
        self,
        process: Process,
        publisher: Publisher,
        operation: Operation,
        wait_s: float | None,
    ) -> None:
        process.world.tell(self.name, f"asks {operation}")
        self._under_way.add(operation.name)
        try:
            operation.answer = await self._send(publisher, operation, wait_s)
            operation.result = "ok"
        except (AppendRefused, LogUnavailable, PayloadRefused) as error:
            operation.result, operation.error = "fail", str(error)
        except AppendUnknown as error:
            operation.result, operation.error = "unknown", str(error)
        self._under_way.discard(operation.name)
        answer = operation.answer
        said = operation.result if answer is None else f"{answer.status} at {answer.position}"
        process.world.tell(self.name, f"hears of {operation}: {said}")
        if operation.result != "ok" or (isinstance(answer, Answer) and answer.status == "repeated"):
            process.world.strike(f"client_{operation.result}", self.name)

    async def _send(
        self, publisher: Publisher, operation: Operation, wait_s: float | None
    ) -> Answer | RequestAnswer:
        data: Any = operation.request
        if isinstance(data, TriggerReceived):
            return await publisher.publish(
                data.source,
                data.payload,
                trigger_id=data.trigger_id,
                correlation_id=operation.name,
                wait_s=wait_s,
            )
        # What is about all partitions is asked of any one: the others hear of it at other times.
        everywhere = isinstance(data, EVERYWHERE)
        number = int(operation.name.rpartition("-")[2])
        return await publisher.request(
            operation.run_id,
            data,
            actor=Actor("user", self._people[number % len(self._people)]),
            partition=number % self._server.identity.partitions if everywhere else None,
            correlation_id=operation.name,
            wait_s=wait_s,
        )
