"""Reading events again that a view has parked, each at its place in the log."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from meshline.events.codec import decode
from meshline.events.envelope import Event, Position, Recorded
from meshline.events.errors import EventUnreadable, EventVersionUnknown, LogUnavailable
from meshline.events.facts import Fact, LogCreated, PartitionClaimed
from meshline.events.log import EventLog, LogRecord
from meshline.projections.intake import Item, Undecodable
from meshline.projections.store import Parked

__all__ = ["Recall", "recall_among", "recall_from", "records_at"]

Recall = Callable[[Sequence[Parked]], Awaitable[list[Item]]]
"""Give what was parked once more: events of one partition, in its order."""

SPAN_RECORDS = 200
"""Places that are at most so far apart are fetched at once, with what stands between them."""

_WAIT_S = 5.0


def recall_from(log: EventLog) -> Recall:
    """Return what reads them from the log."""

    async def recall(parked: Sequence[Parked]) -> list[Item]:
        if not parked:
            return []
        partition = parked[0].position.partition
        records = await records_at(log, partition, [p.position.offset for p in parked])
        items = map(_item_again, parked, records)
        return [item for item in items if item is not None]

    return recall


def recall_among(items: Mapping[Position, Item]) -> Recall:
    """Return what finds them among these, for views that are fed from elsewhere than a log."""

    async def recall(parked: Sequence[Parked]) -> list[Item]:
        return [items[p.position] for p in parked]

    return recall


async def records_at(log: EventLog, partition: int, offsets: Sequence[int]) -> list[LogRecord]:
    """Return the records at these offsets, which ascend.

    Raises:
        LogUnavailable: the log did not give them.
    """
    wanted, found = deque(offsets), list[LogRecord]()
    reader = log.reader({partition: offsets[0]})
    try:
        while wanted:
            last = max(offset for offset in wanted if offset < wanted[0] + SPAN_RECORDS)
            fetched = await reader.fetch(last - wanted[0] + 1, _WAIT_S)
            if not fetched.get(partition):
                raise LogUnavailable(
                    f"The log gave nothing at partition {partition}, position {wanted[0]}: "
                    "expected the event that is parked there. It is tried again."
                )
            for record in fetched[partition]:
                if wanted and record.offset == wanted[0]:
                    wanted.popleft()
                    found.append(record)
            if wanted:
                reader.advance(partition, wanted[0])
    finally:
        await reader.aclose()
    return found


def _item_again(parked: Parked, record: LogRecord) -> Item | None:
    try:
        event = decode(record.value, parked.position)
    except (EventUnreadable, EventVersionUnknown) as error:
        # What could be read once, and can't be by this older program, is a fact like any other.
        stops = parked.stops or parked.why != "unreadable"
        return Undecodable(
            parked.position, parked.entity, parked.event_type, str(error), stops=stops
        )
    return Recorded(event, parked.position) if _counts(event) else None


def _counts(event: Event[Any]) -> bool:
    """Whether what nobody could read turns out to count: a fact without a number never does."""
    data = event.data
    is_numbered = event.is_fact or isinstance(data, LogCreated | PartitionClaimed)
    return is_numbered or not isinstance(data, Fact)
