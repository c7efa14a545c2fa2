"""The log in Kafka: for production, and for more than one machine.

A log is the topic ``NAMESPACE.events``. Partitions are computed here and never by the broker, no
transactions are used, and nothing in the topic ever expires. What is promised rests on brokers
that keep what they acknowledge: three replicas, of which two must answer.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from weakref import WeakSet

from meshline.events.clock import SystemClock
from meshline.events.errors import (
    LogIdentityChanged,
    LogLayoutMismatch,
    LogNotFound,
    LogUnavailable,
    SettingsInvalid,
)
from meshline.events.log.kafka_append import Appender
from meshline.events.log.kafka_membership import KafkaMembership
from meshline.events.log.kafka_reader import KafkaReader
from meshline.events.log.kafka_topic import LATEST, KafkaTopic, check_layout
from meshline.events.log.opening import identity_of, log_created
from meshline.events.log.protocol import Accepted, AppendResult, Entry, LogIdentity
from meshline.events.log.settings import LogSettings

__all__ = ["KafkaLog"]

NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADER_RETRY_S = 0.1


class KafkaLog:
    """See ``EventLog``.

    An append larger than ``batch_bytes_max`` goes in several batches, one after the other: what
    others append may come to stand between them (``contiguous`` tells), and when one of them fails
    the answer is unknown although its beginning is in the log.
    """

    def __init__(self, address: str, settings: LogSettings | None = None) -> None:
        self._address = address
        self._settings = settings or LogSettings()
        self._servers, self._namespace = _servers_and_namespace(address)
        self._topic_name = f"{self._namespace}.events"
        self._topic = self._new_topic()
        self._appender = Appender(self._servers, self._topic_name, self._settings)
        self._identity: LogIdentity | None = None
        self._readers: WeakSet[KafkaReader] = WeakSet()

    @property
    def address(self) -> str:
        return self._address

    @property
    def identity(self) -> LogIdentity:
        assert self._identity is not None, "open() the log first"
        return self._identity

    def _new_topic(self) -> KafkaTopic:
        return KafkaTopic(self._servers, self._topic_name, self._settings.open_deadline_s)

    # --- opening ---------------------------------------------------------------------------------

    async def open(self, *, create_partitions: int | None = None) -> None:
        assert self._identity is None, "open() once"
        try:
            await self._topic.connect()
            partitions = await self._topic.partitions()
            if partitions is None:
                if create_partitions is None:
                    raise self._not_found("there is no such topic")
                await self._topic.create(create_partitions, self._settings.batch_bytes_max)
                partitions = await self._topic.partitions()
            assert partitions is not None
            identity = await self._identify(partitions, create_partitions)
            if create_partitions not in (None, identity.partitions):
                raise LogLayoutMismatch(
                    f"The log at {self._address!r} has {identity.partitions} partitions, but "
                    f"{create_partitions} were asked for. The layout of a log is fixed: leave the "
                    "number away, or copy the history into a new log with `meshline log copy`."
                )
            check_layout(self._topic_name, partitions, identity.partitions)
            self._identity = identity
        except BaseException:
            await self.aclose()
            raise

    def _not_found(self, why: str) -> LogNotFound:
        return LogNotFound(
            f"There is no log at {self._address!r}: {why}. Create it with `meshline log create`, "
            "or correct the address."
        )

    async def _identify(self, partitions: int, create_partitions: int | None) -> LogIdentity:
        """Return the identity in the first records, after writing those that are missing.

        Partition 0 decides: of two creators the one that stands first there, and both give the
        other partitions that identity. A second ``LogCreated`` later in a partition means nothing.
        Whoever finds a log that a creator left half made finishes it.
        """
        give_up = time.monotonic() + self._settings.open_deadline_s
        while True:
            headers = await self._headers(partitions)
            identity = headers.get(0)
            if identity is not None:
                missing = [p for p in range(identity.partitions) if p not in headers]
            elif create_partitions is None:
                raise self._not_found(f"topic {self._topic_name!r} is empty")
            else:
                identity = LogIdentity(str(uuid.uuid4()), partitions, SystemClock().now())
                missing = [0]
            if not missing or identity.partitions != partitions:
                return identity
            if time.monotonic() > give_up:
                raise LogUnavailable(
                    f"Could not write the first records of {len(missing)} partitions of "
                    f"{self._topic_name!r} within {self._settings.open_deadline_s:g} s. Check that "
                    "enough replicas are in sync, then open the log again."
                )
            entries = {p: [log_created(identity, p)] for p in missing}
            answers = await self.append_by_partition(entries)
            if not all(isinstance(answer, Accepted) for answer in answers.values()):
                await asyncio.sleep(HEADER_RETRY_S)

    async def _headers(self, partitions: int) -> dict[int, LogIdentity]:
        first = await self._topic.first_records(range(partitions))
        headers = {partition: identity_of(value) for partition, value in first.items()}
        without = [partition for partition in range(partitions) if partition not in headers]
        if without:
            # A first record too long to be a header does not come with the others.
            ends = await self._topic.offsets(without, LATEST)
            without = [partition for partition in without if ends.get(partition)]
            if without and await self._topic.first_records(without) == {}:
                raise LogIdentityChanged(
                    f"Partitions {without} of topic {self._topic_name!r} do not begin with "
                    "LogCreated: this is no log of Meshline. Choose another namespace."
                )
        if len({(header.log_id, header.partitions) for header in headers.values()}) > 1:
            raise LogIdentityChanged(
                f"The partitions of topic {self._topic_name!r} belong to several logs: expected "
                f"one, found {sorted({header.log_id for header in headers.values()})}. Do not go "
                "on; restore the topic."
            )
        return headers

    # --- appending and reading -------------------------------------------------------------------

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        return await self._appender.submit(partition, entries, deadline_s)

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        submitted = {
            partition: self._appender.submit(partition, some, deadline_s)
            for partition, some in entries.items()
        }
        return {partition: await answer for partition, answer in submitted.items()}

    def reader(self, start: Mapping[int, int]) -> KafkaReader:
        reader = KafkaReader(self._new_topic(), self.identity, start, self._settings)
        self._readers.add(reader)
        return reader

    async def ends(self) -> dict[int, int]:
        return await self._topic.offsets(range(self.identity.partitions), LATEST)

    async def position_at(self, moment: datetime) -> dict[int, int]:
        # Rounded up, and in whole numbers: as a float a millisecond can come out as the next one.
        moment_ms = -((EPOCH - moment) // timedelta(milliseconds=1))
        ends = await self.ends()
        found = await self._topic.offsets(range(self.identity.partitions), max(moment_ms, 0))
        return {partition: found.get(partition, end) for partition, end in ends.items()}

    def membership(self, group: str, member: str) -> KafkaMembership:
        return KafkaMembership(
            self._servers,
            self._topic_name,
            f"{self._namespace}.{group}",
            member,
            self._settings,
            self.identity.partitions,
        )

    async def aclose(self) -> None:
        """Close it and all its readers, after waiting for appends up to their deadline."""
        for reader in [*self._readers]:
            await reader.aclose()
        await self._appender.aclose()
        await self._topic.aclose()


def _servers_and_namespace(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    namespace = parts.path.removeprefix("/")
    servers = parts.netloc.split(",")
    if all(_is_server(server) for server in servers) and NAMESPACE.fullmatch(namespace):
        return parts.netloc, namespace
    raise SettingsInvalid(
        f"The log's address is {address!r}: expected kafka://host:port[,host:port]/namespace, with "
        "a namespace of letters, digits, '.', '_' and '-'. Correct --log or MESHLINE_LOG."
    )


def _is_server(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536
