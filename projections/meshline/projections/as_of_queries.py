"""The read side of the past: the queries of ``Views``, over tables as they were at a moment.

By event time they are made quickly (``ViewsThen``): a row of which nothing came later is as it is
now, and the others that were there by then are made again from the history of their runs. What
nobody can tell so, by recorded time or by position, is folded from the log (``ViewsFolded``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import orjson

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections import (
    directory_view,
    exception_view,
    history_view,
    ownership_view,
    runs_view,
    tasks_view,
)
from meshline.projections.as_of import Moment, fold_as_of, fold_history, rows_until
from meshline.projections.columns import JsonText
from meshline.projections.conditions import Conditions
from meshline.projections.directory_view import AbsenceRow, DirectoryRow
from meshline.projections.errors import NotFound
from meshline.projections.exception_view import CauseSaidRow, ResolutionRow, resolution_after
from meshline.projections.history_view import HistoryRow
from meshline.projections.intake import FREEING
from meshline.projections.memory_store import MemoryStore
from meshline.projections.owner_queries import POSSESSIONS_THEN
from meshline.projections.pages import LIMIT_MAX, Page, next_after
from meshline.projections.postgres_connection import Fetch
from meshline.projections.projection import Table
from meshline.projections.queries import Views
from meshline.projections.run_values import whole_history
from meshline.projections.runs_then import FACTS, RUNS_THEN, RunThen
from meshline.projections.runs_view import RunRow
from meshline.projections.snapshots import KeptViews

__all__ = ["ABOUT_RUNS", "ViewsAsOf", "ViewsFolded", "ViewsThen", "people_as_of", "views_at"]

R = TypeVar("R", bound=tuple[Any, ...])

ABOUT_RUNS = (
    runs_view.projection,
    ownership_view.projection,
    exception_view.projection,
    tasks_view.projection,
)
"""What these queries read."""

HISTORY_S = 5.0
"""How long a history that is behind is waited for."""

RUNS_AT_ONCE = 500
"""Runs whose histories are in memory together."""

ROWS_AT_ONCE = 10_000
"""Rows in one value of JSON, of which PostgreSQL takes 255 MB."""

_TABLE = re.compile(r"\{ns\}\.(\w+)(?:\s+as\s+(\w+))?")
_TABLES = {table.name: table for projection in ABOUT_RUNS for table in projection.tables}
_GROUPS = exception_view.projection.queries["exception_groups"].format_map(
    {name: f"{{ns}}.{name}" for name in _TABLES}
)


class Known(NamedTuple):
    """The directory that counted, and what was said last of each one's absence."""

    directory: DirectoryRow | None
    absences: list[AbsenceRow]


People = Callable[[], Awaitable[Known]]


async def views_at(
    views: Views, moment: Moment | None, log: EventLog, kept: KeptViews | None = None
) -> Views:
    """Return the views as they are, or as they were.

    Args:
        kept: without it, where the log has to be read it is read from its first record on.
    Raises:
        NotReached: the history is far behind the other views, which say what came after it.
    """
    if moment is None:
        return views
    if moment.time is None or moment.by != "event" or moment.offsets:
        store = await fold_as_of(log, ABOUT_RUNS, moment, kept)
        return ViewsFolded(views, store, people=partial(people_as_of, log, moment, kept))
    await _history_reached(views)
    return ViewsThen(views, moment.time, people=partial(people_as_of, log, moment, kept))


async def _history_reached(views: Views) -> None:
    """Wait until the history holds all that the views show which are made again from it."""
    history = history_view.projection.name
    at = await views.live_checkpoints([*(each.name for each in ABOUT_RUNS), history])
    there = at.pop(history, {})
    ends = Counter[int]()
    for checkpoints in at.values():
        ends |= Counter(checkpoints)
    behind = [Position(p, end - 1) for p, end in ends.items() if end > there.get(p, 0)]
    if behind:
        await views.reached(behind, [history], timeout_s=HISTORY_S)


async def people_as_of(log: EventLog, moment: Moment, kept: KeptViews | None = None) -> Known:
    """Return who there was and who was away: it stands in no history, and is little to read."""
    store = await fold_as_of(log, (directory_view.projection,), moment, kept)
    found = await store.rows(directory_view.directories)
    directory = max(found, key=lambda row: (row.number, row.directory_hash), default=None)
    return Known(directory, await store.rows(directory_view.absences))


def _all_of(name: str) -> str:
    # In the order of the row, as those are that are made.
    return f"select {', '.join(_TABLES[name].row._fields)} from {{ns}}.{name}"


