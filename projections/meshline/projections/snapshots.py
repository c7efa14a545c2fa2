"""What is kept of views so that their past need not be folded from the first record on.

A **snapshot** is the rows of a view at one place of the log, made now and then beside its writer.
It is a beginning for every moment that admits all events before it: then nothing of it is too much,
and nothing but what follows is missing. A **span** is some thousand records of a partition and the
least times in it: if these are after the moment, nothing in it counts, and it is not read at all.

Both are a cache: without them the answer is the same, only later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from meshline.events.log import LogIdentity
from meshline.projections.moment import Moment
from meshline.projections.projection import Projection, Row, Table
from meshline.projections.store import Checkpoint, Parked, Segment

__all__ = [
    "Base",
    "KeptViews",
    "Snapshot",
    "Span",
    "can_be_kept",
    "common_bases",
    "segments_of",
    "superfluous",
]

COLUMNS_MAX = 100
"""What one of PostgreSQL's functions takes as arguments."""


class Snapshot(NamedTuple):
    """Where a view stood when its rows were kept.

    Args:
        event_max, recorded_max: the greatest times of what the view had handled; None of nothing.
        parked: what was parked, without the words of its errors.
    """

    number: int
    checkpoints: Mapping[int, Checkpoint]
    event_max: datetime | None
    recorded_max: datetime | None
    parked: tuple[Parked, ...] = ()

    def is_before(self, offsets: Mapping[int, int]) -> bool:
        """Whether it holds no record at or after these offsets."""
        return all(c.offset <= offsets.get(p, 0) for p, c in self.checkpoints.items())

    def is_admitted(self, moment: Moment) -> bool:
        """Whether the moment, as a time, admits every event that the rows were made from."""
        greatest = self.event_max if moment.by == "event" else self.recorded_max
        return moment.time is None or greatest is None or greatest <= moment.time


class Span(NamedTuple):
    """Records of a partition, from where the span before ends up to ``end``.

    ``event_min`` and ``recorded_min`` are the least times of what the view handles of them; None
    where that is nothing.
    """

    end: Checkpoint
    event_min: datetime | None
    recorded_min: datetime | None

    def may_count(self, moment: Moment) -> bool:
        """Whether the moment, as a time, admits any of them."""
        least = self.event_min if moment.by == "event" else self.recorded_min
        return least is not None and moment.time is not None and least <= moment.time


@dataclass(frozen=True, slots=True)
class Base:
    """From where a view is folded: the rows that it has there, and what is known of the rest.

    Args:
        spans: by partition, from its first record on.
    """

    snapshot: Snapshot | None = None
    rows: Mapping[Table[Any], Sequence[Row]] = field(default_factory=dict)
    spans: Mapping[int, Sequence[Span]] = field(default_factory=dict)

    def checkpoint(self, partition: int) -> Checkpoint:
        return Checkpoint() if self.snapshot is None else self.snapshot.checkpoints[partition]


class KeptViews(Protocol):
    """Where snapshots and spans are kept."""

    async def load(
        self,
        projections: Sequence[Projection],
        moment: Moment,
        ends: Mapping[int, int],
        identity: LogIdentity,
    ) -> Mapping[Projection, Base]:
        """Return what the views can be folded from, as of the moment.

        Args:
            ends: by partition, the offset that nobody may read from on.
        """
        ...


def can_be_kept(projection: Projection) -> bool:
    """Whether snapshots are made of the view.

    Not where rows are only ever added: it holds about as much as the log, and each of its
    snapshots would be as large again.
    """
    return not any(
        table.append_only or len(table.columns) > COLUMNS_MAX for table in projection.tables
    )


def common_bases(
    kept: Mapping[Projection, Iterable[Snapshot]], moment: Moment, ends: Mapping[int, int]
) -> dict[Projection, Snapshot]:
    """Return the snapshots to begin with; none where one view has to begin at the first record.

    By recorded time an event that only one of the views handles can end its run for all of them.
    So no view begins behind what the others' snapshots vouch for.

    Args:
        kept: of each view, in the order of the log.
    """
    fitting = {
        projection: [s for s in some if s.is_before(ends) and s.is_admitted(moment)]
        for projection, some in kept.items()
    }
    if not all(fitting.values()):
        return {}
    reach = {p: min(some[-1].checkpoints[p].offset for some in fitting.values()) for p in ends}
    within = {
        projection: [s for s in some if s.is_before(reach)] for projection, some in fitting.items()
    }
    if not all(within.values()):
        return {}
    return {projection: some[-1] for projection, some in within.items()}


def segments_of(bases: Iterable[Base], moment: Moment, partition: int, end: int) -> list[Segment]:
    """Return what has to be read of a partition for all the views together, in its order."""
    some = list(bases)
    found = sorted(segment for base in some for segment in _needed(base, moment, partition, end))
    if moment.by == "recorded" and found:
        # What lies between the bases and the last that counts may end runs before that.
        start = min(base.checkpoint(partition) for base in some)
        return [Segment(start, max(segment.end for segment in found))]
    merged: list[Segment] = []
    for segment in found:
        if merged and segment.start.offset <= merged[-1].end:
            merged[-1] = merged[-1]._replace(end=max(merged[-1].end, segment.end))
        else:
            merged.append(segment)
    return merged


def _needed(base: Base, moment: Moment, partition: int, end: int) -> Iterable[Segment]:
    own, begins = base.checkpoint(partition), Checkpoint()
    for span in () if moment.time is None else base.spans.get(partition, ()):
        start, stops = max(begins, own), min(span.end.offset, end)
        if start.offset < stops and span.may_count(moment):
            yield Segment(start, stops)
        begins = span.end
    start = max(begins, own)
    if start.offset < end:
        yield Segment(start, end)


def superfluous(
    places: Sequence[int], sizes: Sequence[int], *, count_max: int, bytes_max: int
) -> list[int]:
    """Return which of the snapshots go, by index, so that the rest keeps to both limits.

    Each time the one goes that is missed least: what its loss makes to fold again, times how often
    that is, where moments are asked for the less often the further back they are. So the snapshots
    come to lie the denser the nearer to the end. The newest stays.

    Args:
        places: how many events each one holds, ascending.
        sizes: in bytes.
    """
    left = list(range(len(places)))
    while len(left) > 1 and (len(left) > count_max or sum(sizes[i] for i in left) > bytes_max):
        around = zip([0, *(places[i] for i in left)], left, left[1:], strict=False)
        now = places[left[-1]]
        _, least = min(
            ((places[i] - before) * (places[after] - places[i]) / max(1, now - places[i]), i)
            for before, i, after in around
        )
        left.remove(least)
    return [index for index in range(len(places)) if index not in left]
