"""Reading a log from Kafka: each broker is asked for all partitions that it leads, in a loop.

What was read ahead stays when partitions come and go, an answer that is known already is skipped
by batches, and after every error the log's identity is checked before a record is given out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError

from meshline.events.errors import LogIdentityChanged, LogUnavailable, MeshlineError, PositionLost
from meshline.events.log.kafka_fetch import fetch_request, fetched, records_of
from meshline.events.log.kafka_topic import EARLIEST, LATEST, KafkaTopic, check_layout
from meshline.events.log.opening import identity_of
from meshline.events.log.protocol import LogIdentity, LogRecord
from meshline.events.log.settings import LogSettings

__all__ = ["KafkaReader"]

log = logging.getLogger(__name__)

FETCH_WAIT_MS: Final = 100
"""How long a broker waits for a first record; also how long an added partition may have to wait."""

FETCH_BYTES: Final = 1024 * 1024
"""Of one answer: its records are made in one go, about 6 ms of processor time."""

PARTITION_BYTES: Final = 512 * 1024
RETRY_S: Final = 0.1
GONE_S: Final = 1.0
IDENTITY_CHECK_S: Final = 5.0
"""A topic that is deleted and made again between two requests gives no error: look now and then."""


class KafkaReader:
    """See ``LogReader``. Holds connections of its own, so that its waiting delays nobody."""

    def __init__(
        self,
        topic: KafkaTopic,
        identity: LogIdentity,
        start: Mapping[int, int],
        settings: LogSettings,
    ) -> None:
        self._topic = topic
        self._identity = identity
        self._settings = settings
        # What the next request asks for; further than what was returned by what is read ahead.
        self._next = dict(start)
        self._ahead: dict[int, list[LogRecord]] = {}
        self._ahead_bytes = 0
        self._failures: dict[int, MeshlineError] = {}
        self._broken: MeshlineError | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._is_woken = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._following: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    # --- for the caller --------------------------------------------------------------------------

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        assert self._waiting is None, "one fetch at a time"
        if self._task is None and self._broken is None:
            self._task = asyncio.create_task(self._run(), name=f"read {self._topic.name}")
        found = self._take(records_max)
        woken, self._is_woken = self._is_woken, False
        if found or woken or wait_s <= 0:
            return found
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        timer = loop.call_later(wait_s, self.wake)
        try:
            await self._waiting
        finally:
            timer.cancel()
            self._waiting = None
            self._is_woken = False
        return self._take(records_max)

    def _take(self, records_max: int) -> dict[int, list[LogRecord]]:
        if self._broken is not None:
            raise self._broken
        found: dict[int, list[LogRecord]] = {}
        for partition in [*self._ahead]:
            # What is left of a partition goes to the end of the line.
            records = self._ahead.pop(partition)
            if len(records) > records_max:
                self._ahead[partition] = records[records_max:]
                records = records[:records_max]
            found[partition] = records
            self._ahead_bytes -= _size(records)
            records_max -= len(records)
            if records_max <= 0:
                break
        if not found and self._failures:
            raise next(iter(self._failures.values()))
        self._room.set()
        return found

    def add(self, partition: int, offset: int) -> None:
        self.remove(partition)
        self._next[partition] = offset
        self._changed.set()
        self._room.set()

    def remove(self, partition: int) -> None:
        self._next.pop(partition, None)
        self._failures.pop(partition, None)
        self._ahead_bytes -= _size(self._ahead.pop(partition, []))

    def advance(self, partition: int, offset: int) -> None:
        if partition not in self._next:
            return
        records = self._ahead.get(partition)
        if records:
            known = max(0, min(offset - records[0].offset, len(records)))
            self._ahead_bytes -= _size(records[:known])
            if known == len(records):
                del self._ahead[partition]
            elif known:
                del records[:known]
        # A request that is under way need not be asked again: its answer is cut.
        self._next[partition] = max(offset, self._next[partition])

    def wake(self) -> None:
        self._is_woken = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def aclose(self) -> None:
        tasks = [*self._following.values(), *([self._task] if self._task else [])]
        self._broken = LogUnavailable("The reader was closed: make a new one to go on.")
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.wake()
        await self._topic.aclose()

    # --- in the background -----------------------------------------------------------------------

    async def _run(self) -> None:
        """Have one task follow each broker that leads a wanted partition; watch the identity."""
        try:
            await self._connect()
            while True:
                self._changed.clear()
                if not self._follow_leaders():
                    await self._refresh()
                    continue
                try:
                    async with asyncio.timeout(IDENTITY_CHECK_S):
                        await self._changed.wait()
                except TimeoutError:
                    await self._check_identity()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        if not isinstance(error, MeshlineError):
            log.exception("The reader of %s failed", self._topic.name, exc_info=error)
            error = LogUnavailable(
                f"Reading topic {self._topic.name!r} failed unexpectedly: {error!r}. Make a new "
                "reader; report this if it happens again."
            )
        self._broken = self._broken or error
        self.wake()

    async def _connect(self) -> None:
        while True:
            try:
                await self._topic.connect()
                await self._topic.partitions()
                return
            except LogUnavailable as error:
                log.warning("%s", error)

    def _follow_leaders(self) -> bool:
        """Return False if some partition has no leader that is known."""
        all_led = True
        for partition in self._next:
            leader = self._leader(partition)
            if leader is None:
                all_led = False
            elif leader not in self._following:
                task = asyncio.create_task(
                    self._follow(leader), name=f"read {self._topic.name} from broker {leader}"
                )
                self._following[leader] = task
        return all_led

    def _leader(self, partition: int) -> int | None:
        cluster = self._topic.client.cluster
        leader: int | None = cluster.leader_for_partition(
            TopicPartition(self._topic.name, partition)
        )
        return leader if leader is not None and leader >= 0 else None

    async def _refresh(self) -> None:
        """Ask again who leads what; that a partition is gone for good is told by the identity."""
        await asyncio.sleep(RETRY_S)
        await self._check_identity()

    async def _check_identity(self) -> None:
        """Return when the log is known to be the one that was opened. Outages are waited for."""
        while True:
            try:
                partitions = await self._topic.partitions()
                if partitions is not None:
                    check_layout(self._topic.name, partitions, self._identity.partitions)
                elif await self._is_gone():
                    raise LogIdentityChanged(
                        f"Topic {self._topic.name!r} is gone: expected the log "
                        f"{self._identity.log_id}. It was deleted; restore it, or start a new log."
                    )
                [first] = (await self._topic.first_records([min(self._next, default=0)])).values()
                found = identity_of(first)
                if found.log_id != self._identity.log_id:
                    raise LogIdentityChanged(
                        f"Topic {self._topic.name!r} now keeps the log {found.log_id}: expected "
                        f"{self._identity.log_id}. It was deleted and made again; restore it, or "
                        "start anew with empty views and snapshots."
                    )
                return
            except ValueError:
                raise LogIdentityChanged(
                    f"Topic {self._topic.name!r} is empty: expected the log "
                    f"{self._identity.log_id}. It was deleted and made again; restore it."
                ) from None
            except LogUnavailable as error:
                log.warning("%s", error)

    async def _is_gone(self) -> bool:
        # A broker that has just started may not know all topics yet.
        await asyncio.sleep(GONE_S)
        return await self._topic.partitions() is None

    async def _follow(self, leader: int) -> None:
        """Fetch from one broker for ever."""
        try:
            while True:
                positions = {
                    partition: offset
                    for partition, offset in self._next.items()
                    if self._leader(partition) == leader and partition not in self._failures
                }
                if not positions or self._ahead_bytes > self._settings.read_ahead_bytes_max:
                    self._room.clear()
                    await self._room.wait()
                    continue
                if not await self._fetch_from(leader, positions):
                    await asyncio.sleep(RETRY_S)
                    await self._check_identity()
                    self._changed.set()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._break(error)

    async def _fetch_from(self, leader: int, positions: dict[int, int]) -> bool:
        """Ask once, and take in the answer. Return False if something is wrong with the broker."""
        request = fetch_request(
            self._topic.name,
            positions,
            wait_ms=FETCH_WAIT_MS,
            bytes_max=FETCH_BYTES,
            partition_bytes_max=PARTITION_BYTES,
        )
        try:
            response: Any = await self._topic.client.send(leader, request)
        except KafkaError as error:
            log.warning("Cannot fetch from broker %s: %r", leader, error)
            return False
        is_well = True
        for answer in fetched(response):
            partition = answer.partition
            wanted = self._next.get(partition)
            if wanted is None or wanted < positions[partition]:
                # Removed, or added again further back, while the broker was asked.
                continue
            if answer.error is OffsetOutOfRangeError or answer.log_start > 0:
                is_well = await self._lose(partition, positions[partition]) and is_well
            elif answer.error is not None:
                log.info("Partition %s of broker %s: %s", partition, leader, answer.error.__name__)
                is_well = False
            elif answer.data:
                is_well = self._take_in(partition, answer.data) and is_well
        return is_well

    def _take_in(self, partition: int, data: bytes) -> bool:
        try:
            records, following = records_of(partition, data, self._next[partition])
        except CorruptRecordException as error:
            log.error("%s", error)
            return False
        self._next[partition] = following
        if records:
            ahead = self._ahead.setdefault(partition, records)
            if ahead is not records:
                ahead += records
            self._ahead_bytes += _size(records)
            self.wake()
        return True

    async def _lose(self, partition: int, position: int) -> bool:
        """Note that the partition can't be read on, and why. Return False to ask again."""
        try:
            beginning = (await self._topic.offsets([partition], EARLIEST))[partition]
            end = (await self._topic.offsets([partition], LATEST))[partition]
        except LogUnavailable as error:
            log.warning("%s", error)
            return False
        if beginning == 0:
            # Another log, or only less of it? Raises if it is another.
            await self._check_identity()
            message = (
                f"Partition {partition} of topic {self._topic.name!r} ends at {end}, but was to be "
                f"read from {position} on: the log was cut off. Do not go on; restore the log."
            )
        else:
            message = (
                f"Partition {partition} of topic {self._topic.name!r} begins at offset "
                f"{beginning}: expected 0. Its beginning was deleted; restore the log, and never "
                "delete records of it."
            )
        self._failures[partition] = PositionLost(message)
        self.wake()
        return True


def _size(records: list[LogRecord]) -> int:
    return sum([len(record.value) for record in records])
