"""Who should hold which partition, as a consumer group of Kafka says: a hint, never a fence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from meshline.events.clock import SystemClock
from meshline.events.log.kafka_assignor import Held, assignor_of
from meshline.events.log.kafka_topic import client_options
from meshline.events.log.settings import LogSettings

__all__ = ["KafkaMembership"]

log = logging.getLogger(__name__)

NEVER_MS = 2**31 - 1
REJOIN_S = 0.5
LEAVE_S = 2.0


class KafkaMembership:
    """See ``Membership``. Its consumer never fetches: it only sits in the group.

    Args:
        partitions: of the log; what somebody added to the topic is nobody's.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        group: str,
        member: str,
        settings: LogSettings,
        partitions: int,
    ) -> None:
        self.member = member
        self._servers = servers
        self._topic = topic
        self._group = group
        self._settings = settings
        self._partitions = partitions
        self._assigned: frozenset[int] = frozenset()
        self._held = Held(frozenset(), 0)
        self._waiting: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to join. The partitions come later: see ``changed``."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"member {self.member}")

    @property
    def assigned(self) -> frozenset[int]:
        return self._assigned

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        while self._assigned == known:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        return self._assigned

    def assign(self, partitions: Iterable[int]) -> None:
        """Take note of what the group says."""
        self._assigned = frozenset(p for p in partitions if p < self._partitions)
        if self._assigned:
            # Kept over a revocation: with it the next sharing moves as little as possible.
            self._held = Held(self._assigned, int(SystemClock().now().timestamp() * 1000))
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.assign(())

    async def _run(self) -> None:
        """Be a member for ever: after every error join again, with nothing in hand."""
        while True:
            consumer = self._consumer()
            try:
                await consumer.start()
                # Never returns a record; raises what the coordinator could not mend.
                while True:
                    await consumer.getmany(timeout_ms=NEVER_MS)
            except (KafkaError, OSError) as error:
                log.warning("Membership of %s in %s: %r", self.member, self._group, error)
            finally:
                await self._leave(consumer)
            await asyncio.sleep(REJOIN_S)

    def _consumer(self) -> Any:
        session_ms = int(self._settings.session_timeout_s * 1000)
        consumer = AIOKafkaConsumer(
            **client_options(self._servers) | {"client_id": self.member},
            group_id=self._group,
            enable_auto_commit=False,
            # All partitions are paused as they come; until then there is nothing after the end.
            auto_offset_reset="latest",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=int(self._settings.heartbeat_s * 1000),
            rebalance_timeout_ms=session_ms,
            max_poll_interval_ms=NEVER_MS,
            # Rolling out a second assignor beside a first one is a project of its own: one.
            partition_assignment_strategy=(assignor_of(lambda: self._held),),
        )
        consumer.subscribe([self._topic], listener=_Listener(self, consumer))
        return consumer

    async def _leave(self, consumer: Any) -> None:
        self.assign(())
        with suppress(TimeoutError, KafkaError, OSError):
            await asyncio.wait_for(consumer.stop(), LEAVE_S)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    def __init__(self, membership: KafkaMembership, consumer: Any) -> None:
        self._membership = membership
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._membership.assign(())

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        self._membership.assign(tp.partition for tp in assigned)
