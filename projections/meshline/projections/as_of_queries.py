"""The read side of the past: what ``Views`` answers, from rows that were folded up to a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from meshline.events.log import EventLog
from meshline.projections import (
    directory_view,
    exception_view,
    ownership_view,
    runs_view,
    tasks_view,
)
from meshline.projections.as_of import Moment, fold_as_of, fold_history, rows_until
from meshline.projections.directory_view import DirectoryRow
from meshline.projections.errors import NotFound
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.history_view import HistoryRow
from meshline.projections.memory_store import MemoryStore
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.pages import LIMIT_MAX, Page, next_after, row_after
from meshline.projections.projection import Table
from meshline.projections.queries import OPEN_RUNS, Views
from meshline.projections.run_values import whole_history
from meshline.projections.runs_view import RunRow
from meshline.projections.scope import Scope
from meshline.projections.snapshots import KeptViews
from meshline.projections.summaries import OwnerLoad
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow

__all__ = ["ABOUT_RUNS", "ViewsAsOf"]

R = TypeVar("R", bound=tuple[Any, ...])

ABOUT_RUNS = (
    runs_view.projection,
    ownership_view.projection,
    exception_view.projection,
    tasks_view.projection,
)
"""What these queries read."""


class ViewsAsOf:
    """Answers as ``Views`` does, with the same filters, order and pages, about the past."""

    def __init__(
        self,
        store: MemoryStore,
        history: Sequence[HistoryRow] = (),
        scope: Scope | None = None,
    ) -> None:
        self._store = store
        self._history = history
        self._scope = scope

    @staticmethod
    async def of_log(
        log: EventLog,
        moment: Moment,
        kept: KeptViews | None = None,
        scope: Scope | None = None,
    ) -> ViewsAsOf:
        """Fold the log up to the moment, from what is kept: for lists. The history is left out.

        Args:
            scope: whose it was then counts, not whose it is.
        """
        return ViewsAsOf(await fold_as_of(log, ABOUT_RUNS, moment, kept), scope=scope)

    @staticmethod
    async def of_people(log: EventLog, moment: Moment, kept: KeptViews | None = None) -> ViewsAsOf:
        """Fold what the log says of people up to the moment."""
        return ViewsAsOf(await fold_as_of(log, (directory_view.projection,), moment, kept))

    @staticmethod
    async def of_run(views: Views, begins: str, moment: Moment) -> ViewsAsOf:
        """Fold the events of one run, from its history: quick, however long the log is.

        Args:
            views: as far as they are, so far the answer goes.
            begins: the run's id, or enough of its beginning.
        Raises:
            NotFound: there is no such run, or at the moment there was none yet.
        """
        run_id = (await views.run(begins)).run_id
        return await ViewsAsOf.of_history(run_id, await whole_history(views, run_id), moment)

    @staticmethod
    async def of_history(run_id: str, history: Sequence[HistoryRow], moment: Moment) -> ViewsAsOf:
        """Fold the whole history of one run up to the moment; see ``of_run``."""
        store = await fold_history(history, ABOUT_RUNS, moment)
        found = ViewsAsOf(store, rows_until(history, moment))
        if not await store.rows(runs_view.runs):
            raise NotFound(
                f"The run {run_id} had not started then: expected a moment after its first event. "
                f"`meshline run history {run_id[:8]}` tells when that was."
            )
        return found

    async def _rows(self, table: Table[R]) -> list[R]:
        rows = await self._store.rows(table)
        scope = self._scope
        if scope is None:
            return rows
        runs = {r.run_id for r in await self._store.rows(runs_view.runs) if scope.holds(r)}
        # What is about a run goes with it, as long as it is of the same workflow.
        is_of_runs = table.row is RunRow
        return [
            row
            for row in rows
            if getattr(row, "run_id", None) in runs or (not is_of_runs and scope.holds(row))
        ]

    async def runs(
        self,
        *,
        states: Sequence[str] | None = None,
        workflow: str | None = None,
        owner: str | None = None,
        source: str | None = None,
        wait_kind: str | None = None,
        id_prefix: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[RunRow]:
        """See ``Views.runs``."""
        found = [
            row
            for row in await self._rows(runs_view.runs)
            if _is(row, workflow=workflow, source=source, wait_kind=wait_kind)
            and (not states or row.state in states)
            and (owner is None or owner in (row.owner, row.assignee))
            and row.run_id.startswith(id_prefix or "")
        ]
        return _page(found, ("started_at", "run_id"), limit, after)

    async def run(self, run_id: str) -> RunRow:
        """See ``Views.run``."""
        rows = await self._rows(runs_view.runs)
        found = [row for row in rows if row.run_id.startswith(run_id)]
        if len(found) != 1:
            raise NotFound(
                f"{len(found)} runs began with {run_id!r} then: expected one. Give its whole id."
            )
        return found[0]

    async def history(
        self,
        run_id: str,
        *,
        limit: int = LIMIT_MAX,
        after_offset: int = -1,
        types: Iterable[str] | None = None,
        actor: str | None = None,
    ) -> list[HistoryRow]:
        """See ``Views.history``; only where one run was folded."""
        wanted = None if types is None else set(types)
        return [
            row
            for row in self._history
            if row.run_id == run_id
            and row.log_offset > after_offset
            and (wanted is None or row.type in wanted)
            and actor in (None, row.actor)
        ][:limit]

    async def owners(self) -> list[OwnerLoad]:
        """See ``Views.owners``."""
        loads: dict[str, list[int]] = {}

        def count(owner: str, *places: int) -> None:
            for place in places:
                loads.setdefault(owner, [0, 0, 0, 0, 0])[place] += 1

        for run in await self._rows(runs_view.runs):
            if run.state in OPEN_RUNS:
                count(run.owner, 0, *([1] if run.state == "held" else []))
        for exception in await self._rows(exception_view.exceptions):
            if exception.state in OPEN_EXCEPTIONS:
                count(exception.owner, 2)
        for task in await self._rows(tasks_view.tasks):
            if task.state in OPEN_TASKS:
                count(task.owner, 3 if task.kind == "approval" else 4)
        found = [OwnerLoad(owner, *counts) for owner, counts in loads.items()]
        return sorted(found, key=lambda o: (-o.total, o.owner))

    async def periods(self, run_id: str) -> list[PeriodRow]:
        """See ``Views.periods``."""
        rows = await self._rows(ownership_view.periods)
        return [row for row in rows if row.run_id == run_id]

    async def exceptions(
        self,
        *,
        states: Sequence[str] | None = OPEN_EXCEPTIONS,
        limit: int = 50,
        after: str | None = None,
        **equal: str | None,
    ) -> Page[ExceptionRow]:
        """See ``Views.exceptions``."""
        found = [
            row
            for row in await self._rows(exception_view.exceptions)
            if _is(row, **equal) and (not states or row.state in states)
        ]
        return _page(found, ("opened_at", "exception_id"), limit, after)

    async def tasks(
        self,
        *,
        states: Sequence[str] | None = OPEN_TASKS,
        kind: str | None = None,
        owner: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[TaskRow]:
        """See ``Views.tasks``."""
        found = [
            row
            for row in await self._rows(tasks_view.tasks)
            if _is(row, kind=kind, owner=owner, run_id=run_id)
            and (not states or row.state in states)
        ]
        return _page(found, ("requested_at", "run_id", "task"), limit, after)

    async def approvals(
        self,
        *,
        states: Sequence[str] | None = OPEN_TASKS,
        owner: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[TaskRow]:
        """See ``Views.approvals``."""
        return await self.tasks(
            states=states, kind="approval", owner=owner, run_id=run_id, limit=limit, after=after
        )

    async def directory(self) -> DirectoryRow | None:
        """See ``Views.directory``; only where people were folded."""
        rows = await self._store.rows(directory_view.directories)
        return max(rows, key=lambda row: (row.number, row.directory_hash), default=None)


def _is(row: Any, **fields: str | None) -> bool:
    return all(value is None or getattr(row, name) == value for name, value in fields.items())


def _page(found: Iterable[R], order: Sequence[str], limit: int, after: str | None) -> Page[R]:
    limit = max(1, min(limit, LIMIT_MAX))
    key: Callable[[R], Any] = attrgetter(*order)
    newest = sorted(found, key=key, reverse=True)
    if after is not None:
        last = row_after(after, type(newest[0]), order) if newest else []
        newest = [row for row in newest if key(row) < tuple(last)]
    if len(newest) <= limit:
        return Page(newest, None)
    return Page(newest[:limit], next_after(key(newest[limit - 1])))
