"""What changes, as it changes: for pages that are alive.

The views' positions move; what lies between two of them in the log is what changed, and is told to
every stream. A stream says what to look at again, not what it is now: so nothing is told before the
views show it, and repeats do no harm. One reader serves all streams of a server.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

import orjson

from meshline.api.problems import TooBusy
from meshline.events.catalogue import type_name
from meshline.events.codec import decode
from meshline.events.envelope import Position
from meshline.events.errors import EventUnreadable, EventVersionUnknown, MeshlineError
from meshline.events.facts import Fact, LogCreated, PartitionClaimed, WorkflowRegistered
from meshline.events.log import EventLog
from meshline.projections.queries import Views

__all__ = ["KINDS", "Change", "Changes", "ChangesSettings"]

KINDS = {"run": "runs", "exception": "exceptions", "task": "tasks", "approval": "tasks"}
"""What may change, and the view that shows it."""

_OF_NO_RUN = (LogCreated, PartitionClaimed, WorkflowRegistered)
_FETCH_RECORDS = 1_000
_FETCH_WAIT_S = 1.0
_ID = re.compile(r"[0-9]{1,6}:[0-9]{1,18}(,[0-9]{1,6}:[0-9]{1,18})*")

RETRY_MS = 2_000
"""After so long a browser comes again."""

Offsets = dict[int, int]


class ChangesSettings(NamedTuple):
    """Args:
    streams_max: at one time; more are told to come again.
    batches_max: that wait for one slow reader; then its stream ends, and it comes again.
    catch_up_max: records that are read for one that comes again; more are a ``reset``.
    poll_s: between two looks at the views' positions.
    heartbeat_s: between two signs of life, when nothing changes.
    """

    streams_max: int = 100
    batches_max: int = 100
    catch_up_max: int = 20_000
    poll_s: float = 0.25
    heartbeat_s: float = 15.0


class Change(NamedTuple):
    """``about``: the exception's id or the task's name, empty for a run."""

    kind: str
    run_id: str
    about: str
    type: str
    position: Position

    @property
    def line(self) -> bytes:
        data: dict[str, str] = {"run_id": self.run_id}
        if self.about:
            data["exception_id" if self.kind == "exception" else "task"] = self.about
        data |= {"type": self.type, "position": str(self.position)}
        return b"event: %s\ndata: %s\n\n" % (self.kind.encode(), orjson.dumps(data))


class _Batch(NamedTuple):
    changes: list[Change]
    until: Offsets


class Changes:
    """Tells streams what changed. Reads nothing while nobody listens."""

    def __init__(
        self, log: EventLog, views: Views, settings: ChangesSettings | None = None
    ) -> None:
        self._log = log
        self._views = views
        self._settings = settings or ChangesSettings()
        self._streams: set[asyncio.Queue[_Batch | None]] = set()
        self._at: Offsets = {}
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def stream(
        self, views: Views, kinds: Collection[str], after: str | None, for_s: float
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events until ``for_s`` is over; empty where a sign of life is due.

        Args:
            views: as the listener sees them; what is not in them is not told.
            after: the id of the last event that was seen; None: from now on.
        Raises:
            TooBusy: there are as many streams as may be.
        """
        async with self._listening() as (queue, start):
            end_s = asyncio.get_running_loop().time() + for_s
            yield b"retry: %d\n" % RETRY_MS
            if after is None:
                yield b"id: %s\n\n" % _id_of(start)
            else:
                known = _offsets_of(after)
                if known.keys() != start.keys() or self._is_too_far(known, start):
                    yield b"event: reset\nid: %s\ndata: {}\n\n" % _id_of(start)
                else:
                    yield await self._told(await self._between(known, start), start, views, kinds)
            while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
                try:
                    async with asyncio.timeout(min(left_s, self._settings.heartbeat_s)):
                        batch = await queue.get()
                except TimeoutError:
                    yield b""
                    continue
                if batch is None:
                    return
                yield await self._told(batch.changes, batch.until, views, kinds)

    def check_room(self) -> None:
        """Raise ``TooBusy`` where there are as many streams as may be."""
        if len(self._streams) >= self._settings.streams_max:
            raise TooBusy(
                f"There are {len(self._streams)} streams of changes, as many as may be: come again "
                "later, or read lists now and then."
            )

    def end(self) -> None:
        """Let every stream end; clients come again, to another server."""
        for queue in self._streams:
            _end(queue)

    async def aclose(self) -> None:
        self.end()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[tuple[asyncio.Queue[_Batch | None], Offsets]]:
        self.check_room()
        queue: asyncio.Queue[_Batch | None] = asyncio.Queue(self._settings.batches_max)
        self._streams.add(queue)
        try:
            async with self._starting:
                if self._reading is None or self._reading.done():
                    self._at = await self._reached()
                    self._reading = asyncio.create_task(self._read())
            # From here on the queue has all that comes after.
            while not queue.empty():
                queue.get_nowait()
            yield queue, dict(self._at)
        finally:
            self._streams.discard(queue)

    async def _read(self) -> None:
        while self._streams:
            await asyncio.sleep(self._settings.poll_s)
            try:
                reached = await self._reached()
                changes = await self._between(self._at, reached)
            except MeshlineError:
                continue  # The log or the views are away; it goes on from where it was.
            if reached == self._at:
                continue
            self._at = reached
            for queue in self._streams:
                if queue.full():
                    _end(queue)
                else:
                    queue.put_nowait(_Batch(changes, reached))

    async def _reached(self) -> Offsets:
        """Return what all views have read."""
        live = await self._views.live_checkpoints(KINDS.values())
        partitions = await self._log.ends()
        return {p: min(live.get(v, {}).get(p, 0) for v in KINDS.values()) for p in partitions}

    async def _between(self, start: Offsets, end: Offsets) -> list[Change]:
        ahead = {p: offset for p, offset in start.items() if offset < end.get(p, 0)}
        found: dict[tuple[str, str, str], Change] = {}
        if not ahead:
            return []
        reader = self._log.reader(ahead)
        try:
            while any(offset < end[p] for p, offset in ahead.items()):
                fetched = await reader.fetch(_FETCH_RECORDS, _FETCH_WAIT_S)
                for partition, records in fetched.items():
                    for record in records:
                        if record.offset < end[partition]:
                            position = Position(partition, record.offset)
                            for change in _changes_of(record.value, position):
                                found[change.kind, change.run_id, change.about] = change
                    ahead[partition] = max(ahead[partition], records[-1].offset + 1)
        finally:
            await reader.aclose()
        return list(found.values())

    def _is_too_far(self, known: Offsets, start: Offsets) -> bool:
        behind = sum(max(0, offset - known[p]) for p, offset in start.items())
        return behind > self._settings.catch_up_max

    async def _told(
        self, changes: Iterable[Change], until: Offsets, views: Views, kinds: Collection[str]
    ) -> bytes:
        wanted = [change for change in changes if change.kind in kinds]
        if wanted:
            wanted = await _visible(wanted, views)
        # The place comes last: who is cut off before it is told all of the batch again.
        return b"".join([*(change.line for change in wanted), b"id: %s\n\n" % _id_of(until)])