class _Laid:
    """A statement under way: its arguments, and how to ask for what they are made of."""

    def __init__(self, fetch: Fetch, arguments: Iterable[Any]) -> None:
        self.fetch = fetch
        self.arguments = [*arguments]

    def argument(self, value: Any, sql_type: str) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}::{sql_type}"

    def rows(self, table: Table[R], rows: Sequence[R]) -> str:
        """Return what selects these rows."""
        columns = ", ".join(f"{column.name} {column.sql_type}" for column in table.columns)
        parts = []
        for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
            some = [
                dict(zip(table.row._fields, row, strict=True))  # type: ignore[attr-defined]
                for row in rows[start : start + ROWS_AT_ONCE]
            ]
            value = self.argument(JsonText(orjson.dumps(some)), "jsonb")
            parts.append(f"select * from jsonb_to_recordset({value}) as made({columns})")
        return " union all ".join(parts)


class ViewsAsOf(Views):
    """Args:
    views: as they are now, of one team or of all; to be closed are these.
    people: tells who there was; without it nobody is asked that.
    """

    _possessions = POSSESSIONS_THEN

    def __init__(self, views: Views, people: People | None = None) -> None:
        vars(self).update(vars(views))
        self._people = people
        self._known: Known | None = None

    async def _who(self) -> Known:
        if self._known is None:
            assert self._people is not None, "one run's own events say of nobody who they are"
            self._known = await self._people()
        return self._known

    async def directory(self) -> DirectoryRow | None:
        return (await self._who()).directory

    async def absences(self, now: datetime) -> list[AbsenceRow]:
        away = [row for row in (await self._who()).absences if row.substitute and row.until > now]
        return sorted(away, key=lambda row: (row.since, row.absent))

    async def _table(self, laid: _Laid, name: str) -> str:
        """Return what selects the rows of the table as they were."""
        raise NotImplementedError

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        values: Sequence[Any] = arguments
        if self._scope is not None:
            # Whose it was then counts, not whose it is.
            sql, values = self._scope.narrowed(sql, arguments)
        sql = sql.replace("{ns}.exception_groups", f"({_GROUPS}) as exception_groups")
        async with self._frozen() as fetch:
            laid = _Laid(fetch, values)
            tables = []
            for name in dict.fromkeys(match[1] for match in _TABLE.finditer(sql)):
                if name not in _TABLES:
                    raise NotFound(
                        f"The table {name!r} is not looked at as of a moment: expected one of "
                        f"{', '.join(_TABLES)}. `meshline view rows` shows any."
                    )
                tables.append(f"{name}_then as ({await self._table(laid, name)})")
            then = _TABLE.sub(lambda m: f"{m[1]}_then as {m[2] or m[1]}", sql)
            return await fetch(f"with {', '.join(tables)} {then}", *laid.arguments)

    @asynccontextmanager
    async def _frozen(self) -> AsyncIterator[Fetch]:
        async with self._pool.frozen() as fetch:

            async def here(sql: str, *arguments: Any) -> list[dict[str, Any]]:
                return await fetch(sql.replace("{ns}", self._namespace), *arguments)

            yield here


class ViewsFolded(ViewsAsOf):
    """Args:
    store: the rows, folded up to the moment.
    history: what counts at the moment of the one run that was folded.
    """

    def __init__(
        self,
        views: Views,
        store: MemoryStore,
        history: Sequence[HistoryRow] = (),
        people: People | None = None,
    ) -> None:
        super().__init__(views, people)
        self._store = store
        self._history = history

    @staticmethod
    async def of_run(views: Views, begins: str, moment: Moment) -> ViewsFolded:
        """Fold the events of one run, from its history: quick, however long the log is.

        Args:
            views: as far as they are, so far the answer goes.
            begins: the run's id, or enough of its beginning.
        Raises:
            NotFound: there is no such run, or at the moment there was none yet.
        """
        run_id = (await views.run(begins)).run_id
        history = await whole_history(views, run_id)
        return await ViewsFolded.of_history(views, run_id, history, moment)

    @staticmethod
    async def of_history(
        views: Views, run_id: str, history: Sequence[HistoryRow], moment: Moment
    ) -> ViewsFolded:
        """Fold the whole history of one run up to the moment; see ``of_run``."""
        store = await fold_history(history, ABOUT_RUNS, moment)
        if not await store.rows(runs_view.runs):
            raise NotFound(
                f"The run {run_id} had not started then: expected a moment after its first event. "
                f"`meshline run history {run_id[:8]}` tells when that was."
            )
        return ViewsFolded(views, store, rows_until(history, moment))

    async def history(
        self,
        run_id: str,
        *,
        limit: int = LIMIT_MAX,
        after_offset: int = -1,
        types: Iterable[str] | None = None,
        actor: str | None = None,
    ) -> list[HistoryRow]:
        wanted = None if types is None else set(types)
        return [
            row
            for row in self._history
            if row.run_id == run_id
            and row.log_offset > after_offset
            and (wanted is None or row.type in wanted)
            and actor in (None, row.actor)
        ][:limit]

    async def _table(self, laid: _Laid, name: str) -> str:
        table = _TABLES[name]
        return laid.rows(table, await self._store.rows(table))


