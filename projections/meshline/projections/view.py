"""One view at work: it folds batches into rows, and parks what can't be applied."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, reduce
from typing import Any

from meshline.events.catalogue import type_name
from meshline.events.envelope import Position, Recorded
from meshline.events.facts import ParkedEventSkipped
from meshline.events.moments import TIME_MIN
from meshline.projections.errors import RowRefused
from meshline.projections.intake import FREEING, Item, Undecodable
from meshline.projections.parking import Parking
from meshline.projections.projection import Handler, Key, Projection, RowAccess, Table
from meshline.projections.recall import Recall
from meshline.projections.rows import Missing, Rows
from meshline.projections.store import Change, Checkpoint, Installed, Parked, Times, ViewStore

__all__ = ["Batch", "View"]

# What can't be read counts at every moment (see ``Moment.admits``): it makes no time the greatest.
_AT_ANY_TIME = ([TIME_MIN], [TIME_MIN])
ERROR_LENGTH_MAX = 4_000
STACK_LENGTH_MAX = 8_000
RECALLED_MAX = 1_000
"""Parked events that are read again at once; the first is tried alone, it may fail as before."""


@dataclass(frozen=True)
class Batch:
    """Some partitions' next records: what counts of them, and where they begin and end."""

    items: Sequence[Item]
    starts: Mapping[int, int]
    ends: Mapping[int, Checkpoint]

    @cached_property
    def times(self) -> Mapping[type[Any], Times]:
        """The bounds of the items' times, for each class of event; once for all views."""
        found: dict[type[Any], tuple[list[datetime], list[datetime]]] = {}
        for item in self.items:
            if isinstance(item, Undecodable):
                found[Undecodable] = _AT_ANY_TIME
                continue
            event = item.event
            kind = event.data.__class__
            known = found.get(kind)
            if known is None:
                known = found[kind] = ([], [])
            known[0].append(event.time)
            known[1].append(event.recorded_at)
        return {
            kind: Times(min(event), max(event), min(recorded), max(recorded))
            for kind, (event, recorded) in found.items()
        }


class _Frees(BaseException):
    """A fact about parked events is next: it takes more than a handler can do."""


def _free(rows: RowAccess, event: Recorded[Any]) -> None:
    raise _Frees


