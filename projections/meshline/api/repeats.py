"""Asking twice with one Idempotency-Key asks once: the log itself knows what was asked before.

The key becomes the event's id. Before the request is appended, the run's history is read up to the
log's end: if the id stands there, its answer is given again. So the memory is as durable as the
history, is the same on every server, and needs no table of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from meshline.api.problems import KeyReused
from meshline.events.codec import plain
from meshline.events.envelope import Actor, Position
from meshline.events.facts import RequestRejected
from meshline.events.ids import partition_of
from meshline.events.log import EventLog
from meshline.events.publish import RequestAnswer
from meshline.events.requests import Request
from meshline.projections.columns import to_json
from meshline.projections.history_view import HistoryRow
from meshline.projections.queries import Views

__all__ = ["Repeats", "id_of_repeat"]

REACH_S = 5.0
_NAMESPACE = uuid.UUID("8f0f6f1c-6f6e-4d43-9d43-0d2b9a1f5d0e")


def id_of_repeat(actor: Actor, key: str) -> str:
    """Return the id of the event that this actor asks with this key, now or again."""
    return str(uuid.uuid5(_NAMESPACE, f"{actor.id}\x1f{key}"))


class Repeats:
    """Knows what was asked before. Two servers that are asked at once may both append: the keeper
    decides on each then, as on two people who press at once."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._log = log
        self._views = views
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def one_at_a_time(self, event_id: str) -> AsyncIterator[None]:
        """Let nobody else on this server ask with this id meanwhile."""
        lock = self._locks.get(event_id)
        if lock is None:
            lock = self._locks[event_id] = asyncio.Lock()
        async with lock:
            yield

    async def answer(self, run_id: str, event_id: str, asked: Request) -> RequestAnswer | None:
        """Return what was answered before; None if it was not asked yet.

        Raises:
            KeyReused: something else was asked with it.
            NotReached: the history is too far behind to know.
        """
        ends = await self._log.ends()
        partition = partition_of(run_id, len(ends))
        last = Position(partition, ends[partition] - 1)
        await self._views.reached([last], ["history"], timeout_s=REACH_S)
        found = await self._views.asked(run_id, event_id)
        if found is None:
            return None
        before, answer = found
        if not _is_same(before, asked):
            raise KeyReused(
                "Something else was asked with this Idempotency-Key, at "
                f"{before.partition}:{before.log_offset}: expected the same again, or a new key."
            )
        position = Position(before.partition, before.log_offset)
        if answer is None:
            return RequestAnswer("appended", run_id, position)
        decided_at = Position(answer.partition, answer.log_offset)
        if answer.type.startswith(f"{RequestRejected.TYPE}."):
            code, reason = answer.data["code"], answer.data["reason"]
            return RequestAnswer("rejected", run_id, position, code, reason, decided_at)
        return RequestAnswer("accepted", run_id, position, decided_at=decided_at)


def _is_same(before: HistoryRow, asked: Request) -> bool:
    said: object = to_json(plain(asked))
    return before.type.startswith(f"{asked.TYPE}.") and before.data == said
