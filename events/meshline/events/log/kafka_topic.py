"""The topic that keeps a log: its layout, its settings, its first records and its offsets."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    LeaderNotAvailableError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from meshline.events.errors import LogIdentityChanged, LogLayoutMismatch, LogUnavailable
from meshline.events.log.kafka_fetch import fetch_request, fetched, records_of

__all__ = [
    "EARLIEST",
    "LATEST",
    "KafkaTopic",
    "check_layout",
    "client_options",
    "topic_settings",
]

T = TypeVar("T")

LATEST = -1
EARLIEST = -2
"""As a moment in ``KafkaTopic.offsets``: the next record's offset, and the first one's."""

RETRY_S = 0.1
CLOSE_S = 1.0
FIRST_RECORD_BYTES = 4096


def client_options(servers: str) -> dict[str, Any]:
    """Return what every connection to these brokers is made with; the one place for security."""
    return {"bootstrap_servers": servers.split(","), "client_id": "meshline"}


def topic_settings(replicas: int, batch_bytes_max: int) -> dict[str, str]:
    """Return the settings of a log's topic: history is the product, so nothing ever expires."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
        # Above our own limit, whatever the cluster's default: a batch that the broker refuses
        # makes the producer useless for that partition.
        "max.message.bytes": str(max(1_048_588, batch_bytes_max + 65_536)),
    }


def check_layout(name: str, partitions: int, created: int) -> None:
    """Raise LogLayoutMismatch unless the topic has as many partitions as its log."""
    if partitions != created:
        raise LogLayoutMismatch(
            f"Topic {name!r} has {partitions} partitions, but its log was created with {created}. "
            "Somebody added partitions: never do that to a log, its runs would be looked for in "
            "the wrong ones. Copy the history into a new log with `meshline log copy`."
        )


