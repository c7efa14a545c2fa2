"""Declaring a projection: tables from row models, and pure functions from events to rows.

```python
runs = Projection("open_runs", version=1)


class OpenRun(NamedTuple):
    run_id: str
    owner: str


table = runs.table("open_runs", OpenRun, key=["run_id"], keys=by_run)


@table.on(RunStarted)
def started(row: OpenRun | None, event: Recorded[RunStarted]) -> OpenRun | None:
    return OpenRun(event.event.subject, event.event.data.owner)
```

The functions read no clock, draw nothing at random and do no I/O: a view must come out the same
whenever it is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Recorded
from meshline.projections.columns import Column, columns_of
from meshline.projections.errors import ProjectionInvalid

__all__ = ["Handler", "Key", "Projection", "RowAccess", "Table", "by_run"]

Key = tuple[Any, ...]
Row = tuple[Any, ...]
R = TypeVar("R", bound=Row)
# The log in PostgreSQL may keep its tables under the same namespace.
_RESERVED = frozenset({"records", "partitions", "members", "assignments"})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


class RowAccess(Protocol):
    """What a handler may do with the rows of its own projection."""

    def get(self, table: Table[R], *key: Any) -> R | None:
        """Return the row with this key, as the events before this one left it."""
        ...

    def put(self, table: Table[R], row: R) -> None: ...

    def add(self, table: Table[R], row: R) -> None:
        """Put a row that should be the first with its key: quicker to write, and no promise."""
        ...

    def delete(self, table: Table[R], *key: Any) -> None: ...

    def append(self, table: Table[R], row: R) -> None:
        """Add a row to an append-only table."""
        ...


Handler = Callable[[RowAccess, Recorded[Any]], None]
RowHandler = Callable[[R | None, Recorded[Any]], R | None]
H = TypeVar("H", bound=Callable[..., Any])


def by_run(event: Recorded[Any]) -> tuple[Key]:
    """The row of the event's run: for tables whose key is the run id."""
    return ((event.event.subject,),)


class Table(Generic[R]):
    """A table of a projection; made by ``Projection.table``.

    Args:
        row: a ``typing.NamedTuple``; its annotations give the columns (see ``columns.py``).
        key: the fields that make a row unique.
        keys: the keys of the rows that an event concerns. They are loaded ahead, and ``on``
            applies to each. A table without it is only written, or read row by row.
        indexes: further indexes, each a field or several.
        append_only: rows are only ever added; the key must be new each time.
    """

    def __init__(
        self,
        projection: Projection,
        name: str,
        row: type[R],
        *,
        key: Sequence[str],
        keys: Callable[[Recorded[Any]], Iterable[Key]] | None = None,
        indexes: Iterable[str | Sequence[str]] = (),
        append_only: bool = False,
    ) -> None:
        self.projection = projection
        self.name = name
        self.row = row
        self.keys = keys
        self.append_only = append_only
        self.columns: tuple[Column, ...] = columns_of(row)
        self.key = tuple(key)
        self.indexes = tuple((i,) if isinstance(i, str) else tuple(i) for i in indexes)
        names = [column.name for column in self.columns]
        for field in {*self.key, *(field for index in self.indexes for field in index)}:
            if field not in names:
                raise ProjectionInvalid(
                    f"Table {name!r} has no field {field!r} for its key or index: expected one of "
                    f"{', '.join(names)}. Correct the declaration."
                )
        if not self.key:
            raise ProjectionInvalid(
                f"Table {name!r} has no key: expected the fields that make a row unique. "
                "Name them; an append-only table may take the event's position."
            )
        self.make: Callable[[Iterable[Any]], R] = row._make  # type: ignore[attr-defined]
        places = [names.index(field) for field in self.key]
        self.key_of: Callable[[Row], Key] = (
            itemgetter(*places) if len(places) > 1 else _one_field(places[0])
        )
        self._indexed = {*self.key, *(field for index in self.indexes for field in index)}

    def on(self, *types: type[BaseModel]) -> Callable[[RowHandler[R]], RowHandler[R]]:
        """Let the function tell what these events make of a row: the new row, or None for none.

        ``Fact`` and ``Request`` stand for all of them.
        """
        if self.keys is None:
            raise ProjectionInvalid(
                f"Table {self.name!r} can't apply events to its rows: expected `keys`, which tells "
                "the rows that an event concerns. Declare it, or use `Projection.on`."
            )
        keys = self.keys

        def register(function: RowHandler[R]) -> RowHandler[R]:
            def handle(rows: RowAccess, event: Recorded[Any]) -> None:
                for key in keys(event):
                    before = rows.get(self, *key)
                    after = function(before, event)
                    if after is not None:
                        rows.put(self, after)
                    elif before is not None:
                        rows.delete(self, *key)

            self.projection.register(types, handle, function)
            return function

        return register

    def problem_of(self, row: Row) -> str | None:
        """Return what no store could keep of the row, None where all is well."""
        for column, value in zip(self.columns, row, strict=True):
            problem = column.problem(value, indexed=column.name in self._indexed)
            if problem is not None:
                return f"{self.name}.{column.name} {problem}"
        return None

    def __repr__(self) -> str:
        return f"<table {self.projection.name}.{self.name}>"


