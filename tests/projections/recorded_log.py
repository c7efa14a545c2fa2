"""A log that is there already: records, to be read as any log is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from meshline.events.log import EventLog, LogIdentity, LogRecord

__all__ = ["log_of"]


class _Reader:
    def __init__(self, records: Sequence[LogRecord], positions: Mapping[int, int]) -> None:
        self._records = records
        self._next = dict(positions)

    async def fetch(self, max_records: int, wait_s: float) -> dict[int, list[LogRecord]]:
        (start,) = self._next.values()
        found = [*self._records[start : start + max_records]]
        self._next[0] = start + len(found)
        if not found:
            await asyncio.sleep(wait_s)
        return {0: found} if found else {}

    async def aclose(self) -> None:
        """Nothing to close."""


class _Log:
    """One partition, whose first record has offset 0."""

    identity = LogIdentity("recorded", 1, datetime(2026, 1, 1, tzinfo=UTC))

    def __init__(self, records: Sequence[LogRecord]) -> None:
        self._records = records

    async def ends(self) -> dict[int, int]:
        return {0: len(self._records)}

    def reader(self, positions: Mapping[int, int]) -> Any:
        return _Reader(self._records, positions)


def log_of(records: Sequence[LogRecord]) -> EventLog:
    """Return the records as a log of one partition; it can only be read."""
    return cast(EventLog, _Log(records))
