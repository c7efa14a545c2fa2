"""Reading signals from a topic of somebody else.

A message counts as read when ``commit`` says so, which is for the caller to do after what became
of it is in the log. Until then it comes again after a crash or when another member takes over; the
same source and id are the same trigger, so that changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from meshline.events.errors import LogUnavailable, PayloadRefused
from meshline.events.gate import Gate
from meshline.events.log.kafka_signal import JsonMapping, Message, SourceSignal, signal_of
from meshline.events.log.kafka_topic import client_options
from meshline.events.log.settings import LogSettings

__all__ = ["KafkaSource"]

log = logging.getLogger(__name__)

NEVER_MS = 2**31 - 1
CLOSE_S = 2.0


class KafkaSource:
    """One member of ``group``, reading ``topic``.

    Args:
        servers: ``host:port[,host:port]``.
        group: those who share it share the messages; a new group begins with the oldest.
        mapping: how to read plain JSON; None takes CloudEvents only.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        group: str,
        *,
        mapping: JsonMapping | None = None,
        gate: Gate | None = None,
        settings: LogSettings | None = None,
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._group = group
        self._mapping = mapping
        self._gate = gate or Gate()
        self._settings = settings or LogSettings()
        self._consumer: Any = None

    async def start(self) -> None:
        """Raises LogUnavailable: no broker, or no such topic, within the settings' deadline."""
        settings = self._settings
        self._consumer = AIOKafkaConsumer(
            self._topic,
            **client_options(self._servers),
            group_id=self._group,
            enable_auto_commit=False,
            # Where to begin, and what to do where messages have expired, is decided in `fetch`.
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.heartbeat_s * 1000),
            rebalance_timeout_ms=int(settings.session_timeout_s * 1000),
            max_poll_interval_ms=NEVER_MS,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        try:
            async with asyncio.timeout(settings.open_deadline_s):
                await self._consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self.aclose()
            raise LogUnavailable(
                f"Kafka at {self._servers} did not let us read topic {self._topic!r} within "
                f"{settings.open_deadline_s:g} s: {type(error).__name__}: {error}. Check the "
                "address, the topic and the permissions of the group."
            ) from error

    async def fetch(self, signals_max: int, wait_s: float) -> list[SourceSignal]:
        """Return the next messages, of each partition in its order; empty if none came in time.

        Safe to cancel. Messages that expired before they were read come as one signal with the
        problem ``messages_expired``.
        """
        try:
            fetched = await self._consumer.getmany(
                timeout_ms=int(wait_s * 1000), max_records=signals_max
            )
        except NoOffsetForPartitionError as error:
            # A partition that this group has not read before.
            await self._consumer.seek_to_beginning(*error.args)
            return []
        except OffsetOutOfRangeError as error:
            [positions] = error.args
            return [await self._missed(*item) for item in positions.items()]
        return [
            signal_of(_message(record), self._mapping, self._gate)
            for records in fetched.values()
            for record in records
        ]

    async def _missed(self, partition: TopicPartition, offset: int) -> SourceSignal:
        """Go on with what is left, and say what is not."""
        [beginning] = (await self._consumer.beginning_offsets([partition])).values()
        self._consumer.seek(partition, beginning)
        address = f"{partition.topic}:{partition.partition}:{offset}"
        message = (
            f"Messages from {address} on are gone: expected offset {offset}, found the beginning "
            f"at {beginning}. They expired before they were read, or the topic was made again. Ask "
            "the source to send them again, and keep its topic for longer."
        )
        log.error("%s", message)
        return SourceSignal(
            source=self._topic,
            trigger_id=address,
            trigger_type="",
            payload=None,
            problem=PayloadRefused("messages_expired", message),
            raw=b"",
            address=address,
        )

    async def commit(self, signals: Sequence[SourceSignal]) -> None:
        """Take these as read, and all before them in their partitions.

        For a partition that another member has meanwhile this does nothing: that one reads them
        again.
        """
        offsets: dict[TopicPartition, int] = {}
        for signal in signals:
            topic, partition, offset = signal.address.rsplit(":", 2)
            if signal.problem is None or signal.problem.reason != "messages_expired":
                offsets[TopicPartition(topic, int(partition))] = int(offset) + 1
        mine = {tp: offset for tp, offset in offsets.items() if tp in self._consumer.assignment()}
        if not mine:
            return
        try:
            await self._consumer.commit(mine)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("Not committed for %s, its messages come again: %r", self._group, error)
        except KafkaError as error:
            raise LogUnavailable(
                f"Kafka at {self._servers} did not take the offsets of group {self._group!r}: "
                f"{type(error).__name__}: {error}. Commit again, or go on: they come again."
            ) from error

    async def aclose(self) -> None:
        """Leave the group; what is not committed comes again elsewhere."""
        if self._consumer is not None:
            with suppress(TimeoutError, KafkaError, OSError):
                await asyncio.wait_for(self._consumer.stop(), CLOSE_S)


def _message(record: Any) -> Message:
    return Message(
        record.topic, record.partition, record.offset, record.key, record.value, record.headers
    )