def _one_field(place: int) -> Callable[[Row], Key]:
    return lambda row: (row[place],)


class Projection:
    """Tables, and what events do to their rows.

    Args:
        name: names the view in every list, and its schema.
        version: raise it with every change of the code or the rows: the view is then built anew
            beside the old one.
        entity: what must go on in order. An event that can't be applied stops the later events of
            its entity, and no others. The run, where nothing is given.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        entity: Callable[[Recorded[Any]], str] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name) or version < 1:
            raise ProjectionInvalid(
                f"A projection is called {name!r}, version {version}: expected small letters, "
                "digits and _, at most 30, and a version from 1 on. Rename it."
            )
        self.name = name
        self.version = version
        self.entity = entity
        self.tables: list[Table[Any]] = []
        self.queries: dict[str, str] = {}
        self.functions: list[Callable[..., Any]] = []
        self._handlers: dict[type[BaseModel], list[Handler]] = {}

    def table(
        self,
        name: str,
        row: type[R],
        *,
        key: Sequence[str],
        keys: Callable[[Recorded[Any]], Iterable[Key]] | None = None,
        indexes: Iterable[str | Sequence[str]] = (),
        append_only: bool = False,
    ) -> Table[R]:
        """Declare a table; see ``Table`` for the arguments."""
        self._check_name(name)
        table = Table(self, name, row, key=key, keys=keys, indexes=indexes, append_only=append_only)
        self.tables.append(table)
        return table

    def query(self, name: str, sql: str) -> None:
        """Declare a stable SQL view over the tables; ``{runs}`` stands for the table ``runs``."""
        self._check_name(name)
        self.queries[name] = sql

    def _check_name(self, name: str) -> None:
        taken = {*(table.name for table in self.tables), *self.queries}
        if not _NAME.fullmatch(name) or name in taken or name in _RESERVED:
            raise ProjectionInvalid(
                f"Projection {self.name!r} declares {name!r}: expected a new name of small "
                f"letters, digits and _, at most 30, and none of {', '.join(sorted(_RESERVED))}. "
                "Rename it."
            )

    def on(self, *types: type[BaseModel]) -> Callable[[H], H]:
        """Let the function ``(rows, event)`` read and write any rows of this projection.

        ``Fact`` and ``Request`` stand for all of them.
        """

        def register(function: H) -> H:
            self.register(types, function, function)
            return function

        return register

    def register(
        self, types: Iterable[type[BaseModel]], handler: Handler, source: Callable[..., Any]
    ) -> None:
        """Dispatch these types to the handler; ``source`` is the code that it stands for."""
        wanted = tuple(types)
        for data_type in CATALOGUE.values():
            if issubclass(data_type, wanted):
                self._handlers.setdefault(data_type, []).append(handler)
        self.functions.append(source)

    @property
    def handles(self) -> frozenset[type[BaseModel]]:
        """The classes of event that concern it; of others it is not even handed the data."""
        return frozenset(self._handlers)

    def dispatch(self) -> Mapping[type[BaseModel], Handler]:
        """Return one handler for each class."""
        return {
            data_type: handlers[0] if len(handlers) == 1 else _in_turn(tuple(handlers))
            for data_type, handlers in self._handlers.items()
        }

    def __repr__(self) -> str:
        return f"<projection {self.name} v{self.version}>"


def _in_turn(handlers: tuple[Handler, ...]) -> Handler:
    def handle(rows: RowAccess, event: Recorded[Any]) -> None:
        for handler in handlers:
            handler(rows, event)

    return handle
