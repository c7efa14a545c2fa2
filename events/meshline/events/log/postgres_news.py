"""What is known of the log's ends, and who waits for more: notifications, with a poll behind them.

A notification is only a hint that saves waiting for the next poll; losing one loses no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import asyncpg

from meshline.events.errors import LogIdentityChanged, MeshlineError, PositionLost
from meshline.events.log.postgres_link import ANSWER_S, LOST, Connection, Link, LinkDown, is_lost
from meshline.events.log.postgres_schema import Statements
from meshline.events.log.waiting import wait_at_most

__all__ = ["News"]

T = TypeVar("T")

POLL_S = 0.5
"""How late a reader is when a notification was lost."""
TURN_S = 0.2
"""How long who doesn't want to wait waits for others that use the connection."""
NOTIFY_PAUSE_S = 0.002
"""Between two notifications; what is appended meanwhile goes into the next one."""
NOTIFY_PARTITIONS_MAX = 200
"""In one notification, whose payload may have at most 8,000 bytes."""


class News:
    """Knows by partition where the log ends, at least; tells the readers when it grows.

    It has a connection of its own, on which it listens, polls while somebody reads, and asks what
    others want to know.
    """

    def __init__(self, dsn: str, statements: Statements) -> None:
        self._statements = statements
        self._link = Link(dsn, "meshline-log", self._listen)
        self._turn = asyncio.Lock()
        self._ends: dict[int, int] = {}
        self._log_id = ""
        self._failure: MeshlineError | None = None
        self._untold: dict[int, int] = {}
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.readers: set[asyncio.Event] = set()
        self.on_members: set[Callable[[str], None]] = set()

    def start(self, log_id: str) -> None:
        self._log_id = log_id
        self._task = asyncio.create_task(self._run(), name="log news")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._link.aclose()

    # -- what is known ---------------------------------------------------------------------------

    def end(self, partition: int) -> int:
        """Return an offset up to which there are records for sure; there may be more.

        Raises:
            LogIdentityChanged: the log was dropped or made again.
            PositionLost: the log was cut off.
        """
        if self._failure is not None:
            raise self._failure
        return self._ends.get(partition, 0)

    def grown(self, ends: Mapping[int, int], *, by_us: bool) -> None:
        """Take note of new ends and wake the readers; tell the other processes of our own."""
        news = False
        for partition, end in ends.items():
            if end > self._ends.get(partition, 0):
                self._ends[partition] = end
                news = True
                if by_us:
                    self._untold[partition] = end
        if news:
            self._wake_readers()
            if by_us:
                self._work.set()

    def recreated(self, found: str) -> LogIdentityChanged:
        self._failure = LogIdentityChanged(
            f"The log in schema {self._statements.schema!r} is {found or 'gone'}: expected "
            f"{self._log_id}, which was read before. It was dropped or made again: restore it, or "
            "restart with an empty state."
        )
        self._wake_readers()
        return self._failure

    def _wake_readers(self) -> None:
        for reader in self.readers:
            reader.set()

    async def refresh(self, give_up: float) -> dict[int, int]:
        """Ask the database for the ends and return them.

        Raises:
            LinkDown: nobody answered until then.
            LogIdentityChanged: the log was dropped or made again.
            PositionLost: the log was cut off.
        """
        known = dict(self._ends)
        try:
            rows = await self.ask(self._statements.ends, give_up=give_up)
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            raise self.recreated("") from None
        strange = {row["log_id"] for row in rows} - {self._log_id}
        if strange or not rows:
            raise self.recreated(", ".join(sorted(strange)))
        ends: dict[int, int] = {row["partition"]: row["end"] or 0 for row in rows}
        # What was known before the question was asked is in the answer, or it was taken away.
        for partition, end in ends.items():
            if end < known.get(partition, 0):
                self._ends[partition] = end
                self._failure = PositionLost(
                    f"Partition {partition} ends at {end}, but at {known[partition]} before: the "
                    "log was cut off. Do not go on; restore the log."
                )
                self._wake_readers()
                raise self._failure
        self.grown(ends, by_us=False)
        return ends

    # -- the connection --------------------------------------------------------------------------

    async def ask(self, query: str, *arguments: object, give_up: float) -> list[asyncpg.Record]:
        """Return the rows of a query, asked again if the connection is lost.

        Raises:
            LinkDown: nobody answered until then.
        """

        async def work(connection: Connection) -> list[asyncpg.Record]:
            return await connection.fetch(query, *arguments, timeout=ANSWER_S)

        return await self.within(work, give_up=give_up)

    async def within(self, work: Callable[[Connection], Awaitable[T]], *, give_up: float) -> T:
        """Run ``work``, which does no harm when it is run twice, on the connection.

        Raises:
            LinkDown: nobody answered until then.
        """
        try:
            async with asyncio.timeout_at(max(give_up, asyncio.get_running_loop().time() + TURN_S)):
                await self._turn.acquire()
        except TimeoutError:
            raise LinkDown("the connection is busy") from None
        try:
            while True:
                connection = await self._link.connection(give_up)
                try:
                    return await work(connection)
                except LOST as error:
                    if not is_lost(error):
                        raise
                    self._link.drop()
                    if asyncio.get_running_loop().time() >= give_up:
                        raise LinkDown(f"{type(error).__name__}: {error}") from error
        finally:
            self._turn.release()

    async def _listen(self, connection: Connection) -> None:
        await connection.add_listener(self._statements.channel, self._on_notification)

    def _on_notification(self, _: Any, pid: int, channel: str, payload: object) -> None:
        kind, _, rest = str(payload).partition(" ")
        if kind == "members":
            for on_members in self.on_members:
                on_members(rest)
        elif kind == "ends":
            pairs = (pair.split(":") for pair in rest.split(","))
            self.grown({int(partition): int(end) for partition, end in pairs}, by_us=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        polled = loop.time()
        while True:
            await wait_at_most(POLL_S, self._work)
            self._work.clear()
            give_up = loop.time() + POLL_S
            try:
                if self._untold:
                    await self._tell(give_up)
                    await asyncio.sleep(NOTIFY_PAUSE_S)
                if loop.time() - polled >= POLL_S and (self.readers or not self._link.is_up):
                    polled = loop.time()
                    await self.refresh(give_up)
            except LinkDown:
                await asyncio.sleep(POLL_S)
            except MeshlineError:
                # Kept for the readers, who raise it.
                pass
            except asyncpg.PostgresError:
                # Such as a server that is read-only for a while: the next poll tries again.
                await asyncio.sleep(POLL_S)

    async def _tell(self, give_up: float) -> None:
        told = dict(list(self._untold.items())[:NOTIFY_PARTITIONS_MAX])
        payload = ",".join(f"{partition}:{end}" for partition, end in told.items())
        await self.ask(
            "SELECT pg_notify($1, $2)", self._statements.channel, f"ends {payload}", give_up=give_up
        )
        for partition, end in told.items():
            if self._untold.get(partition) == end:
                del self._untold[partition]
        if self._untold:
            self._work.set()