class View:
    """A projection with its rows at hand and its place in the log.

    Call ``prepare``, commit the change, then ``committed``; if the commit fails, ``forget``.

    Args:
        recall: gives parked events once more, when they are retried.
        known_rows_max: rows of each table that stay in memory between batches.
    """

    def __init__(
        self,
        projection: Projection,
        store: ViewStore,
        installed: Installed,
        recall: Recall,
        *,
        known_rows_max: int = 20_000,
    ) -> None:
        self.projection = projection
        self.checkpoints = dict(installed.checkpoints)
        self._parking = Parking(projection, store, installed.stopped)
        self.stopped = self._parking.stopped
        self._store = store
        self._recall = recall
        self._rows = Rows(projection, known_rows_max)
        self._dispatch = projection.dispatch()
        freeing: dict[type[Any], Handler] = dict.fromkeys(FREEING, _free)
        self._dispatch_live = {**self._dispatch, **freeing}

    @property
    def name(self) -> str:
        return f"{self.projection.name} v{self.projection.version}"

    async def prepare(self, batch: Batch, *, checked: bool = False) -> Change | None:
        """Fold the batch and return what is to be written; None if it holds nothing new.

        Args:
            checked: look at every row as it is made, park what no store could keep, and expect
                that a row that is added may be there. Slow: for when the store refused the change.
        """
        after = {p: end for p, end in batch.ends.items() if end.offset > self.checkpoints[p].offset}
        if not after:
            return None
        self._rows.trusting = not checked
        items = self._new_items(batch)
        await self._go_through(items, self._dispatch_live, checked)
        return Change(
            projection=self.projection,
            before={p: self.checkpoints[p] for p in after},
            after=after,
            tables=self._rows.changes(),
            parked=self._parking.parked,
            freed=self._parking.freed,
            times=self._times(batch if items is batch.items else Batch(items, {}, {})),
        )

    def _times(self, batch: Batch) -> Times | None:
        # What frees parked events changes rows, as what a handler takes does.
        handled = self._dispatch_live
        found = [
            times for kind, times in batch.times.items() if kind in handled or kind is Undecodable
        ]
        return reduce(Times.and_, found) if found else None

    def committed(self, change: Change) -> None:
        """The change is in the store."""
        self.checkpoints.update(change.after)
        self._rows.written()
        self._parking.written()

    def forget(self) -> None:
        """The change is not in the store, or nobody knows; its batch may be prepared again."""
        self._rows.dropped()
        self._parking.dropped()

    def _new_items(self, batch: Batch) -> list[Item]:
        """Return what of the batch concerns this view, and is new to it."""
        ahead = {}
        for partition, start in batch.starts.items():
            own = self.checkpoints[partition].offset
            assert own >= start, f"{self.name} would miss {partition}:{own} to {start}"
            if own > start:
                ahead[partition] = own
        handled = self._dispatch_live
        return [
            item
            for item in batch.items
            if (isinstance(item, Undecodable) or item.event.data.__class__ in handled)
            and (not ahead or item.position.offset >= ahead.get(item.position.partition, 0))
        ]

    async def _go_through(
        self, items: Sequence[Item], handlers: Mapping[type[Any], Handler], checked: bool
    ) -> None:
        await self._load_ahead(items)
        done = 0
        while done < len(items):
            done, lacks = self._fold(items, done, handlers, checked)
            if isinstance(lacks, Missing):
                await self._load(lacks.table, [lacks.key])
            elif lacks is not None:
                item = items[done]
                assert isinstance(item, Recorded)
                await self._free_parked(item, checked)
                # The fact itself is then an event like any other.
                await self._go_through([item], self._dispatch, checked)
                done += 1

    async def _free_parked(self, item: Recorded[Any], checked: bool) -> None:
        """Apply here what is parked with the event that the fact names, if it names this view.

        The first is tried alone: if it fails again, the rest need not be read.
        """
        data, partition = item.event.data, item.position.partition
        if data.view != self.projection.name:
            return
        parking = self._parking
        named = await parking.at(Position(partition, data.offset))
        if named is None:
            return
        waiting = [named]
        if named.stops or named.why != "unreadable":
            waiting = await parking.of(named.stop)
            parking.release(named.stop)
        if isinstance(data, ParkedEventSkipped):
            parking.take_out([named])
            waiting.remove(named)
        size = 1
        while waiting:
            some, waiting = waiting[:size], waiting[size:]
            parking.take_out(some)
            await self._go_through(await self._recall(some), self._dispatch, checked)
            if named.stop in self.stopped:
                return
            size = min(size * 10, RECALLED_MAX)

    async def _load_ahead(self, items: Sequence[Item]) -> None:
        handled = self._dispatch
        for table in self.projection.tables:
            keys_of = table.keys
            if keys_of is None:
                continue
            # No set: in which order rows are loaded, and so forgotten, must not depend on hashes.
            keys: dict[Key, None] = {}
            for item in items:
                if isinstance(item, Recorded) and item.event.data.__class__ in handled:
                    try:
                        keys.update(dict.fromkeys(keys_of(item)))
                    except Exception:
                        # The fold meets the same error, and parks the event with it.
                        continue
            unknown = self._rows.unknown(table, keys)
            if unknown:
                await self._load(table, unknown)

    async def _load(self, table: Table[Any], keys: Sequence[Key]) -> None:
        self._rows.loaded(table, keys, await self._store.load(table, keys))

    def _fold(
        self,
        items: Sequence[Item],
        start: int,
        handlers: Mapping[type[Any], Handler],
        checked: bool,
    ) -> tuple[int, Missing | _Frees | None]:
        """Apply items from ``start`` on; return where it ended, and what it lacked there."""
        rows, handler_of, stopped = self._rows, handlers.get, self.stopped
        keep = rows.keep
        for index in range(start, len(items)):
            item = items[index]
            if isinstance(item, Undecodable):
                self._park_undecodable(item)
                continue
            handler = handler_of(item.event.data.__class__)
            if handler is None:
                continue
            if stopped and handler is not _free and self._is_behind(item):
                continue
            try:
                handler(rows, item)
                if checked and (problem := rows.problem()):
                    raise RowRefused(
                        f"Cannot keep a row: {problem}. Correct the projection, or the event's "
                        "writer."
                    )
            except (Missing, _Frees) as lacks:
                rows.take_back()
                return index, lacks
            except Exception as error:
                rows.take_back()
                self._park(item, error)
            else:
                keep()
        return len(items), None

    def _entity_of(self, item: Recorded[Any]) -> str:
        entity = self.projection.entity
        if entity is None:
            return item.event.subject
        try:
            return entity(item)
        except Exception:
            # Without its entity it can't be told what waits behind it: the run does.
            return item.event.subject

    def _is_behind(self, item: Recorded[Any]) -> bool:
        entity = self._entity_of(item)
        if (item.position.partition, entity) not in self.stopped:
            return False
        self._parking.park(
            Parked(item.position, entity, type_name(type(item.event.data)), "behind", False)
        )
        return True

    def _park(self, item: Recorded[Any], error: Exception) -> None:
        self._parking.park(
            Parked(
                position=item.position,
                entity=self._entity_of(item),
                event_type=type_name(type(item.event.data)),
                why="failed",
                stops=True,
                error=_storable(f"{type(error).__name__}: {error}")[:ERROR_LENGTH_MAX],
                stack=_storable("".join(traceback.format_exception(error)))[-STACK_LENGTH_MAX:],
            )
        )

    def _park_undecodable(self, item: Undecodable) -> None:
        self._parking.park(
            Parked(
                position=Position(*item.position),
                entity=_storable(item.entity)[:ERROR_LENGTH_MAX],
                event_type=_storable(item.event_type)[:200],
                why="unreadable",
                stops=item.stops,
                error=_storable(item.error)[:ERROR_LENGTH_MAX],
            )
        )


def _storable(text: str) -> str:
    """What is said about a poison must not be poison itself."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