class KafkaTopic:
    """One topic, and the client that asks about it.

    Args:
        servers: ``host:port[,host:port]``.
        name: the topic's name.
        deadline_s: how long a question is asked again before ``LogUnavailable``.
    """

    def __init__(self, servers: str, name: str, deadline_s: float) -> None:
        self.name = name
        self._servers = servers
        self._deadline_s = deadline_s
        self._client: Any = None

    @property
    def client(self) -> Any:
        assert self._client is not None, "connect() first"
        return self._client

    async def connect(self) -> None:
        """Connect, or connect anew. Raises LogUnavailable: no broker answered in time."""
        await self.aclose()

        async def bootstrap() -> None:
            client = AIOKafkaClient(
                **client_options(self._servers),
                request_timeout_ms=int(self._deadline_s * 1000),
                metadata_max_age_ms=60_000,
            )
            bootstrapping = asyncio.ensure_future(client.bootstrap())
            try:
                await asyncio.shield(bootstrapping)
            except BaseException:
                # Cancelled in the middle, it would leave its connection open.
                with suppress(TimeoutError):
                    ending = asyncio.gather(bootstrapping, return_exceptions=True)
                    await asyncio.wait_for(ending, CLOSE_S)
                await client.close()
                raise
            self._client = client

        await self._insist(bootstrap)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer. Raises LogUnavailable after the deadline."""
        give_up = time.monotonic() + self._deadline_s
        while True:
            try:
                async with asyncio.timeout(max(give_up - time.monotonic(), 0.001)):
                    return await ask()
            except (KafkaError, OSError, TimeoutError) as error:
                final = isinstance(error, KafkaError) and not error.retriable
                if final or time.monotonic() + RETRY_S > give_up:
                    raise LogUnavailable(
                        f"Kafka at {self._servers} gave no answer about topic {self.name!r} "
                        f"within {self._deadline_s:g} s: expected a broker, found "
                        f"{type(error).__name__}: {error}. Check the address and the brokers."
                    ) from error
            await asyncio.sleep(RETRY_S)

    # --- layout ----------------------------------------------------------------------------------

    async def partitions(self) -> int | None:
        """Return how many partitions the topic has; None if there is no such topic."""

        async def ask() -> int | None:
            # Never asks the cluster to create the topic by the way: that is aiokafka's default.
            request = MetadataRequest([self.name], allow_auto_topic_creation=False)
            node = self.client.get_random_node()
            if node is None:
                raise LeaderNotAvailableError
            answer = await self.client.send(node, request)
            [(code, _name, _internal, partitions)] = answer.topics
            error = for_code(code)
            if error is UnknownTopicOrPartitionError:
                return None
            if code or any(partition[2] < 0 for partition in partitions):
                raise (error if code else LeaderNotAvailableError)()
            self.client.cluster.update_metadata(answer)
            with suppress(KafkaError):
                await self.client.set_topics([self.name])
            return len(partitions)

        return await self._insist(ask)

    async def create(self, partitions: int, batch_bytes_max: int) -> None:
        """Create the topic. That somebody else just did is as good."""

        async def ask() -> None:
            brokers = self.client.cluster.brokers()
            replicas = min(3, len(brokers))
            settings = topic_settings(replicas, batch_bytes_max)
            controller = self.client.cluster.controller
            if controller is None:
                await self.client.force_metadata_update()
                raise LeaderNotAvailableError
            answer = await self.client.send(
                controller.nodeId,
                CreateTopicsRequest(
                    create_topic_requests=[
                        (self.name, partitions, replicas, [], list(settings.items()))
                    ],
                    timeout=int(self._deadline_s * 1000),
                    validate_only=False,
                ),
            )
            [(_name, code, message)] = answer.topic_errors
            error = for_code(code)
            if error is InvalidReplicationFactorError:
                # The brokers that answered before are not (or not yet) counted as alive.
                raise LeaderNotAvailableError(message)
            if code and error is not TopicAlreadyExistsError:
                raise error(message)

        async def is_known() -> None:
            # The controller has it; the broker that is asked next may not have heard of it yet.
            if await self.partitions() is None:
                raise LeaderNotAvailableError

        await self._insist(ask)
        await self._insist(is_known)

    async def _by_leader(self, partitions: Collection[int]) -> dict[int, list[int]]:
        leaders: dict[int, list[int]] = defaultdict(list)
        for partition in partitions:
            leader = self.client.cluster.leader_for_partition(TopicPartition(self.name, partition))
            if leader is None or leader < 0:
                await self.client.force_metadata_update()
                raise LeaderNotAvailableError
            leaders[leader].append(partition)
        return leaders

    # --- content ---------------------------------------------------------------------------------

    async def offsets(self, partitions: Collection[int], moment_ms: int) -> dict[int, int]:
        """Return by partition the offset of the first record taken at or after the moment.

        Args:
            moment_ms: milliseconds, Unix; or ``LATEST`` or ``EARLIEST``. A partition without a
                record so late is left out.
        """

        async def ask() -> dict[int, int]:
            found: dict[int, int] = {}
            for leader, led in (await self._by_leader(partitions)).items():
                wanted = [(partition, moment_ms) for partition in led]
                answer = await self.client.send(leader, OffsetRequest(-1, 0, [(self.name, wanted)]))
                for _, answers in answer.topics:
                    for partition, code, _timestamp, offset in answers:
                        if code:
                            await self._moved(for_code(code))
                        if offset >= 0:
                            found[partition] = offset
            return dict(sorted(found.items()))

        return await self._insist(ask)

    async def _moved(self, error: type[KafkaError]) -> None:
        """Raise the error, after asking who leads the partition now."""
        await self.client.force_metadata_update()
        raise error

    async def first_records(self, partitions: Collection[int]) -> dict[int, bytes]:
        """Return by partition the value of the record at offset 0; empty partitions are left out.

        Raises:
            LogIdentityChanged: a partition's beginning was deleted.
        """

        async def ask() -> dict[int, bytes]:
            found: dict[int, bytes] = {}
            for leader, led in (await self._by_leader(partitions)).items():
                request = fetch_request(
                    self.name,
                    dict.fromkeys(led, 0),
                    wait_ms=0,
                    bytes_max=FIRST_RECORD_BYTES * len(led),
                    partition_bytes_max=FIRST_RECORD_BYTES,
                )
                for answer in fetched(await self.client.send(leader, request)):
                    if answer.error is OffsetOutOfRangeError or answer.log_start > 0:
                        raise LogIdentityChanged(
                            f"Topic {self.name!r} partition {answer.partition} begins after "
                            "offset 0: expected its first record there. It was deleted; restore "
                            "the topic, and never delete records of a log."
                        )
                    if answer.error is not None:
                        await self._moved(answer.error)
                    if answer.data:
                        records, _ = records_of(answer.partition, answer.data, 0)
                        if records:
                            found[answer.partition] = records[0].value
            return found

        return await self._insist(ask)
