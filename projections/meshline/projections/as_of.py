"""Views as of a past moment: the log folded again, up to there and no further.

What "up to there" means is one of three things, and each is a plain rule about events:

- by **recorded** time: what Meshline had been told by then. Of each run the events before the first
  one that was recorded after the moment, so always the beginning of what the run's history shows.
- by **event** time: what was so by then, as far as is known today. The events whose own time is not
  after the moment, in the order of the log. An event that was imported late counts at the time at
  which it happened; two that came in the wrong order are still applied in the order of the log.
- by **position**: the events up to and with this place of a partition; of partitions that are not
  named, all.

What is void is void at every moment: the fence sees the whole log, and the moment only what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.log import EventLog, LogIdentity
from meshline.projections.from_scratch import fold_views
from meshline.projections.history_view import HistoryRow
from meshline.projections.intake import Item, Undecodable
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch, View

__all__ = ["Moment", "fold_as_of", "fold_history", "item_of", "rows_until"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A past moment: a time, or a position in some partitions.

    Args:
        time: with its zone; None where ``offsets`` says it all.
        by: which of an event's two times counts.
        offsets: the last offset that counts, by partition.
    """

    time: datetime | None = None
    by: Literal["event", "recorded"] = "event"
    offsets: Mapping[int, int] = field(default_factory=dict)

    def admits(self) -> Callable[[Item], bool]:
        """Return a function that says of each event, in the order of the log, whether it counts.

        It remembers which runs have passed the moment: make a new one for each reading.
        """
        passed: set[str] = set()
        time, by, last_of = self.time, self.by, self.offsets

        def counts(item: Item) -> bool:
            partition, offset = item.position
            if offset > last_of.get(partition, offset):
                return False
            if time is None or isinstance(item, Undecodable):
                # Nobody knows the time of what can't be read; as in a live view, it stops its run.
                return True
            if by == "event":
                return item.event.time <= time
            if item.event.recorded_at > time:
                passed.add(item.event.subject)
            return item.event.subject not in passed

        return counts


async def fold_as_of(
    log: EventLog, projections: Iterable[Projection], moment: Moment
) -> MemoryStore:
    """Return the views as of the moment.

    It reads the log from its first record on, in partitions whose position is given up to there:
    the time that it takes grows with the log.
    """
    ends = await log.ends()
    until = {p: min(end, moment.offsets.get(p, end) + 1) for p, end in ends.items()}
    return await fold_views(log, projections, until=until, admits=moment.admits())


def item_of(row: HistoryRow) -> Item:
    """Return the event of a row of the history, as the log gave it (all but its source)."""
    position = Position(row.partition, row.log_offset)
    data_type = CATALOGUE.get(row.type)
    if data_type is None:
        error = f"{row.type} is not known to this program: it is older than what wrote the row."
        return Undecodable(position, row.run_id, row.type, error, stops=row.sequence is not None)
    event: Event[Any] = Event(
        id=row.event_id,
        source="",
        subject=row.run_id,
        time=row.time,
        data=data_type.model_validate(row.data),
        recorded_at=row.recorded_at,
        epoch=row.epoch,
        sequence=row.sequence,
        causation_id=row.causation_id,
        actor=None if row.actor is None else Actor(row.actor_kind or "", row.actor),
    )
    return Recorded(event, position)


def rows_until(history: Iterable[HistoryRow], moment: Moment) -> list[HistoryRow]:
    """Return what of a run's history counts at the moment."""
    admits = moment.admits()
    return [row for row in history if admits(item_of(row))]


async def fold_history(
    history: Sequence[HistoryRow], projections: Iterable[Projection], moment: Moment
) -> MemoryStore:
    """Return the rows of one run as of the moment, from its history alone.

    Args:
        history: all rows of the run, in the order of the log.
        projections: whose rows are made from the events of one run, as those of all that is
            built in are.
    """
    store = MemoryStore(hashed=False)
    admits = moment.admits()
    items = [item for item in map(item_of, history) if admits(item)]
    partitions = {row.partition for row in history} or {0}
    ends = {p: Checkpoint(1 + max(_offsets(history, p), default=0)) for p in partitions}
    identity = LogIdentity("history", max(partitions) + 1, datetime.fromtimestamp(0, UTC))
    for projection in projections:
        view = View(projection, store, await store.install(projection, identity))
        change = await view.prepare(Batch(items, dict.fromkeys(ends, 0), ends), checked=True)
        assert change is not None, "a batch that ends behind its start changes a checkpoint"
        await store.commit([change])
    return store


def _offsets(history: Iterable[HistoryRow], partition: int) -> list[int]:
    return [row.log_offset for row in history if row.partition == partition]
