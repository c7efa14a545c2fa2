"""Copying a log to another place, such that every position stays what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from meshline.cli.errors import CopyRefused
from meshline.cli.log_reading import RECORDS_MAX, WAIT_S
from meshline.cli.place import Given, find_place
from meshline.cli.processes import opened_or_created
from meshline.cli.progress import Progress
from meshline.events.log import Accepted, Entry, EventLog, LogReader, LogRecord, Refused, open_log

__all__ = ["copy_log"]

BATCH_BYTES_MAX = 512 * 1024
TRIES_MAX = 20


async def copy_log(given: Given, source: str, target: str, progress: Progress) -> dict[str, int]:
    """Copy all records that ``source`` holds now, and return how many.

    Raises:
        CopyRefused: the target holds something else.
    """
    place = find_place(replace(given, log=source))
    source_log = open_log(place.log)
    try:
        await source_log.open()
        partitions = source_log.identity.partitions
        target_log, _ = await opened_or_created(target, partitions)
        try:
            _check_layout(target_log, partitions)
            return await _copy(source_log, target_log, progress)
        finally:
            await target_log.aclose()
    finally:
        await source_log.aclose()
        place.close()


def _check_layout(log: EventLog, partitions: int) -> None:
    if log.identity.partitions != partitions:
        raise CopyRefused(
            f"The target has {log.identity.partitions} partitions: expected {partitions}, as the "
            "source has, because runs would stand elsewhere. Choose a new place."
        )


async def _copy(source: EventLog, target: EventLog, progress: Progress) -> dict[str, int]:
    source_ends, target_ends = await source.ends(), await target.ends()
    before = sum(target_ends.values()) - len(target_ends)
    copied = 0
    for partition, end in sorted(source_ends.items()):
        start = target_ends[partition]
        if start > end:
            raise _not_a_copy(partition, start - 1, "it is longer than the source")
        if start > 1:
            await _check_same(source, target, partition, start - 1)
        reader = source.reader({partition: start})
        try:
            copied += await _copy_partition(reader, target, partition, start, end, progress)
        finally:
            await reader.aclose()
    return {"copied": copied, "before": before}


async def _check_same(source: EventLog, target: EventLog, partition: int, offset: int) -> None:
    if await _record(source, partition, offset) != await _record(target, partition, offset):
        raise _not_a_copy(partition, offset, "another record stands there")


async def _record(log: EventLog, partition: int, offset: int) -> bytes:
    reader = log.reader({partition: offset})
    try:
        while not (fetched := await reader.fetch(1, WAIT_S)):
            continue
        return fetched[partition][0].value
    finally:
        await reader.aclose()


async def _copy_partition(
    reader: LogReader, target: EventLog, partition: int, start: int, end: int, progress: Progress
) -> int:
    offset = start
    while offset < end:
        fetched = (await reader.fetch(RECORDS_MAX, WAIT_S)).get(partition, [])
        records = [record for record in fetched if record.offset < end]
        for batch in _batches(records):
            await _append(target, partition, batch)
            offset = batch[-1].offset + 1
            progress.advance(len(batch))
    return end - start


def _batches(records: Sequence[LogRecord]) -> Sequence[list[LogRecord]]:
    batches: list[list[LogRecord]] = []
    size_bytes = 0
    for record in records:
        size_bytes += len(record.value)
        if not batches or size_bytes > BATCH_BYTES_MAX:
            batches.append([])
            size_bytes = len(record.value)
        batches[-1].append(record)
    return batches


async def _append(target: EventLog, partition: int, batch: list[LogRecord]) -> None:
    first, last = batch[0].offset, batch[-1].offset
    entries = [Entry(record.key, record.value) for record in batch]
    for _ in range(TRIES_MAX):
        result = await target.append(partition, entries)
        if isinstance(result, Accepted):
            if (result.first, result.last) != (first, last):
                raise _not_a_copy(partition, result.first, f"expected position {first}")
            return
        if isinstance(result, Refused):
            raise CopyRefused(f"The target refused position {partition}:{first}: {result.reason}")
        # No answer: it is there, or it is not, and the target's end tells.
        end = (await target.ends())[partition]
        if end == last + 1:
            return
        if end != first:
            raise _not_a_copy(partition, end, f"expected position {first}")
    raise CopyRefused(
        f"The target gave no answer for position {partition}:{first}, {TRIES_MAX} times: expected "
        "it to take the record. Look at it, then copy again: it goes on where it ended."
    )


def _not_a_copy(partition: int, offset: int, what: str) -> Any:
    return CopyRefused(
        f"The target is no copy of the source: at {partition}:{offset} {what}. Expected an empty "
        "log or an earlier copy, and that nobody else writes to it. Choose a new place."
    )
