"""A lane: one reader of the log for the views that are about as far, and their common commits.

Reading and decoding the next records goes on while PostgreSQL writes the ones before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from meshline.events.errors import LogIdentityChanged, PositionLost
from meshline.events.log import EventLog, LogReader, LogRecord
from meshline.projections.errors import CheckpointMoved, HeldBack, RowRefused, StoreUnavailable
from meshline.projections.hold import HELD_LOOK_S, batch_up_to
from meshline.projections.intake import Intake, Item, event_id_of
from meshline.projections.settings import ProjectorSettings
from meshline.projections.store import Change, Checkpoint, ViewStore
from meshline.projections.view import Batch, View

__all__ = ["Lane"]

_logger = logging.getLogger("meshline.projections")

DECODE_RECORDS_MAX = 250
"""Records that are decoded without letting others run: 3 ms or so."""


class _Inbox:
    """What was read and decoded, and is not yet committed."""

    def __init__(self, intake: Intake, records_max: int) -> None:
        self._intake = intake
        self._records_max = records_max
        self._items: list[Item] = []
        self._starts: dict[int, int] = {}
        self._last: dict[int, LogRecord] = {}
        self._records = 0
        self.error: BaseException | None = None
        self.filled = asyncio.Event()
        self.emptied = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return self._records >= self._records_max

    def put(self, records: list[LogRecord]) -> None:
        items = self._intake.take(records)
        self._items += items
        self._starts.setdefault(records[0].partition, records[0].offset)
        self._last[records[0].partition] = records[-1]
        self._records += len(records)
        self.filled.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.filled.set()

    def take(self) -> Batch:
        ends = {p: self._intake.checkpoint(last) for p, last in self._last.items()}
        batch = Batch(self._items, self._starts, ends)
        self._items, self._starts, self._last, self._records = [], {}, {}, 0
        self.filled.clear()
        self.emptied.set()
        return batch


class Lane:
    """Reads for its views from the least of their checkpoints on, until it is told to finish.

    A view that fails leaves the lane: it goes to ``failed`` and sets ``news``; the others go on.
    """

    def __init__(
        self,
        log: EventLog,
        store: ViewStore,
        views: Sequence[View],
        settings: ProjectorSettings,
        news: asyncio.Event,
    ) -> None:
        self.views = list(views)
        self.failed: list[tuple[View, Exception]] = []
        self._log = log
        self._store = store
        self._settings = settings
        self._news = news
        self._finish = asyncio.Event()
        self._committed_at = 0.0

    @property
    def is_finishing(self) -> bool:
        return self._finish.is_set()

    def finish(self) -> None:
        """Return from ``run`` after the commit that is under way."""
        self._finish.set()

    def _least(self) -> dict[int, Checkpoint]:
        partitions = self.views[0].checkpoints if self.views else {}
        return {p: min(view.checkpoints[p] for view in self.views) for p in partitions}

    async def run(self) -> None:
        """Read and commit until ``finish``, or until no view is left.

        Raises:
            PositionLost, LogIdentityChanged: the log is not what the views were built from.
            LogUnavailable, StoreUnavailable: try again later.
        """
        start = self._least()
        await self._check_ends(start)
        # The last record is read again, to see that it is still the same.
        reader = self._log.reader(
            {p: max(0, c.offset - 1) if c.event_id else c.offset for p, c in start.items()}
        )
        wanted = {kind for view in self.views for kind in view.projection.handles}
        inbox = _Inbox(Intake(start, wanted), self._settings.batch_records_max)
        reading = asyncio.create_task(self._read(reader, inbox, start))
        try:
            await self._write(inbox)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await reader.aclose()

    async def _check_ends(self, start: Mapping[int, Checkpoint]) -> None:
        ends = await self._log.ends()
        for partition, checkpoint in start.items():
            if checkpoint.offset > ends.get(partition, 0):
                raise PositionLost(
                    f"Partition {partition} ends at {ends.get(partition, 0)}, but the views have "
                    f"read up to {checkpoint.offset}: the log was cut off. Do not go on: restore "
                    "the log, or rebuild the views from what is left."
                )

    # -- reading -------------------------------------------------------------------------------

    async def _read(
        self, reader: LogReader, inbox: _Inbox, start: Mapping[int, Checkpoint]
    ) -> None:
        unchecked = {p for p, checkpoint in start.items() if checkpoint.event_id}
        try:
            while True:
                while inbox.is_full:
                    inbox.emptied.clear()
                    await inbox.emptied.wait()
                fetched = await reader.fetch(
                    self._settings.batch_records_max, self._settings.fetch_wait_s
                )
                for partition, records in fetched.items():
                    if partition in unchecked:
                        unchecked.discard(partition)
                        _check_same(records[0], start[partition])
                        records = records[1:]
                    for first in range(0, len(records), DECODE_RECORDS_MAX):
                        inbox.put(records[first : first + DECODE_RECORDS_MAX])
                        await asyncio.sleep(0)
        except Exception as error:
            inbox.fail(error)

    # -- writing -------------------------------------------------------------------------------

    async def _write(self, inbox: _Inbox) -> None:
        clock = asyncio.get_running_loop().time
        while self.views:
            await self._first_of(inbox.filled)
            if self._finish.is_set():
                return
            if inbox.error is not None:
                raise inbox.error
            pause = self._committed_at + self._settings.commit_interval_s - clock()
            if pause > 0 and not inbox.is_full:
                await asyncio.sleep(pause)
            batch = inbox.take()
            await self._apply(batch)
            self._committed_at = clock()

    async def _first_of(self, filled: asyncio.Event) -> None:
        if filled.is_set() or self._finish.is_set():
            return
        waiting = [asyncio.create_task(e.wait()) for e in (filled, self._finish)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _apply(self, batch: Batch) -> None:
        """Bring all views over the batch, in one commit if all goes well."""
        try:
            prepared: list[tuple[View, Change]] = []
            for view in [*self.views]:
                try:
                    change = await view.prepare(batch)
                except StoreUnavailable:
                    raise
                except Exception as error:
                    self._leave(view, error)
                else:
                    if change is not None:
                        prepared.append((view, change))
            await self._commit(batch, prepared)
        except BaseException:
            # Nobody knows what of it is in the store: it is read again from the checkpoints.
            for view in self.views:
                view.forget()
            raise

    async def _commit(self, batch: Batch, prepared: list[tuple[View, Change]]) -> None:
        if not prepared:
            return
        try:
            await self._store.commit([change for _, change in prepared])
        except StoreUnavailable:
            raise
        except Exception as error:
            _logger.info("A common commit failed, each view goes alone: %s", error)
        else:
            for view, change in prepared:
                view.committed(change)
            return
        for view, change in prepared:
            await self._commit_alone(batch, view, change)

    async def _commit_alone(self, batch: Batch, view: View, change: Change) -> None:
        try:
            left: Change | None = change
            while left is not None:
                try:
                    view.committed(await self._commit_checked(batch, view, left))
                    return
                except HeldBack as held:
                    left = await self._stand_still(batch, view, held.at)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._leave(view, error)

    async def _commit_checked(self, batch: Batch, view: View, change: Change) -> Change:
        """Commit, without the rows that can't be kept; return what was committed."""
        try:
            await self._store.commit([change])
            return change
        except RowRefused:
            view.forget()
            again = await view.prepare(batch, checked=True)
            assert again is not None, "the same batch leads as far as before"
            await self._store.commit([again])
            return again

    async def _stand_still(self, batch: Batch, view: View, at: Mapping[int, int]) -> Change | None:
        """Bring a view just so far, wait a little, and return what is left of the batch.

        So far may be behind the batch in one partition, and ahead of it in another.
        """
        view.forget()
        part = await batch_up_to(self._log, view.checkpoints, at, view.projection.handles)
        if part is not None and (change := await view.prepare(part)) is not None:
            view.committed(await self._commit_checked(part, view, change))
        await asyncio.sleep(HELD_LOOK_S)
        return await view.prepare(batch)

    def _leave(self, view: View, error: Exception) -> None:
        view.forget()
        self.views.remove(view)
        self.failed.append((view, error))
        self._news.set()
        level = logging.INFO if isinstance(error, CheckpointMoved) else logging.ERROR
        _logger.log(level, "The view %s stops: %s", view.name, error)


def _check_same(record: LogRecord, checkpoint: Checkpoint) -> None:
    found = event_id_of(record.value)
    if record.offset != checkpoint.offset - 1 or found != checkpoint.event_id:
        raise LogIdentityChanged(
            f"Partition {record.partition}, position {record.offset} holds event {found!r}: "
            f"expected {checkpoint.event_id!r} at {checkpoint.offset - 1}, which the views have "
            "read there. The log was changed: restore it, or rebuild the views from what it is."
        )