class _Born(NamedTuple):
    table: Table[Any]
    born: str


_MADE = {
    "exceptions": _Born(exception_view.exceptions, "opened_at"),
    "tasks": _Born(tasks_view.tasks, "first_requested_at"),
}


class ViewsThen(ViewsAsOf):
    """Args:
    time: an event time.
    """

    def __init__(self, views: Views, time: datetime, people: People | None = None) -> None:
        super().__init__(views, people)
        self._now, self._moment, self._time = views, Moment(time), time

    async def _table(self, laid: _Laid, name: str) -> str:
        time = laid.argument(self._time, "timestamptz")
        if name == "runs":
            facts = {each: laid.argument(said, "text[]") for each, said in FACTS.items()}
            return RUNS_THEN.format(ns="{ns}", time=time, **facts)
        if name == "cause_resolutions":
            return await self._resolutions(laid, time)
        if name not in _MADE:
            raise NotFound(f"The table {name!r} is shown for one run at a time as of a moment.")
        table, born = _MADE[name]
        changed = await laid.fetch(
            f"select {', '.join({*table.key, 'run_id'})} from {{ns}}.{name} "
            f"where {born} <= $1 and changed_at > $1",
            self._time,
        )
        keys = {tuple(row[field] for field in table.key) for row in changed}
        made = [
            row
            async for row in self._made(laid.fetch, table, {row["run_id"] for row in changed})
            if table.key_of(row) in keys
        ]
        return f"{_all_of(name)} where changed_at <= {time} union all {laid.rows(table, made)}"

    async def _made(
        self, fetch: Fetch, table: Table[R], run_ids: Iterable[str]
    ) -> AsyncIterator[R]:
        """Yield the rows of these runs as they were."""
        projection, ordered = table.projection, sorted(run_ids)
        handles = projection.handles | FREEING
        handled = [name for name, data_type in CATALOGUE.items() if data_type in handles]
        for start in range(0, len(ordered), RUNS_AT_ONCE):
            said = await fetch(
                "select * from {ns}.history where run_id = any($1::text[]) and "
                # What this program can't read counts at every moment.
                "(type = any($2::text[]) and time <= $3 or type <> all($4::text[])) "
                "order by partition, log_offset",
                ordered[start : start + RUNS_AT_ONCE], handled, self._time, [*CATALOGUE],
            )  # fmt: skip
            history = [HistoryRow(**row) for row in said]
            store = await fold_history(history, (projection,), self._moment)
            for row in await store.rows(table):
                yield row

    async def _resolutions(self, laid: _Laid, time: str) -> str:
        is_as_then = "greatest(resolved_at, reopened_at) <="
        said = await laid.fetch(
            "select said.* from {ns}.cause_history as said "
            "join {ns}.cause_resolutions using (cause, partition) "
            f"where not {is_as_then} $1 and said.time <= $1 order by partition, log_offset",
            self._time,
        )
        known: dict[tuple[str, int], ResolutionRow] = {}
        for each in said:
            row = CauseSaidRow(**each)
            after = resolution_after(known.get((row.cause, row.partition)), row)
            if after is not None:
                known[row.cause, row.partition] = after
        made = laid.rows(exception_view.resolutions, [*known.values()])
        return f"{_all_of('cause_resolutions')} where {is_as_then} {time} union all {made}"

    async def _page(
        self,
        row: type[R],
        view: str,
        where: Conditions,
        order: Sequence[str],
        limit: int,
        after: str | None,
    ) -> Page[R]:
        rest: Any = (order, limit := max(1, min(limit, LIMIT_MAX)), after)
        if row is not RunRow:
            return await super()._page(row, view, where, *rest)
        # Of so many runs, those that are as they are now are found by the same indexes as now.
        so_far = where.also("changed_at <= ?", self._time)
        now: Page[Any] = await self._now._page(row, view, so_far, *rest)
        then = await super()._page(RunThen, view, where.also("is_made"), *rest)
        # What changed between the two is in both; it was as it is in the first.
        known: dict[str, Any] = {each.run_id: each for each in (*then.rows, *now.rows)}
        both = sorted(known.values(), key=attrgetter(*order), reverse=True)
        is_cut = len(both) > limit or now.next is not None or then.next is not None
        both = both[:limit]
        made = await self._made_of([each.run_id for each in both if isinstance(each, RunThen)])
        rows = [made[each.run_id] if isinstance(each, RunThen) else each for each in both]
        return Page(rows, next_after(attrgetter(*order)(both[-1])) if is_cut else None)

    async def _made_of(self, run_ids: Sequence[str]) -> Mapping[str, Any]:
        async with self._frozen() as fetch:
            return {row.run_id: row async for row in self._made(fetch, runs_view.runs, run_ids)}
