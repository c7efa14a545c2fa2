"""Fetching from Kafka: one request for many partitions, and its answer as records.

Not through AIOKafkaConsumer: it takes twice the processor time for a record (4.9 against 2.4 µs),
drops what it has read ahead whenever a partition comes or goes, and keeps a broker's errors to
itself (decision 0021).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka.errors import BrokerResponseError, CorruptRecordException, NoError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from meshline.events.log.protocol import LogRecord

__all__ = ["Fetched", "fetch_request", "fetched", "records_of"]


class Fetched(NamedTuple):
    """What the broker answered for one partition.

    ``log_start`` is 0 as long as nothing was deleted; ``error`` is None or an aiokafka error class.
    """

    partition: int
    error: type[BrokerResponseError] | None
    log_start: int
    data: bytes | None


def fetch_request(
    topic: str,
    positions: Mapping[int, int],
    *,
    wait_ms: int,
    bytes_max: int,
    partition_bytes_max: int,
) -> FetchRequest:
    """Return a request that waits up to ``wait_ms`` for the first byte after the positions.

    The answer holds at least one whole batch if there is any, even if that is over the limits.
    """
    wanted = [(partition, offset, partition_bytes_max) for partition, offset in positions.items()]
    read_uncommitted = 0
    return FetchRequest(wait_ms, 1, bytes_max, read_uncommitted, [(topic, wanted)], rack_id="")


def fetched(response: Any) -> Iterator[Fetched]:
    """Yield what the answer to a fetch request says of each partition."""
    for _, partitions in response.topics:
        # version 5 to 10: …, last stable offset, log start, aborted transactions, records;
        # version 11: the preferred replica stands before the records.
        for partition, code, _high_watermark, _stable, log_start, *rest in partitions:
            error = for_code(code)
            yield Fetched(partition, None if error is NoError else error, log_start, rest[-1])


def records_of(partition: int, data: bytes, start: int) -> tuple[list[LogRecord], int]:
    """Return the records from offset ``start`` on, and the offset that follows the last batch.

    Raises:
        CorruptRecordException: the checksum of a batch is wrong.
    """
    found: list[LogRecord] = []
    # A record at 0.1 µs instead of 0.3: the class's own constructor is a Python function.
    new, of_type = tuple.__new__, LogRecord
    batches = MemoryRecords(data)
    following = start
    while batches.has_next():
        batch = batches.next_batch()
        if batch.next_offset <= start:
            # Known already, most often because an answer to an append said so.
            continue
        if not batch.validate_crc():
            raise CorruptRecordException(
                f"The checksum of the batch at partition {partition}, offset {batch.base_offset} "
                "is wrong: it was damaged on the broker's disk or on its way."
            )
        following = batch.next_offset
        if batch.is_control_batch:
            continue
        appended_ms = batch.max_timestamp
        for record in batch:
            key = record.key
            found.append(
                new(
                    of_type,
                    (
                        partition,
                        record.offset,
                        key.decode() if key else "",
                        record.value or b"",
                        appended_ms,
                    ),
                )
            )
    if found and found[0].offset < start:
        # A batch comes as a whole, even if it is wanted from its middle on.
        del found[: start - found[0].offset]
    return found, following
