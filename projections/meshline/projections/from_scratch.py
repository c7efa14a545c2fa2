"""Views folded from scratch, and the comparison with those that were kept: are they right?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from meshline.events.log import EventLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.intake import Intake, Item
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection
from meshline.projections.recall import recall_from
from meshline.projections.store import Checkpoint, Segment, ViewStore
from meshline.projections.view import Batch, View

__all__ = ["Difference", "compare_views", "fold_segments", "fold_views"]

_RECORDS_MAX = 2_000
_WAIT_S = 5.0


class Difference(NamedTuple):
    """A row that two stores do not agree about; None where one has no such row."""

    table: str
    key: tuple[Any, ...]
    here: tuple[Any, ...] | None
    there: tuple[Any, ...] | None

    def fields(self) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ, with both values, where both have the row."""
        if self.here is None or self.there is None:
            return {}
        names: tuple[str, ...] = self.here._fields  # type: ignore[attr-defined]
        pairs = zip(names, self.here, self.there, strict=True)
        return {name: (here, there) for name, here, there in pairs if here != there}


async def fold_views(
    log: EventLog,
    projections: Iterable[Projection] = BUILT_IN,
    *,
    until: Mapping[int, int] | None = None,
    admits: Callable[[Item], bool] | None = None,
) -> MemoryStore:
    """Return what the views must be, from the first record on.

    Args:
        until: by partition, the offset to stop before; the log's end where nothing is given.
        admits: is asked of what counts, in the order of each partition; all of it by default.
    """
    store = MemoryStore()
    ends = dict(await log.ends() if until is None else until)
    views = [
        View(projection, store, await store.install(projection, log.identity), recall_from(log))
        for projection in projections
    ]
    segments = {p: [Segment(Checkpoint(), end)] for p, end in ends.items()}
    await fold_segments(log, store, views, segments, admits=admits)
    return store


async def fold_segments(
    log: EventLog,
    store: MemoryStore,
    views: Sequence[View],
    segments: Mapping[int, Sequence[Segment]],
    *,
    admits: Callable[[Item], bool] | None = None,
) -> None:
    """Fold parts of the log into views that may have something already.

    Args:
        segments: by partition, in its order. The views are taken over what lies between, as over
            records that do not count; what they have already is not folded again.
    """
    wanted = {kind for view in views for kind in view.projection.handles}
    for partition, some in segments.items():
        for segment in some:
            for view in views:
                here = view.checkpoints[partition].offset
                if here < segment.start.offset:
                    await _apply(
                        store, view, Batch((), {partition: here}, {partition: segment.start})
                    )
            await _fold(log, store, views, wanted, partition, segment, admits)


async def _fold(
    log: EventLog,
    store: MemoryStore,
    views: Sequence[View],
    wanted: set[type[BaseModel]],
    partition: int,
    segment: Segment,
    admits: Callable[[Item], bool] | None,
) -> None:
    done, end = segment.start.offset, segment.end
    if done >= end:
        return
    intake = Intake({partition: segment.start}, wanted)
    reader = log.reader({partition: done})
    try:
        while done < end:
            fetched = await reader.fetch(min(_RECORDS_MAX, end - done), _WAIT_S)
            records = [r for r in fetched.get(partition, ()) if r.offset < end]
            if not records:
                raise TimeoutError(f"no record of partition {partition} after {done}")
            items = intake.take(records)
            batch = Batch(
                items if admits is None else [item for item in items if admits(item)],
                {partition: done},
                {partition: intake.checkpoint(records[-1])},
            )
            done = records[-1].offset + 1
            for view in views:
                await _apply(store, view, batch)
    finally:
        await reader.aclose()


async def _apply(store: MemoryStore, view: View, batch: Batch) -> None:
    change = await view.prepare(batch, checked=True)
    if change is not None:
        await store.commit([change])
        view.committed(change)


async def compare_views(
    here: ViewStore, there: ViewStore, projections: Iterable[Projection] = BUILT_IN
) -> list[Difference]:
    """Return the rows that differ, of two stores that stand at the same positions."""
    differences: list[Difference] = []
    for projection in projections:
        for table in projection.tables:
            key_of = table.key_of
            ours = {key_of(row): row for row in await here.rows(table)}
            theirs = {key_of(row): row for row in await there.rows(table)}
            differences += [
                Difference(table.name, key, ours.get(key), theirs.get(key))
                for key in sorted({*ours, *theirs})
                if ours.get(key) != theirs.get(key)
            ]
    return differences
