"""The rows of one view while a batch is folded: what is loaded, what is changed, what is known.

Rows stay known between batches, so that a run that goes on costs no query. That is right because
only the holder of the checkpoint writes; whoever loses it forgets what it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from meshline.projections.projection import Key, Projection, Row, Table

__all__ = ["Missing", "Rows", "TableChange"]

R = TypeVar("R", bound=Row)
_ABSENT: Any = object()


class Missing(BaseException):
    """A row was asked for that is not loaded: load it, and apply the event again.

    No ``Exception``, so that a projection that catches its own errors can't swallow it.
    """

    def __init__(self, table: Table[Any], key: Key) -> None:
        super().__init__(table, key)
        self.table = table
        self.key = key


@dataclass(slots=True)
class TableChange:
    """What a batch does to one table.

    Args:
        new: rows of which the store is known to have none with the same key.
        changed: rows of which the store may have an older state.
        deleted: keys whose rows go.
        appended: rows for an append-only table.
    """

    table: Table[Any]
    new: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    deleted: list[Key] = field(default_factory=list)
    appended: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class _Cells:
    table: Table[Any]
    known: dict[Key, Any] = field(default_factory=dict)
    changed: dict[Key, Any] = field(default_factory=dict)
    appended: list[Row] = field(default_factory=list)


class Rows:
    """See ``RowAccess`` for what handlers use of it.

    ``trusting``: a row that a handler adds is taken as new. Without it, it is looked up as it is
    written, for when the store found one.

    Args:
        known_max: rows of each table that stay known between batches.
    """

    def __init__(self, projection: Projection, known_max: int = 20_000) -> None:
        self.trusting = True
        self._cells = {table: _Cells(table) for table in projection.tables}
        self._known_max = known_max
        # What the present event did, to take it back if it fails: (place, key, what stood there).
        self._undo: list[tuple[Any, Any, Any]] = []

    # -- for handlers --------------------------------------------------------------------------

    def get(self, table: Table[R], *key: Any) -> R | None:
        cells = self._cells[table]
        row: R | None = cells.changed.get(key, _ABSENT)
        if row is _ABSENT:
            row = cells.known.get(key, _ABSENT)
            if row is _ABSENT:
                raise Missing(table, key)
        return row

    def put(self, table: Table[R], row: R) -> None:
        changed = self._cells[table].changed
        key = table.key_of(row)
        self._undo.append((changed, key, changed.get(key, _ABSENT)))
        changed[key] = row

    def add(self, table: Table[R], row: R) -> None:
        if self.trusting:
            self._cells[table].known.setdefault(table.key_of(row), None)
        self.put(table, row)

    def delete(self, table: Table[R], *key: Any) -> None:
        changed = self._cells[table].changed
        self._undo.append((changed, key, changed.get(key, _ABSENT)))
        changed[key] = None

    def append(self, table: Table[R], row: R) -> None:
        appended = self._cells[table].appended
        self._undo.append((appended, None, row))
        appended.append(row)

    # -- for the view --------------------------------------------------------------------------

    def keep(self) -> None:
        """The present event is applied: what it did stands."""
        self._undo.clear()

    def take_back(self) -> None:
        """The present event could not be applied: nothing of it stands."""
        for place, key, before in reversed(self._undo):
            if key is None:
                place.pop()
            elif before is _ABSENT:
                del place[key]
            else:
                place[key] = before
        self._undo.clear()

    def problem(self) -> str | None:
        """Return what no store could keep of what the present event did."""
        for cells in self._cells.values():
            for place, key, appended in self._undo:
                row = None
                if place is cells.changed:
                    row = place.get(key)
                elif place is cells.appended:
                    row = appended
                problem = None if row is None else cells.table.problem_of(row)
                if problem is not None:
                    return problem
        return None

    def unknown(self, table: Table[Any], keys: Iterable[Key]) -> list[Key]:
        """Return those of the keys that have to be loaded."""
        cells = self._cells[table]
        known, changed = cells.known, cells.changed
        return [key for key in keys if key not in known and key not in changed]

    def loaded(self, table: Table[Any], keys: Iterable[Key], found: Mapping[Key, Row]) -> None:
        """Take note of what the store holds for the keys; those not found have no row."""
        known = self._cells[table].known
        for key in keys:
            known[key] = found.get(key)

    def changes(self) -> list[TableChange]:
        """Return what the batch does, to be written."""
        changes = []
        for cells in self._cells.values():
            if not (cells.changed or cells.appended):
                continue
            change = TableChange(cells.table, appended=cells.appended)
            known = cells.known.get
            for key, row in cells.changed.items():
                if known(key, _ABSENT) is None:
                    if row is not None:
                        change.new.append(row)
                elif row is None:
                    change.deleted.append(key)
                else:
                    change.changed.append(row)
            changes.append(change)
        return changes

    def written(self) -> None:
        """The batch is in the store: its rows are what is known now, the least used forgotten."""
        for cells in self._cells.values():
            known = cells.known
            for key, row in cells.changed.items():
                known.pop(key, None)
                known[key] = row
            cells.changed = {}
            cells.appended = []
            for key in list(islice(known, max(0, len(known) - self._known_max))):
                del known[key]

    def dropped(self) -> None:
        """The batch is not in the store, or nobody knows: forget it, and all that was known."""
        for cells in self._cells.values():
            cells.known.clear()
            cells.changed = {}
            cells.appended = []
        self._undo.clear()
