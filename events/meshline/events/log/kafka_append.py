"""Appending to Kafka: one queue a partition, one batch of each under way, answers by offset.

The order of a partition's appends is the order of the calls: the next batch leaves when the one
before it is answered, and it carries all small appends that came meanwhile. That makes a batch
larger the busier a partition is, without waiting for company when it is not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from meshline.events.clock import SystemClock
from meshline.events.codec import CONTENT_TYPE
from meshline.events.crash_points import crash_point
from meshline.events.log.kafka_producer import close_producer, open_producer
from meshline.events.log.protocol import Accepted, AppendResult, Entry, Refused, Unknown
from meshline.events.log.refusing import refusal_of
from meshline.events.log.settings import LogSettings

__all__ = ["Appender"]

log = logging.getLogger(__name__)

HEADERS = [("content-type", CONTENT_TYPE.encode())]
"""So that any reader of CloudEvents knows the structured mode (decision 0022)."""

RECORD_OVERHEAD_BYTES = 80
"""Upper bound of what Kafka's format and the header add to a record's key and value."""

STUCK_DEADLINES = 3
"""After so many append deadlines without an answer a producer is given up."""

REOPEN_S = 0.2


class _Append:
    """One call of ``append``: what is still to be sent, and what was answered so far."""

    __slots__ = ("expiry", "first", "future", "is_contiguous", "last", "parts")

    def __init__(self, parts: deque[_Part], future: asyncio.Future[AppendResult]) -> None:
        self.parts = parts
        self.future = future
        self.first = self.last = -1
        self.is_contiguous = True
        self.expiry: asyncio.TimerHandle | None = None

    def accept(self, offset: int, records: int) -> None:
        """Take the answer for the part that was sent: its records begin at ``offset``."""
        if self.first < 0:
            self.first = offset
        elif offset != self.last + 1:
            self.is_contiguous = False
        self.last = offset + records - 1
        self.parts.popleft()
        if not self.parts:
            self.finish(Accepted(self.first, self.last, self.is_contiguous))

    def finish(self, result: AppendResult) -> None:
        if not self.future.done():
            self.future.set_result(result)


class _Part:
    """What goes into one batch as a whole."""

    __slots__ = ("records", "size")

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes]] = []
        self.size = 0


class _Batch:
    """Parts of several appends on their way in one batch, by one producer."""

    __slots__ = ("appends", "partition", "producer", "sent_at", "size")

    def __init__(self, partition: int, appends: list[_Append], size: int, sent_at: float) -> None:
        self.partition = partition
        self.appends = appends
        self.size = size
        self.sent_at = sent_at
        self.producer: Any = None


class Appender:
    """All appends of one process to one topic."""

    def __init__(self, servers: str, topic: str, settings: LogSettings) -> None:
        self._servers = servers
        self._topic = topic
        self._settings = settings
        self._clock = SystemClock()
        self._queues: dict[int, deque[_Append]] = {}
        self._under_way: dict[int, _Batch] = {}
        self._under_way_bytes = 0
        # Partitions that have something to send and nothing under way, oldest first.
        self._ready: dict[int, None] = {}
        self._work = asyncio.Event()
        self._producer: Any = None
        self._retired: list[Any] = []
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    # --- taking appends --------------------------------------------------------------------------

    def submit(
        self, partition: int, entries: Sequence[Entry], deadline_s: float | None
    ) -> asyncio.Future[AppendResult]:
        """Queue an append, and return what its answer will come to. Cancel it to give it up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AppendResult] = loop.create_future()
        # Before the client library sees it: a record that the broker refuses makes the producer
        # useless for that partition.
        refusal = refusal_of(entries, self._settings)
        if refusal is not None:
            future.set_result(refusal)
            return future
        if self._is_closed:
            future.set_result(Unknown("The log was closed: nothing was sent. Open it again."))
            return future
        append = _Append(_parts(entries, self._settings.batch_bytes_max), future)
        after = self._settings.append_deadline_s if deadline_s is None else deadline_s
        append.expiry = loop.call_later(after, self._expire, partition, append, after)
        future.add_done_callback(lambda _: append.expiry.cancel() if append.expiry else None)
        self._queues.setdefault(partition, deque()).append(append)
        if self._task is None:
            self._task = loop.create_task(self._run(), name=f"append to {self._topic}")
        if partition not in self._under_way:
            # With linger_ms 0 in the next turn of the loop: what is called in this one goes along.
            if self._settings.linger_ms:
                loop.call_later(self._settings.linger_ms / 1000, self._make_ready, partition)
            else:
                self._make_ready(partition)
        return future

    def _make_ready(self, partition: int) -> None:
        if partition not in self._under_way:
            self._ready[partition] = None
            self._work.set()

    def _expire(self, partition: int, append: _Append, after_s: float) -> None:
        append.finish(
            Unknown(f"Kafka gave no answer within {after_s:g} s. Append again with the same ids.")
        )
        batch = self._under_way.get(partition)
        stuck_s = self._settings.append_deadline_s * STUCK_DEADLINES
        if batch and asyncio.get_running_loop().time() - batch.sent_at > stuck_s:
            self._retire(batch.producer, f"no answer within {stuck_s:g} s")

    # --- sending ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._retired:
                await close_producer(self._retired.pop())
            if self._producer is None and not await self._open():
                continue
            while self._ready and self._producer is not None:
                if self._under_way_bytes >= self._settings.unsent_bytes_max:
                    break
                partition = next(iter(self._ready))
                del self._ready[partition]
                batch = self._next_batch(partition)
                if batch is not None:
                    await self._send(batch)

    async def _open(self) -> bool:
        try:
            self._producer = await open_producer(
                self._servers,
                batch_bytes_max=self._settings.batch_bytes_max,
                deadline_s=self._settings.append_deadline_s,
            )
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("Cannot open a producer for %s: %r", self._topic, error)
            await asyncio.sleep(REOPEN_S)
            self._work.set()
            return False
        return True

    def _next_batch(self, partition: int) -> _Batch | None:
        """Take what goes next from the partition's queue; None if all of it was given up."""
        queue = self._queues[partition]
        appends: list[_Append] = []
        size = 0
        while queue:
            append = queue[0]
            if append.future.done():
                queue.popleft()
                continue
            is_alone = len(append.parts) > 1 or append.first >= 0
            part = append.parts[0]
            if appends and (is_alone or size + part.size > self._settings.batch_bytes_max):
                break
            appends.append(append)
            size += part.size
            if is_alone:
                # It stays at the head of the queue until its last part is answered.
                break
            queue.popleft()
        if not appends:
            return None
        return _Batch(partition, appends, size, asyncio.get_running_loop().time())

    async def _send(self, batch: _Batch) -> None:
        producer = batch.producer = self._producer
        self._under_way[batch.partition] = batch
        self._under_way_bytes += batch.size
        now_ms = int(self._clock.now().timestamp() * 1000)
        crash_point("append.before")
        try:
            builder = producer.create_batch()
            add = builder.append
            for append in batch.appends:
                for key, value in append.parts[0].records:
                    added = add(timestamp=now_ms, key=key, value=value, headers=HEADERS)
                    assert added is not None, "the parts of a batch fit"
            builder.close()
            # Returns without waiting: the partition has no other batch, the topic is known.
            future = await producer.send_batch(builder, self._topic, partition=batch.partition)
        except Exception as error:
            self._failed(batch, error)
            return
        future.add_done_callback(partial(self._answered, batch))

    def _answered(self, batch: _Batch, future: asyncio.Future[Any]) -> None:
        crash_point("append.sent")
        error = future.exception()
        if self._under_way.get(batch.partition) is not batch:
            # Its producer was given up, and its appends were answered as unknown.
            return
        if error is not None:
            self._failed(batch, error)
            return
        offset = future.result().offset
        # -1 is Kafka's word for a repeat so old that its offset is forgotten.
        self._settle(batch, _unknown("a repeat without an offset") if offset < 0 else offset)

    def _failed(self, batch: _Batch, error: BaseException) -> None:
        is_too_large = isinstance(error, MessageSizeTooLargeError)
        self._settle(batch, self._too_large(batch) if is_too_large else _unknown(repr(error)))
        self._retire(batch.producer, repr(error))

    def _too_large(self, batch: _Batch) -> AppendResult:
        if len(batch.appends) > 1 or batch.appends[0].first >= 0:
            return _unknown("the broker refused a batch that held more or less than one append")
        return Refused(
            f"The broker refused a batch of {batch.size} bytes as too large: expected that topic "
            f"{self._topic!r} takes {self._settings.batch_bytes_max}. Set its max.message.bytes."
        )

    def _settle(self, batch: _Batch, answer: int | AppendResult) -> None:
        """Answer the appends of a batch, from an offset on or all alike, and let the next go."""
        partition = batch.partition
        del self._under_way[partition]
        self._under_way_bytes -= batch.size
        for append in batch.appends:
            if isinstance(answer, int):
                records = len(append.parts[0].records)
                append.accept(answer, records)
                answer += records
            else:
                append.finish(answer)
        if self._queues[partition]:
            self._ready[partition] = None
        if self._ready:
            self._work.set()

    def _retire(self, producer: Any, reason: str) -> None:
        """Use this producer no more; what it has under way is unknown from now on.

        After any error its numbering of a partition may have a gap, and then every later batch
        would be refused.
        """
        if self._producer is not producer:
            return
        log.warning("Giving up the producer for %s: %s", self._topic, reason)
        self._producer = None
        self._retired.append(producer)
        for batch in [*self._under_way.values()]:
            self._settle(batch, _unknown(f"its producer was given up: {reason}"))
        self._work.set()

    async def aclose(self) -> None:
        """Wait for what is under way, up to the append deadline; answer the rest as unknown."""
        self._is_closed = True
        waiting = [append.future for queue in self._queues.values() for append in queue]
        waiting += [a.future for batch in self._under_way.values() for a in batch.appends]
        if waiting:
            await asyncio.wait(waiting, timeout=self._settings.append_deadline_s)
        for future in waiting:
            if not future.done():
                future.set_result(_unknown("the log was closed"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._retired += [] if self._producer is None else [self._producer]
        self._producer = None
        while self._retired:
            await close_producer(self._retired.pop())


def _parts(entries: Sequence[Entry], batch_bytes_max: int) -> deque[_Part]:
    """Return the entries in as few parts as fit a batch each."""
    assert entries, "append at least one entry"
    part = _Part()
    parts = deque([part])
    for key, value in entries:
        key_bytes = key.encode() if key else None
        size = len(value) + len(key_bytes or b"") + RECORD_OVERHEAD_BYTES
        if part.records and part.size + size > batch_bytes_max:
            part = _Part()
            parts.append(part)
        part.records.append((key_bytes, value))
        part.size += size
    return parts


def _unknown(reason: str) -> Unknown:
    return Unknown(
        f"It is not known whether Kafka took it: {reason}. Append again with the same ids."
    )
