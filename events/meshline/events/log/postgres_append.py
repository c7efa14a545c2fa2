"""Appending to PostgreSQL: all that waits goes in one statement while the one before commits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from meshline.events.crash_points import crash_point
from meshline.events.log.postgres_link import LOST, Connection, Link, LinkDown, is_lost
from meshline.events.log.postgres_schema import Statements
from meshline.events.log.protocol import Accepted, AppendResult, Entry, Refused, Unknown
from meshline.events.log.refusing import refusal_of
from meshline.events.log.settings import LogSettings

__all__ = ["Appender"]

logger = logging.getLogger(__name__)

GROUP_BYTES_MAX = 4 * 1024 * 1024
GROUP_RECORDS_MAX = 1_000
"""How much goes in one statement; a single append may be larger, and then it goes alone."""
RETRY_S = 0.02
RETRYABLE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Answers that say: nothing was done, and it may work later."""


@dataclass(slots=True, eq=False)
class _Append:
    partition: int
    entries: Sequence[Entry]
    size_bytes: int
    give_up: float
    answer: asyncio.Future[AppendResult]


class Appender:
    """Writes for one log object, on a connection of its own.

    Args:
        on_appended: is told the new ends by partition after each commit.
    """

    def __init__(
        self,
        dsn: str,
        statements: Statements,
        settings: LogSettings,
        on_appended: Callable[[Mapping[int, int]], None],
    ) -> None:
        self._statements = statements
        self._settings = settings
        self._on_appended = on_appended
        self._link = Link(dsn, "meshline-log-append")
        self._log_id = ""
        self._waiting: deque[_Append] = deque()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, log_id: str) -> None:
        self._log_id = log_id
        self._task = asyncio.create_task(self._run(), name="log append")

    async def aclose(self) -> None:
        """Stop; what still waits is unknown."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for append in self._waiting:
            _answer(append, Unknown("The log was closed before the append was sent."))
        await self._link.aclose()

    async def append(
        self, partition: int, entries: Sequence[Entry], deadline_s: float | None
    ) -> AppendResult:
        assert entries, "an append has at least one entry"
        assert self._task is not None, "open() the log first"
        refusal = refusal_of(entries, self._settings)
        if refusal is not None:
            return refusal
        size_bytes = sum(len(entry.value) for entry in entries)
        loop = asyncio.get_running_loop()
        if deadline_s is None:
            deadline_s = self._settings.append_deadline_s
        append = _Append(
            partition, entries, size_bytes, loop.time() + deadline_s, loop.create_future()
        )
        late = loop.call_later(
            deadline_s,
            _answer,
            append,
            Unknown(f"No answer from PostgreSQL within {deadline_s} s."),
        )
        self._waiting.append(append)
        self._work.set()
        try:
            return await append.answer
        finally:
            late.cancel()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            if self._settings.linger_ms:
                await asyncio.sleep(self._settings.linger_ms / 1000)
            group = self._take()
            if not group:
                self._work.clear()
                continue
            try:
                await self._write(group)
            except Exception:
                # Our mistake; but the next appends must not wait for a task that is gone.
                logger.exception("An append failed in a way that is not provided for.")
                self._link.drop()
                for append in group:
                    _answer(append, Unknown("The append failed; see the program's log."))

    def _take(self) -> list[_Append]:
        group: list[_Append] = []
        size_bytes = records = 0
        while self._waiting:
            append = self._waiting[0]
            # Nobody waits for it any more, and it was never sent.
            if append.answer.done():
                self._waiting.popleft()
                continue
            size_bytes += append.size_bytes
            records += len(append.entries)
            if group and (size_bytes > GROUP_BYTES_MAX or records > GROUP_RECORDS_MAX):
                break
            group.append(self._waiting.popleft())
        return group

    async def _write(self, group: list[_Append]) -> None:
        """Send the group and answer each of its appends."""
        try:
            while group:
                # One attempt to connect at least; those without time left are answered by then.
                give_up = max(append.give_up for append in group)
                connection = await self._link.connection(give_up)
                group = [append for append in group if not append.answer.done()]
                if not group:
                    return
                try:
                    await self._send(connection, group)
                    return
                except RETRYABLE as error:
                    if is_lost(error):
                        raise
                    await asyncio.sleep(RETRY_S)
        except LinkDown as down:
            # Never sent, but there is no word for that: the same bytes may go well later.
            for append in group:
                _answer(append, Unknown(f"PostgreSQL can't be reached: {down.reason}"))
        except LOST as error:
            reason = f"{type(error).__name__}: {error}"
            if is_lost(error):
                self._link.drop()
                for append in group:
                    _answer(append, Unknown(f"The connection was lost during the commit: {reason}"))
            elif len(group) == 1:
                _answer(group[0], Refused(f"PostgreSQL refused the append: {reason}"))
            else:
                for append in group:
                    await self._write([append])
        except asyncio.CancelledError:
            for append in group:
                _answer(append, Unknown("The log was closed while the append was under way."))
            raise

    async def _send(self, connection: Connection, group: list[_Append]) -> None:
        counts: dict[int, int] = {}
        partitions: list[int] = []
        places: list[int] = []
        keys: list[str] = []
        values: list[bytes] = []
        begins: list[int] = []
        for append in group:
            place = counts.get(append.partition, 0)
            begins.append(place)
            for entry in append.entries:
                partitions.append(append.partition)
                places.append(place)
                keys.append(entry.key)
                values.append(entry.value)
                place += 1
            counts[append.partition] = place
        crash_point("append.before")
        rows = await connection.fetch(
            self._statements.append,
            self._log_id,
            list(counts),
            partitions,
            places,
            keys,
            values,
            # A connection that is dead without saying so holds up the others no longer than this.
            timeout=self._settings.append_deadline_s,
        )
        crash_point("append.sent")
        if not rows:
            for append in group:
                _answer(append, Refused(
                    f"The log {self._log_id} is no more: it was dropped or made again. Restart."
                ))  # fmt: skip
            return
        firsts = {row["partition"]: row["first"] for row in rows}
        self._on_appended({p: first + counts[p] for p, first in firsts.items()})
        for append, begin in zip(group, begins, strict=True):
            first = firsts[append.partition] + begin
            _answer(append, Accepted(first, first + len(append.entries) - 1, contiguous=True))


def _answer(append: _Append, result: AppendResult) -> None:
    if not append.answer.done():
        append.answer.set_result(result)
