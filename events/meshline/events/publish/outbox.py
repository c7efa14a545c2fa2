"""What waits to be appended: grouped by partition into batches, one under way per partition."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from meshline.events.codec import decode
from meshline.events.envelope import Position
from meshline.events.errors import (
    AppendRefused,
    AppendUnknown,
    EventUnreadable,
    EventVersionUnknown,
    PublisherClosed,
)
from meshline.events.log import Accepted, EventLog, LogRecord, Refused
from meshline.events.publish.outgoing import Outgoing
from meshline.events.publish.settings import PublisherSettings
from meshline.events.publish.tail import Tail

__all__ = ["Outbox"]

RETRY_DELAY_S_MAX = 1.0


class Outbox:
    """Appends what is put into it, in the order of each partition."""

    def __init__(self, log: EventLog, tail: Tail, settings: PublisherSettings) -> None:
        self._log = log
        self._tail = tail
        self._settings = settings
        self._queues: dict[int, deque[Outgoing]] = {}
        self._senders: dict[int, asyncio.Task[None]] = {}
        self._unsent_bytes = 0
        self._in_line: deque[tuple[asyncio.Future[None], int]] = deque()
        self._closed = False

    async def put(self, outgoing: Outgoing) -> None:
        """Take the request, as soon as there is room for it.

        Raises:
            PublisherClosed: the outbox is closed; the request was not appended.
        """
        self._check_open()
        if outgoing.decided is not None:
            await self._tail.prepare()
        await self._reserve(outgoing.size_bytes)
        self._queues.setdefault(outgoing.partition, deque()).append(outgoing)
        if outgoing.partition not in self._senders:
            self._senders[outgoing.partition] = asyncio.create_task(self._send(outgoing.partition))

    def _check_open(self) -> None:
        if self._closed:
            raise _closed()

    def _fits(self, size_bytes: int) -> bool:
        unsent_bytes = self._unsent_bytes + size_bytes
        return not self._unsent_bytes or unsent_bytes <= self._settings.unsent_bytes_max

    async def _reserve(self, size_bytes: int) -> None:
        """Wait in line for room; who comes later never overtakes."""
        self._check_open()
        if not self._in_line and self._fits(size_bytes):
            self._unsent_bytes += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_line.append((turn, size_bytes))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(size_bytes)
            raise

    def _release(self, size_bytes: int) -> None:
        self._unsent_bytes -= size_bytes
        while self._in_line and self._fits(self._in_line[0][1]):
            turn, wanted_bytes = self._in_line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._unsent_bytes += wanted_bytes

    async def _send(self, partition: int) -> None:
        queue = self._queues[partition]
        try:
            await self._send_all(partition, queue)
        finally:
            # If all went well, no await since the queue was seen empty: nobody has put something
            # into it meanwhile. If not, nobody may wait for ever for what is left in it.
            del self._senders[partition], self._queues[partition]
            for outgoing in queue:
                _fail(outgoing, _closed())
                self._release(outgoing.size_bytes)

    async def _send_all(self, partition: int, queue: deque[Outgoing]) -> None:
        while queue:
            batch = self._take(queue)
            waited_for = any(outgoing.awaits_decision for outgoing in batch)
            if waited_for:
                self._tail.listen(partition)
            try:
                await self._append(partition, batch)
            except BaseException as error:
                # A log never raises for the world's faults. Nobody may wait for ever on ours.
                reason = error if isinstance(error, Exception) else _unknown("the program ended.")
                for outgoing in batch:
                    _fail(outgoing, reason)
                if not isinstance(error, Exception):
                    raise
            finally:
                if waited_for:
                    self._tail.settle(partition)
                self._release(sum(outgoing.size_bytes for outgoing in batch))

    def _take(self, queue: deque[Outgoing]) -> list[Outgoing]:
        batch = [queue.popleft()]
        size_bytes = batch[0].size_bytes
        while queue and len(batch) < self._settings.batch_records_max:
            size_bytes += queue[0].size_bytes
            if size_bytes > self._settings.batch_bytes_max:
                break
            batch.append(queue.popleft())
        return batch

    async def _append(self, partition: int, batch: Sequence[Outgoing]) -> None:
        loop = asyncio.get_running_loop()
        entries = [outgoing.entry for outgoing in batch]
        in_doubt = False
        delay_s = self._settings.retry_delay_s
        known_end = self._tail.known_end(partition)
        while True:
            left_s = max(0.001, batch[0].deadline_s - loop.time())
            result = await self._log.append(partition, entries, deadline_s=left_s)
            if isinstance(result, Accepted):
                await self._appended(partition, batch, result)
                return
            if isinstance(result, Refused) and not in_doubt:
                await self._refused(partition, batch, result)
                return
            if isinstance(result, Refused):
                # This try is not in the log, but one before it may be.
                for outgoing in batch:
                    _fail(outgoing, _unknown(result.reason))
                return
            in_doubt = True
            # It may be in the log: what is appended now with the same id is its second copy there,
            # and the answer to the first of them is the answer.
            self._tail.doubt(partition, known_end, batch)
            if loop.time() + delay_s >= batch[0].deadline_s:
                for outgoing in batch:
                    _fail(outgoing, _unknown(result.reason))
                return
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_DELAY_S_MAX)

    async def _refused(self, partition: int, batch: Sequence[Outgoing], result: Refused) -> None:
        if len(batch) > 1:
            # One of them is at fault: the others must not suffer for it.
            for outgoing in batch:
                await self._append(partition, [outgoing])
            return
        _fail(
            batch[0],
            AppendRefused(
                f"The log refused event {batch[0].event_id} of {batch[0].size_bytes} bytes for "
                f"partition {partition}: {result.reason} It was not appended, and the same bytes "
                "would be refused again: send others."
            ),
        )

    async def _appended(self, partition: int, batch: Sequence[Outgoing], result: Accepted) -> None:
        if result.last - result.first + 1 == len(batch):
            offsets = list(range(result.first, result.last + 1))
        else:
            located = await self._located(partition, batch, result)
            offsets = [located[outgoing.event_id] for outgoing in batch]
        now_s = asyncio.get_running_loop().time()
        for outgoing, offset in zip(batch, offsets, strict=True):
            position = Position(partition, offset)
            outgoing.appended_at_s = now_s
            if outgoing.awaits_decision:
                self._tail.expect(outgoing, position)
            if not outgoing.appended.done():
                outgoing.appended.set_result(position)
        self._tail.note_end(partition, result.last + 1)

    async def _located(
        self, partition: int, batch: Sequence[Outgoing], result: Accepted
    ) -> dict[str, int]:
        """Return the offsets of a batch that others wrote in between; only the log knows them."""
        wanted = {outgoing.event_id for outgoing in batch}
        found: dict[str, int] = {}
        next_offset = result.first
        reader = self._log.reader({partition: result.first})
        try:
            while next_offset <= result.last:
                fetched = await reader.fetch(
                    self._settings.fetch_records_max, self._settings.fetch_wait_s
                )
                for record in fetched.get(partition, ()):
                    next_offset = record.offset + 1
                    event_id = _id_of(record)
                    if event_id in wanted:
                        found.setdefault(event_id, record.offset)
        finally:
            await reader.aclose()
        return found

    async def aclose(self) -> None:
        """Append what was put in, take nothing more."""
        self._closed = True
        for turn, _ in self._in_line:
            if not turn.done():
                turn.set_exception(_closed())
        self._in_line.clear()
        while self._senders:
            await asyncio.gather(*self._senders.values(), return_exceptions=True)


def _fail(outgoing: Outgoing, error: Exception) -> None:
    if not outgoing.appended.done():
        outgoing.appended.set_exception(error)
        # Mark it as seen: the caller may have gone, and that is no news for anybody's log.
        outgoing.appended.exception()


def _closed() -> PublisherClosed:
    return PublisherClosed(
        "The publisher is closed: expected an open one. The request was not appended; publish "
        "inside `async with Publisher(…)`."
    )


def _unknown(reason: str) -> AppendUnknown:
    return AppendUnknown(
        f"The log gave no answer before the deadline: {reason} The event may be in the log, or "
        "come to be there, or not. Publish it again with the same trigger id when the log is "
        "back: the same trigger is never two runs."
    )


def _id_of(record: LogRecord) -> str:
    try:
        return decode(record.value).id
    except (EventUnreadable, EventVersionUnknown):
        return ""
