"""Views as of a past moment: the log folded again, up to there and no further.

From the first record on, or from what is kept (see ``snapshots.py``): with the same answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.log import EventLog, LogIdentity
from meshline.projections.errors import StoreUnavailable
from meshline.projections.from_scratch import fold_segments
from meshline.projections.history_view import HistoryRow
from meshline.projections.intake import Item, Undecodable
from meshline.projections.memory_store import MemoryStore
from meshline.projections.moment import Moment
from meshline.projections.projection import Projection
from meshline.projections.recall import recall_among, recall_from
from meshline.projections.snapshots import Base, KeptViews, segments_of
from meshline.projections.store import Checkpoint
from meshline.projections.view import Batch, View

__all__ = ["Moment", "fold_as_of", "fold_history", "item_of", "rows_until"]

_logger = logging.getLogger("meshline.projections")


async def fold_as_of(
    log: EventLog,
    projections: Iterable[Projection],
    moment: Moment,
    kept: KeptViews | None = None,
) -> MemoryStore:
    """Return the views as of the moment.

    Args:
        kept: without it, or where it has nothing that serves, the log is read from its first record
            on, in partitions whose position is given up to there.
    """
    some = list(projections)
    ends = {p: min(e, moment.offsets.get(p, e) + 1) for p, e in (await log.ends()).items()}
    bases = await _loaded(kept, some, moment, ends, log.identity)
    store, views = MemoryStore(), list[View]()
    for projection in some:
        base = bases.get(projection, Base())
        installed = await store.install(projection, log.identity)
        if (there := base.snapshot) is not None:
            installed = store.begin_from(projection, there.checkpoints, base.rows, there.parked)
        views.append(View(projection, store, installed, recall_from(log)))
    known = [bases.get(projection, Base()) for projection in some]
    segments = {p: segments_of(known, moment, p, end) for p, end in ends.items()}
    await fold_segments(log, store, views, segments, admits=moment.admits())
    return store


async def _loaded(
    kept: KeptViews | None,
    projections: Sequence[Projection],
    moment: Moment,
    ends: Mapping[int, int],
    identity: LogIdentity,
) -> Mapping[Projection, Base]:
    if kept is None:
        return {}
    try:
        return await kept.load(projections, moment, ends, identity)
    except StoreUnavailable as error:
        _logger.warning("The whole log is read, for want of what is kept of views: %s", error)
        return {}


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
    recall = recall_among({item.position: item for item in items})
    for projection in projections:
        view = View(projection, store, await store.install(projection, identity), recall)
        change = await view.prepare(Batch(items, dict.fromkeys(ends, 0), ends), checked=True)
        assert change is not None, "a batch that ends behind its start changes a checkpoint"
        await store.commit([change])
    return store


def _offsets(history: Iterable[HistoryRow], partition: int) -> list[int]:
    return [row.log_offset for row in history if row.partition == partition]