async def _visible(changes: list[Change], views: Views) -> list[Change]:
    if not views.is_narrowed:
        return changes
    seen = {
        kind: await views.known_runs(view, {c.run_id for c in changes if c.kind == kind})
        for kind, view in KINDS.items()
    }
    return [change for change in changes if change.run_id in seen[change.kind]]


def _changes_of(raw: bytes, position: Position) -> list[Change]:
    try:
        event = decode(raw)
    except (EventUnreadable, EventVersionUnknown):
        return []
    data = event.data
    if not isinstance(data, Fact) or isinstance(data, _OF_NO_RUN):
        return []
    name = type_name(type(data))
    found = [Change("run", event.subject, "", name, position)]
    for kind, field in (("exception", "exception_id"), ("task", "task"), ("approval", "approval")):
        about = getattr(data, field, None)
        if about is not None:
            found.append(Change(kind, event.subject, about, name, position))
    return found


def _end(queue: asyncio.Queue[_Batch | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)


def _id_of(offsets: Offsets) -> bytes:
    return ",".join(f"{p}:{offset}" for p, offset in sorted(offsets.items())).encode()


def _offsets_of(event_id: str) -> Offsets:
    """Return the offsets; none of what is no id of ours."""
    if _ID.fullmatch(event_id) is None:
        return {}
    pairs = (pair.split(":") for pair in event_id.split(","))
    return {int(partition): int(offset) for partition, offset in pairs}
