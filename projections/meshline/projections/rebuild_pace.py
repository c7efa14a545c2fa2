"""The pace of a rebuild: a log that is read at most so fast, and not at all while it is paused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from meshline.events.log import EventLog, LogIdentity, LogReader, LogRecord

__all__ = ["PacedLog"]

_SLICE_S = 0.1


class PacedLog:
    """As much of an ``EventLog`` as a lane uses.

    Args:
        events_per_s_max: None for as fast as it goes.
        until: by partition, the offset that counts as the log's end.
    """

    def __init__(
        self,
        log: EventLog,
        events_per_s_max: int | None = None,
        until: Mapping[int, int] | None = None,
    ) -> None:
        self._log = log
        self.until = until
        self._rate = events_per_s_max
        self._running = asyncio.Event()
        self._running.set()
        self._free_at = 0.0

    @property
    def address(self) -> str:
        return self._log.address

    @property
    def identity(self) -> LogIdentity:
        return self._log.identity

    @property
    def is_paused(self) -> bool:
        return not self._running.is_set()

    def pause(self, paused: bool) -> None:
        if paused:
            self._running.clear()
        else:
            self._running.set()

    async def ends(self) -> dict[int, int]:
        return await self._log.ends() if self.until is None else dict(self.until)

    def reader(self, positions: Mapping[int, int]) -> LogReader:
        return _PacedReader(self, self._log.reader(dict(positions)))

    async def wait_turn(self, records_max: int) -> int:
        """Return how many records may be read now."""
        await self._running.wait()
        if self._rate is None:
            return records_max
        wait_s = self._free_at - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return max(1, min(records_max, int(self._rate * _SLICE_S)))

    def took(self, records: int) -> None:
        if self._rate is not None:
            now = asyncio.get_running_loop().time()
            self._free_at = max(now, self._free_at) + records / self._rate


class _PacedReader:
    def __init__(self, log: PacedLog, reader: LogReader) -> None:
        self._log = log
        self._reader = reader

    async def fetch(self, records_max: int, wait_s: float) -> dict[int, list[LogRecord]]:
        fetched = await self._reader.fetch(await self._log.wait_turn(records_max), wait_s)
        self._log.took(sum(len(records) for records in fetched.values()))
        until = self._log.until
        if until is None:
            return fetched
        within = {
            p: records if records[-1].offset < until[p] else _before(records, until[p])
            for p, records in fetched.items()
        }
        within = {p: records for p, records in within.items() if records}
        if not within:
            await asyncio.sleep(_SLICE_S)
        return within

    def add(self, partition: int, offset: int) -> None:
        self._reader.add(partition, offset)

    def remove(self, partition: int) -> None:
        self._reader.remove(partition)

    def advance(self, partition: int, offset: int) -> None:
        self._reader.advance(partition, offset)

    def wake(self) -> None:
        self._reader.wake()

    async def aclose(self) -> None:
        await self._reader.aclose()


def _before(records: list[LogRecord], end: int) -> list[LogRecord]:
    return [record for record in records if record.offset < end]
