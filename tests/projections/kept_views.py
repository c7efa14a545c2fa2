"""Snapshots and spans in memory, taken from the log with none of the code that keeps them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime

from meshline.events.log import EventLog, LogIdentity
from meshline.events.moments import TIME_MIN
from meshline.projections.from_scratch import fold_views
from meshline.projections.intake import Intake, Item, Undecodable
from meshline.projections.moment import Moment
from meshline.projections.projection import Projection
from meshline.projections.snapshots import Base, Snapshot, Span, common_bases
from meshline.projections.store import Checkpoint

__all__ = ["KeptInMemory"]

Read = tuple[Checkpoint, list[Item]]


class KeptInMemory:
    """See ``KeptViews``. ``used`` counts the snapshots that folds began with."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._read: dict[Projection, dict[int, list[Read]]] = {}
        self._kept: dict[Projection, list[tuple[Snapshot, Base]]] = {}
        self._spans: dict[Projection, dict[int, list[Span]]] = {}
        self.used = 0

    async def keep(
        self, projection: Projection, drawn: random.Random, shares: Sequence[float], spans: int
    ) -> None:
        """Keep a snapshot about behind each of these ascending shares of the log."""
        read = self._read[projection] = await self._records(projection)
        for number, share in enumerate(shares):
            self._kept.setdefault(projection, []).append(
                await self._snapshot(projection, number, dict.fromkeys(read, share), drawn)
            )
        self._spans[projection] = {
            p: self._cut(records, sorted(drawn.sample(range(1, len(records)), spans)))
            for p, records in read.items()
        }

    async def _records(self, projection: Projection) -> dict[int, list[Read]]:
        """Return each record: where the log goes on behind it, and what counts of it."""
        read: dict[int, list[Read]] = {}
        for partition, end in (await self._log.ends()).items():
            intake = Intake({partition: Checkpoint()}, projection.handles)
            reader = self._log.reader({partition: 0})
            records = read[partition] = []
            while len(records) < end:
                for record in (await reader.fetch(10_000, 1.0))[partition]:
                    items = intake.take([record])
                    records.append((intake.checkpoint(record), items))
            await reader.aclose()
        return read

    async def _snapshot(
        self,
        projection: Projection,
        number: int,
        shares: Mapping[int, float],
        drawn: random.Random,
    ) -> tuple[Snapshot, Base]:
        read = self._read[projection]
        before = self._kept.get(projection, [])
        least = before[-1][0].checkpoints if before else {p: Checkpoint() for p in read}
        until = {
            p: max(least[p].offset, int(len(read[p]) * share * drawn.uniform(0.8, 1.0)))
            for p, share in shares.items()
        }
        store = await fold_views(self._log, [projection], until=until)
        parked = await store.parked(projection)
        items = [i for p, end in until.items() for _, some in read[p][:end] for i in some]
        readable = [i.event for i in items if not isinstance(i, Undecodable)]
        snapshot = Snapshot(
            number,
            {p: read[p][end - 1][0] if end else Checkpoint() for p, end in until.items()},
            max((event.time for event in readable), default=None),
            max((event.recorded_at for event in readable), default=None),
            tuple(parked),
        )
        rows = {table: await store.rows(table) for table in projection.tables}
        return snapshot, Base(snapshot, rows)

    def _cut(self, records: Sequence[Read], places: Sequence[int]) -> list[Span]:
        spans: list[Span] = []
        for first, end in zip([0, *places], places, strict=False):
            items = [item for _, some in records[first:end] for item in some]
            spans.append(
                Span(
                    records[end - 1][0],
                    min((_times(item)[0] for item in items), default=None),
                    min((_times(item)[1] for item in items), default=None),
                )
            )
        return spans

    async def load(
        self,
        projections: Sequence[Projection],
        moment: Moment,
        ends: Mapping[int, int],
        identity: LogIdentity,
    ) -> Mapping[Projection, Base]:
        kept = {p: [snapshot for snapshot, _ in self._kept.get(p, ())] for p in projections}
        begun = common_bases(kept, moment, ends)
        self.used += bool(begun)
        return {
            p: Base(
                begun.get(p),
                next((base.rows for s, base in self._kept.get(p, ()) if s == begun.get(p)), {}),
                self._spans.get(p, {}),
            )
            for p in projections
        }


def _times(item: Item) -> tuple[datetime, datetime]:
    if isinstance(item, Undecodable):
        return TIME_MIN, TIME_MIN
    return item.event.time, item.event.recorded_at
