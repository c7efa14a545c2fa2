"""Reading the log for people: single records, the last ones, and those that come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson

from meshline.events.codec import decode
from meshline.events.envelope import Event, Position
from meshline.events.errors import EventUnreadable, EventVersionUnknown, PositionLost
from meshline.events.log import EventLog, LogReader, LogRecord

if TYPE_CHECKING:
    from meshline.projections.masking import Secrets

__all__ = [
    "RECORDS_MAX",
    "as_data",
    "event_at",
    "last_records",
    "masked_record",
    "new_records",
    "readable",
]

RECORDS_MAX = 1_000
WAIT_S = 0.5


def readable(record: LogRecord) -> Event[Any] | None:
    """Return the event of a record; None if this program can't read it."""
    try:
        return decode(record.value, Position(record.partition, record.offset))
    except (EventUnreadable, EventVersionUnknown):
        return None


async def event_at(log: EventLog, partition: int, offset: int) -> Event[Any] | None:
    """Return the event that stands there; None if there is none."""
    if not (0 <= partition < log.identity.partitions):
        return None
    if offset >= (await log.ends())[partition]:
        return None
    reader = log.reader({partition: offset})
    try:
        fetched = await reader.fetch(1, WAIT_S)
    except PositionLost:
        return None
    finally:
        await reader.aclose()
    records = fetched.get(partition, [])
    return readable(records[0]) if records and records[0].offset == offset else None


async def last_records(log: EventLog, ends: dict[int, int], count: int) -> list[LogRecord]:
    """Return the last ``count`` records of these partitions together, in the order of time."""
    starts = {partition: max(0, end - count) for partition, end in ends.items()}
    records = [record async for record in records_between(log, starts, ends)]
    records.sort(key=lambda r: (r.appended_ms, r.partition, r.offset))
    return records[-count:] if count else []


async def records_between(
    log: EventLog, starts: dict[int, int], ends: dict[int, int]
) -> AsyncIterator[LogRecord]:
    """Yield what stands from ``starts`` to before ``ends``."""
    left = {p: end for p, end in ends.items() if end > starts[p]}
    reader = log.reader({p: starts[p] for p in left})
    try:
        while left:
            for partition, records in (await reader.fetch(RECORDS_MAX, WAIT_S)).items():
                end = left.get(partition, 0)
                for record in records:
                    if record.offset < end:
                        yield record
                if records[-1].offset >= end - 1 and partition in left:
                    del left[partition]
                    reader.remove(partition)
    finally:
        await reader.aclose()


async def new_records(reader: LogReader) -> AsyncIterator[LogRecord]:
    """Yield what comes, without an end."""
    while True:
        for records in (await reader.fetch(RECORDS_MAX, WAIT_S)).values():
            for record in records:
                yield record


def masked_record(record: LogRecord, secrets: Secrets) -> LogRecord:
    """Return the record without what is secret of its event."""
    from meshline.projections.masking import masked_event

    try:
        event = orjson.loads(record.value)
        shown = {**event, "data": masked_event(event["type"], event["data"], secrets)}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return record
    return record._replace(value=orjson.dumps(shown)) if shown != event else record


def as_data(record: LogRecord) -> dict[str, Any]:
    """Return the record as programs want it: the CloudEvent as it stands there, and where."""
    try:
        event = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        event = None
    return {
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key,
        "appended_ms": record.appended_ms,
        "event": event if event is not None else record.value.decode("utf-8", "replace"),
    }
