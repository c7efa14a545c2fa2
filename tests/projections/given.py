"""Given these events, what rows does a view have?"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.log import LogIdentity
from meshline.events.requests import Request
from meshline.projections.intake import Item
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection, Table
from meshline.projections.recall import recall_among
from meshline.projections.store import Checkpoint, Parked
from meshline.projections.view import Batch, View

__all__ = ["RUN", "IDENTITY", "at", "rows_after", "said", "view_after"]

RUN = "11111111-1111-5111-8111-111111111111"
IDENTITY = LogIdentity("log-1", 1, datetime(2026, 1, 1, tzinfo=UTC))
_START = datetime(2026, 5, 4, 9, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return _START + timedelta(minutes=minutes)


def said(
    data: Any,
    offset: int = 0,
    *,
    run: str = RUN,
    time: datetime | None = None,
    cause: str | None = None,
    by: str = "user:ada",
) -> Recorded[Any]:
    """An event at ``offset`` of partition 0; by default its time is that many minutes on."""
    is_fact = not isinstance(data, Request)
    event = Event(
        id=f"e{offset}", source="test", subject=run, time=time or at(offset), data=data,
        recorded_at=at(offset), epoch=0 if is_fact else None, sequence=offset if is_fact else None,
        causation_id=cause, actor=Actor("user", by),
    )  # fmt: skip
    return Recorded(event, Position(0, offset))


def numbered(events: Iterable[Any]) -> list[Item]:
    """Give plain data the next offset; events that were made with ``said`` keep their times."""
    items: list[Item] = []
    for offset, event in enumerate(events):
        if isinstance(event, Recorded):
            items.append(event._replace(position=Position(0, offset)))
        else:
            items.append(said(event, offset))
    return items


async def view_after(projection: Projection, *events: Any) -> tuple[View, MemoryStore]:
    store = MemoryStore()
    items = numbered(events)
    recall = recall_among({item.position: item for item in items})
    view = View(projection, store, await store.install(projection, IDENTITY), recall)
    change = await view.prepare(
        Batch(items, {0: 0}, {0: Checkpoint(offset=len(items))}), checked=True
    )
    assert change is not None
    await store.commit([change])
    view.committed(change)
    return view, store


async def rows_after(table: Table[Any], *events: Any) -> list[Any]:
    """Return the table's rows after the events; none of which may have been parked."""
    _, store = await view_after(table.projection, *events)
    parked: list[Parked] = await store.parked(table.projection)
    assert parked == []
    return await store.rows(table)
