"""Reading a partition from its first record to where it ends now, and sealing what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from meshline.events.errors import LogUnavailable
from meshline.events.history import History, Seal
from meshline.events.log.protocol import EventLog, LogRecord

__all__ = ["records_until", "seal_log"]

RECORDS_MAX = 2_000
WAIT_S = 5.0
WAITS_MAX = 6
"""Fetches without any record, before the log counts as silent."""


async def records_until(log: EventLog, partition: int, end: int) -> AsyncIterator[list[LogRecord]]:
    """Yield all records of a partition before ``end``, in batches.

    Raises:
        PositionLost: records are missing, or there are fewer.
        LogUnavailable: the log says nothing any more.
    """
    reader = log.reader({partition: 0})
    offset, waits = 0, 0
    try:
        while offset < end:
            fetched = await reader.fetch(min(RECORDS_MAX, end - offset), WAIT_S)
            records = [r for r in fetched.get(partition, ()) if r.offset < end]
            if records:
                offset, waits = records[-1].offset + 1, 0
                yield records
                continue
            waits += 1
            if waits == WAITS_MAX:
                raise LogUnavailable(
                    f"Partition {partition} ends at {end}, but no record came after {offset} for "
                    f"{WAITS_MAX * WAIT_S:g} s: expected the rest. Is the log well? Try again."
                )
    finally:
        await reader.aclose()


async def seal_log(
    log: EventLog, now: datetime, progress: Callable[[int], None] = lambda count: None
) -> Seal:
    """Read all of the log, and return the seal of what it holds now.

    Args:
        progress: is told how many records more are done.
    """
    histories: dict[int, History] = {}
    for partition, end in sorted((await log.ends()).items()):
        history = histories[partition] = History()
        async for records in records_until(log, partition, end):
            for record in records:
                history.add(record)
            progress(len(records))
    return Seal.of(log.identity.log_id, now.isoformat(), histories)
