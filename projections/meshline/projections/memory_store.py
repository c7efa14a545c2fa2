"""Views in memory: the double of the PostgreSQL store, and what a fold from scratch fills."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Position
from meshline.events.log import LogIdentity
from meshline.projections.code_hash import code_hash_of
from meshline.projections.columns import JsonText
from meshline.projections.errors import NotFound, RowRefused
from meshline.projections.projection import Key, Projection, Row, Table
from meshline.projections.store import (
    Change,
    Checkpoint,
    Installed,
    Parked,
    Stop,
    ViewState,
    ViewStatus,
    check_layout,
    check_log,
    checkpoint_moved,
    layout_of,
)

__all__ = ["MemoryStore", "Shared"]

R = TypeVar("R", bound=Row)
_ViewKey = tuple[str, int]


@dataclass
class _KeptView:
    state: ViewState
    log_id: str
    layout: Any
    code_hash: str
    checkpoints: dict[int, Checkpoint]
    rows: dict[str, dict[Key, Row]]
    parked: list[Parked] = field(default_factory=list)
    updated_at: Any = None


class Shared:
    """What several stores share, as several processes share one database."""

    def __init__(self) -> None:
        self.views: dict[_ViewKey, _KeptView] = {}
        self.writers: dict[_ViewKey, object] = {}


class MemoryStore:
    """See ``ViewStore``.

    Args:
        hashed: note the code's hash with each view; it takes longer than a small fold.
    """

    def __init__(
        self, shared: Shared | None = None, *, clock: Clock | None = None, hashed: bool = True
    ) -> None:
        self._hashed = hashed
        self._shared = shared or Shared()
        self._clock = clock or SystemClock()

    async def open(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        writers = self._shared.writers
        for key in [key for key, writer in writers.items() if writer is self]:
            del writers[key]

    def _view(self, projection: Projection) -> _KeptView:
        return self._shared.views[projection.name, projection.version]

    async def install(self, projection: Projection, identity: LogIdentity) -> Installed:
        key = (projection.name, projection.version)
        view = self._shared.views.get(key)
        if view is None:
            others = [v for (name, _), v in self._shared.views.items() if name == key[0]]
            view = _KeptView(
                state="building" if any(v.state == "live" for v in others) else "live",
                log_id=identity.log_id,
                layout=layout_of(projection),
                code_hash=code_hash_of(projection) if self._hashed else "",
                checkpoints={p: Checkpoint() for p in range(identity.partitions)},
                rows={table.name: {} for table in projection.tables},
            )
            self._shared.views[key] = view
        check_log(projection, view.log_id, identity)
        check_layout(projection, view.layout)
        stopped = frozenset(parked.stop for parked in view.parked if parked.stops)
        return Installed(view.state, dict(view.checkpoints), stopped)

    def begin_from(
        self,
        projection: Projection,
        checkpoints: Mapping[int, Checkpoint],
        rows: Mapping[Table[Any], Iterable[Row]],
        parked: Sequence[Parked],
    ) -> Installed:
        """Put an installed view where another one stood, with its rows."""
        view = self._view(projection)
        view.checkpoints.update(checkpoints)
        for table in projection.tables:
            key_of = table.key_of
            view.rows[table.name] = {key_of(row): row for row in rows[table]}
        view.parked = [*parked]
        stopped = frozenset(event.stop for event in parked if event.stops)
        return Installed(view.state, dict(view.checkpoints), stopped)

    async def acquire(self, projection: Projection) -> bool:
        key = (projection.name, projection.version)
        return self._shared.writers.setdefault(key, self) is self

    async def release(self, projection: Projection) -> None:
        key = (projection.name, projection.version)
        if self._shared.writers.get(key) is self:
            del self._shared.writers[key]

    async def load(self, table: Table[Any], keys: Sequence[Key]) -> dict[Key, Row]:
        rows = self._view(table.projection).rows[table.name]
        return {key: rows[key] for key in keys if key in rows}

    async def commit(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._check(change)
        for change in changes:
            view = self._view(change.projection)
            for part in change.tables:
                rows = view.rows[part.table.name]
                for key in part.deleted:
                    rows.pop(key, None)
                key_of = part.table.key_of
                for some in (part.new, part.changed, part.appended):
                    rows.update((key_of(row), _as_kept(part.table, row)) for row in some)
            if change.freed:
                freed = {*change.freed}
                view.parked = [p for p in view.parked if p.position not in freed]
            view.parked.extend(change.parked)
            view.checkpoints.update(change.after)
            view.updated_at = self._clock.now()

    def _check(self, change: Change) -> None:
        view = self._view(change.projection)
        if any(view.checkpoints[p] != before for p, before in change.before.items()):
            raise checkpoint_moved(change.projection)
        for part in change.tables:
            for row in [*part.new, *part.changed, *part.appended]:
                problem = part.table.problem_of(row)
                if problem is not None:
                    raise RowRefused(f"Cannot keep a row: {problem}.")
            known = view.rows[part.table.name]
            keys = [part.table.key_of(row) for row in [*part.new, *part.appended]]
            if len({*keys}) < len(keys) or any(key in known for key in keys):
                raise RowRefused(
                    f"Cannot add to {part.table.name}: a key is there already. Each row of an "
                    "append-only table needs a key of its own, such as the event's position."
                )

    async def make_live(self, name: str, version: int) -> None:
        if (name, version) not in self._shared.views:
            raise NotFound(f"There is no view {name!r} version {version}: build it first.")
        for (other, number), view in self._shared.views.items():
            if other == name and number == version:
                view.state = "live"
            elif other == name and view.state == "live":
                view.state = "warm"

    async def rows(self, table: Table[R]) -> list[R]:
        rows: dict[Key, Any] = self._view(table.projection).rows[table.name]
        return [rows[key] for key in sorted(rows)]

    async def parked(self, projection: Projection) -> list[Parked]:
        return sorted(self._view(projection).parked)

    async def parked_at(self, projection: Projection, position: Position) -> Parked | None:
        found = (p for p in self._view(projection).parked if p.position == position)
        return next(found, None)

    async def parked_of(self, projection: Projection, stop: Stop) -> list[Parked]:
        return sorted(p for p in self._view(projection).parked if p.stop == stop)

    async def status(self) -> list[ViewStatus]:
        return [
            ViewStatus(
                name=name,
                version=version,
                state=view.state,
                code_hash=view.code_hash,
                log_id=view.log_id,
                checkpoints=dict(view.checkpoints),
                updated_at=view.updated_at,
                parked=len(view.parked),
                stopped=len({parked.stop for parked in view.parked if parked.stops}),
            )
            for (name, version), view in sorted(self._shared.views.items())
        ]

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        wanted = {*names}
        return {
            name: {p: checkpoint.offset for p, checkpoint in view.checkpoints.items()}
            for (name, _), view in self._shared.views.items()
            if view.state == "live" and name in wanted
        }


def _as_kept(table: Table[Any], row: Row) -> Row:
    """A row as a database gives it back: JSON text as its value."""
    if any(value.__class__ is JsonText for value in row):
        values = (orjson.loads(bytes(v)) if isinstance(v, JsonText) else v for v in row)
        kept: Row = table.make(values)
        return kept
    return row
