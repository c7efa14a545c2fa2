"""A client as a process of its own: publishes orders, says yes or no, and notes what it was told.

Each operation is written down before it begins and when its answer is there (see history.py). What
was not answered `ok` is asked again, as another operation; so does a client that was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from meshline.events import Publisher, PublisherSettings
from meshline.events.errors import AppendUnknown, LogUnavailable, MeshlineError
from meshline.events.ids import run_id_of
from meshline.events.log import open_log
from meshline.events.requests import ApprovalSubmitted
from meshline.projections.postgres_connection import parse_address
from tests.acceptance.support.driven import KINDS
from tests.acceptance.support.driving import LEAD, SOURCE, order_of
from tests.acceptance.support.process_entry import QUICK, run_until_stopped, stop_at_signal
from tests.faults.support.history import answered_in

UNDER_WAY_MAX = 16
AGAIN_S = 1.0
ASK_S = 1.0
"""How often to look which approvals are asked for."""

SETTINGS = PublisherSettings(append_deadline_s=4.0)


class Notes:
    """The client's history, line by line."""

    def __init__(self, file: Path) -> None:
        # One write of a line to a file opened for appending: whole or not at all.
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._count = 0

    def write(self, **line: Any) -> None:
        os.write(self._file, orjson.dumps(line) + b"\n")

    async def operation(self, about: str, ask: Callable[[str], Awaitable[Any]]) -> bool:
        """Do it and note it; return whether the answer was `ok`.

        Args:
            about: what it is about, the same for every time that it is asked.
            ask: is handed the operation's id, which is to be found in the log.
        """
        self._count += 1
        operation = f"{os.getpid()}-{self._count}"
        self.write(op=operation, said="begin", about=about)
        try:
            answer = await ask(operation)
        except AppendUnknown as error:
            self.write(op=operation, said="unknown", why=str(error))
        except (LogUnavailable, MeshlineError) as error:
            # Each of them says of itself that nothing was appended.
            self.write(op=operation, said="fail", why=str(error))
        else:
            position = [*answer.position]
            self.write(op=operation, said="ok", position=position, status=answer.status)
            return True
        return False


class Client:
    def __init__(self, publisher: Publisher, notes: Notes) -> None:
        self._publisher = publisher
        self._notes = notes
        self._room = asyncio.Semaphore(UNDER_WAY_MAX)
        self._orders: set[asyncio.Task[None]] = set()

    async def publish(self, numbers: list[int], every_s: float) -> None:
        """Publish the orders one after the other, and each again until the log has it."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in numbers:
            due = max(due + every_s, loop.time() - 5.0)
            await asyncio.sleep(due - loop.time())
            await self._room.acquire()
            task = asyncio.create_task(self._order(number))
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)
        while self._orders:
            await asyncio.wait(self._orders)

    async def _order(self, number: int) -> None:
        async def ask(operation: str) -> Any:
            return await self._publisher.publish(
                SOURCE,
                order_of(number),
                trigger_id=str(number),
                trigger_type="Order",
                correlation_id=operation,
                # Some wait to hear what became of it.
                wait_s=3.0 if number % 5 == 0 else None,
            )

        try:
            while not await self._notes.operation(f"order {number}", ask):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_S)
        finally:
            self._room.release()

    async def consent(self, views: str) -> None:
        """Answer what is asked for, as each order's kind wants it."""
        address = parse_address(views)
        pool = await asyncpg.create_pool(address.dsn, min_size=0, max_size=1, command_timeout=3)
        asked = (
            f"select run_id, trigger_id from {address.namespace}.tasks"
            f" join {address.namespace}.runs using (run_id) where tasks.state = 'requested'"
        )
        while True:
            try:
                async with asyncio.timeout(5):
                    rows = await pool.fetch(asked)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                rows = []
            for row in rows:
                if KINDS[int(row["trigger_id"]) % len(KINDS)] != "asked":
                    await self._decide(int(row["trigger_id"]))
            await asyncio.sleep(ASK_S)

    async def _decide(self, number: int) -> None:
        is_yes = KINDS[number % len(KINDS)] == "approved"
        answer = ApprovalSubmitted(
            approval="consent", decision="approved" if is_yes else "denied", reason="as it should"
        )

        async def ask(operation: str) -> Any:
            return await self._publisher.request(
                run_id_of(SOURCE, str(number)), answer, actor=LEAD, correlation_id=operation
            )

        await self._notes.operation(f"consent {number}", ask)


async def opened(address: str) -> Any:
    while True:
        log = open_log(address, QUICK)
        try:
            await log.open()
        except LogUnavailable:
            await asyncio.sleep(AGAIN_S)
        else:
            return log


async def run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    stop_at_signal(stop.set)
    log = await opened(given.log)
    done = answered_in(given.history)
    numbers = [
        number
        for number in range(given.first, given.orders, given.step)
        if f"order {number}" not in done
    ]
    async with Publisher(log, settings=SETTINGS) as publisher:
        client = Client(publisher, Notes(given.history))
        tasks = [asyncio.create_task(client.publish(numbers, given.every_s))]
        if given.views:
            tasks.append(asyncio.create_task(client.consent(given.views)))
        stopping = asyncio.create_task(stop.wait())
        while not stopping.done():
            pending = [task for task in (*tasks, stopping) if not task.done()]
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await log.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument(
        "--views", help="where to see what is asked for; without, it only publishes"
    )
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--first", type=int, required=True, help="its first order …")
    parser.add_argument("--step", type=int, required=True, help="… and every so many further on")
    parser.add_argument("--orders", type=int, required=True)
    parser.add_argument("--every-s", type=float, required=True)
    run_until_stopped(run(parser.parse_args()))
