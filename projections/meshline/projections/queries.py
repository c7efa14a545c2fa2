"""Reading the views: what the command line, the API and the console show.

Every answer is read from the stable names, so it comes from the version that is live. Lists come
in pages; a page's ``next`` is handed in as ``after`` to get the one that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any, TypeVar

from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections.audit_queries import AuditQueries
from meshline.projections.cause_queries import CauseQueries
from meshline.projections.conditions import Conditions as _Conditions
from meshline.projections.errors import NotFound
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.history_view import HistoryRow
from meshline.projections.lag import ViewLag, lag_of, reached
from meshline.projections.owner_queries import OwnerQueries
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.pages import LIMIT_MAX, Page, next_after, row_after
from meshline.projections.people_queries import PeopleQueries
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.postgres_schema import Books, offsets_from, quoted, statuses_from
from meshline.projections.runs_view import RunRow
from meshline.projections.scope import Scope
from meshline.projections.store import ViewStatus
from meshline.projections.summaries import OPEN_RUNS, Summaries
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow
from meshline.projections.triggers_view import TriggerRow
from meshline.projections.work_queries import WorkQueries
from meshline.projections.workflows_view import WorkflowRow

__all__ = [
    "OPEN_RUNS",
    "Page",
    "Views",
    "as_json",
]

R = TypeVar("R", bound=tuple[Any, ...])


def as_json(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a row as a dict of plain values and times, as ``orjson`` takes them."""
    fields: dict[str, Any] = row._asdict()  # type: ignore[attr-defined]
    return fields


class Views(OwnerQueries, PeopleQueries, AuditQueries, CauseQueries, Summaries, WorkQueries):
    """The views in a PostgreSQL. Safe for many tasks at once.

    Args:
        address: as the projector's: ``postgresql://…``.
    """

    def __init__(self, address: str, *, connections_max: int = 4) -> None:
        parsed = parse_address(address)
        self._namespace = parsed.namespace
        self._books = Books(parsed.namespace)
        self._pool = Pool(parsed, connections_max)
        self._scope: Scope | None = None

    def within(self, scope: Scope | None) -> Views:
        """Return the same views as one team sees them; to be closed is the original."""
        narrowed = copy(self)
        narrowed._scope = scope
        return narrowed

    @property
    def is_narrowed(self) -> bool:
        """Whether these are the views of one team."""
        return self._scope is not None

    @property
    def scope(self) -> Scope | None:
        """Whose views these are; None: they show all."""
        return self._scope

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def known_runs(self, view: str, run_ids: Iterable[str]) -> set[str]:
        """Return those of the runs of which the view shows something."""
        rows = await self._fetch(
            f"select distinct run_id from {{ns}}.{view} where run_id = any($1::text[])", [*run_ids]
        )
        return {row["run_id"] for row in rows}

    # -- runs ----------------------------------------------------------------------------------

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
        """Return runs, those that started last first; ``owner`` also finds assignees."""
        where = _Conditions()
        where.one_of("state", states)
        where.equal(workflow=workflow, source=source, wait_kind=wait_kind)
        if owner is not None:
            where.add("(owner = ? or assignee = ?)", owner, owner)
        where.begins("run_id", id_prefix)
        return await self._page(RunRow, "runs", where, ("started_at", "run_id"), limit, after)

    async def run(self, run_id: str) -> RunRow:
        """Return the run with this id, or the only one whose id begins so.

        Raises:
            NotFound: there is none, or more than one.
        """
        return await self._one(RunRow, "runs", "run_id", run_id)

    async def run_counts(self) -> dict[str, int]:
        """Return the number of runs by state."""
        rows = await self._fetch("select state, count(*) as n from {ns}.runs group by state")
        return {row["state"]: row["n"] for row in rows}

    async def history(
        self,
        run_id: str,
        *,
        limit: int = LIMIT_MAX,
        after_offset: int = -1,
        types: Iterable[str] | None = None,
        actor: str | None = None,
    ) -> list[HistoryRow]:
        """Return what was said about the run, in the order of the log.

        Args:
            types: only events of these; whole, as in the rows.
        """
        where = _Conditions()
        where.equal(run_id=run_id)
        where.add("log_offset > ?", after_offset)
        if types is not None:
            where.add("type = any(?::text[])", [*types])
        where.equal(actor=actor)
        rows = await self._fetch(
            f"select * from {{ns}}.history {where} order by partition, log_offset limit {limit}",
            *where.arguments,
        )
        return [HistoryRow(**row) for row in rows]

    async def said(
        self, run_ids: Sequence[str], types: Sequence[str]
    ) -> dict[str, list[HistoryRow]]:
        """Return what of these types was said about runs, by run, in the order of the log."""
        rows = await self._fetch(
            "select * from {ns}.history where run_id = any($1::text[]) and type = any($2::text[]) "
            "order by run_id, partition, log_offset",
            [*run_ids],
            [*types],
        )
        found: dict[str, list[HistoryRow]] = {}
        for row in rows:
            found.setdefault(row["run_id"], []).append(HistoryRow(**row))
        return found

    async def asked(
        self, run_id: str, event_id: str
    ) -> tuple[HistoryRow, HistoryRow | None] | None:
        """Return the request about the run with this id, and the fact that answers it."""
        requests = await self._fetch(
            "select * from {ns}.history where run_id = $1 and event_id = $2 and epoch is null "
            "order by log_offset limit 1",
            run_id,
            event_id,
        )
        if not requests:
            return None
        request = HistoryRow(**requests[0])
        answers = await self._fetch(
            "select * from {ns}.history where run_id = $1 and causation_id = $2 "
            "order by log_offset limit 1",
            run_id,
            f"{request.partition}:{request.log_offset}",
        )
        return request, HistoryRow(**answers[0]) if answers else None

    # -- owners --------------------------------------------------------------------------------

    async def periods(self, run_id: str) -> list[PeriodRow]:
        """Return who owned the run, period by period."""
        rows = await self._fetch(
            "select * from {ns}.ownership_periods where run_id = $1 order by number", run_id
        )
        return [PeriodRow(**row) for row in rows]

    # -- exceptions ----------------------------------------------------------------------------

    async def exceptions(
        self,
        *,
        states: Sequence[str] | None = OPEN_EXCEPTIONS,
        route: str | None = None,
        owner: str | None = None,
        kind: str | None = None,
        code: str | None = None,
        severity: str | None = None,
        cause: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[ExceptionRow]:
        """Return exceptions, the newest first; open ones unless ``states`` says otherwise."""
        where = _Conditions()
        where.one_of("state", states)
        where.equal(
            route=route, owner=owner, kind=kind, code=code, severity=severity, cause=cause,
            workflow=workflow, run_id=run_id,
        )  # fmt: skip
        order = ("opened_at", "exception_id")
        return await self._page(ExceptionRow, "exceptions", where, order, limit, after)

    async def exception(self, exception_id: str) -> ExceptionRow:
        """Return the exception with this id, or the only one whose id begins so.

        Raises:
            NotFound: there is none, or more than one.
        """
        return await self._one(ExceptionRow, "exceptions", "exception_id", exception_id)

    # -- work for people, triggers, workflows --------------------------------------------------

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
        """Return work for people, the newest first; what is open unless ``states`` says otherwise.

        Args:
            kind: ``task`` or ``approval``; None: both, since an approval is a task.
        """
        where = _Conditions()
        where.one_of("state", states)
        where.equal(kind=kind, owner=owner, run_id=run_id)
        order = ("requested_at", "run_id", "task")
        return await self._page(TaskRow, "tasks", where, order, limit, after)

    async def approvals(
        self,
        *,
        states: Sequence[str] | None = OPEN_TASKS,
        owner: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[TaskRow]:
        """Return approvals alone; see ``tasks``."""
        return await self.tasks(
            states=states, kind="approval", owner=owner, run_id=run_id, limit=limit, after=after
        )

    async def triggers(
        self,
        *,
        statuses: Sequence[str] | None = None,
        source: str | None = None,
        trigger_id: str | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[TriggerRow]:
        """Return triggers, the newest first."""
        where = _Conditions()
        where.within("received_at", since)
        where.one_of("status", statuses)
        where.equal(source=source, trigger_id=trigger_id, run_id=run_id)
        order = ("received_at", "partition", "log_offset")
        return await self._page(TriggerRow, "triggers", where, order, limit, after)

    async def trigger_counts(self) -> dict[str, int]:
        """Return the number of triggers by status."""
        rows = await self._fetch("select status, count(*) as n from {ns}.triggers group by status")
        return {row["status"]: row["n"] for row in rows}

    async def workflows(self) -> list[WorkflowRow]:
        """Return every registered definition, by name and version."""
        rows = await self._fetch("select * from {ns}.workflows order by workflow, version")
        return [WorkflowRow(**row) for row in rows]

    # -- any table -----------------------------------------------------------------------------

    async def tables(self, view: str) -> dict[str, Sequence[str]]:
        """Return the tables of the build that is live, with the fields of their keys.

        Raises:
            NotFound: no build of the view is live.
        """
        live = await self._pool.fetch(self._books.live, view)
        if not live:
            raise NotFound(
                f"There is no view {view!r} that is live: expected one of those that "
                "`meshline view list` shows."
            )
        tables: dict[str, Any] = live[0]["layout"]["tables"]
        return {name: shape["key"] for name, shape in tables.items()}

    async def table_rows(
        self, table: str, key: Sequence[str], *, limit: int
    ) -> list[dict[str, Any]]:
        """Return the first rows of one of ``tables``, in the order of their keys."""
        order = ", ".join(quoted(field) for field in key)
        return await self._fetch(
            f"select * from {{ns}}.{quoted(table)} order by {order} limit $1", limit
        )

    # -- how far they are ----------------------------------------------------------------------

    async def status(self) -> list[ViewStatus]:
        """Return all views, by name and version."""
        return statuses_from(await self._pool.fetch(self._books.status))

    async def live_checkpoints(self, names: Iterable[str]) -> dict[str, dict[int, int]]:
        """Return the next offset of each partition, for the live version of each name."""
        return offsets_from(await self._pool.fetch(self._books.live_offsets, [*names]))

    async def lag(self, log: EventLog) -> list[ViewLag]:
        """Return how far each view is behind the log."""
        return await lag_of(log, self)

    async def reached(
        self, positions: Iterable[Position], names: Iterable[str] = ("runs",), *, timeout_s: float
    ) -> None:
        """Return when the views hold these positions: read your own writes.

        Raises:
            NotReached: not within ``timeout_s``.
        """
        await reached(self, positions, names, timeout_s=timeout_s)

    # -- reading -------------------------------------------------------------------------------

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        values: Sequence[Any] = arguments
        if self._scope is not None:
            sql, values = self._scope.narrowed(sql, arguments)
        return await self._pool.fetch(sql.replace("{ns}", self._namespace), *values)

    async def _one(self, row: type[R], view: str, key: str, begins: str) -> R:
        where = _Conditions()
        where.begins(key, begins)
        if not begins:
            # Every id begins so; a script whose variable is empty means none of them.
            noun = view.removesuffix("s")
            raise NotFound(f"The id of the {noun} is empty: expected an id or its beginning.")
        found = await self._fetch(
            f"select * from {{ns}}.{view} {where} order by {key} limit 3", *where.arguments
        )
        exact = [r for r in found if r[key] == begins]
        if exact or len(found) == 1:
            return row(**(exact or found)[0])
        which = ", ".join(r[key] for r in found)
        noun = view.removesuffix("s")
        raise NotFound(
            f"There is no {noun} {begins!r}: expected an id or its beginning. List them with "
            f"`meshline {noun} list`."
            if not found
            else f"More than one {noun} begins with {begins!r}: {which} … Give more of the id."
        )

    async def _page(
        self,
        row: type[R],
        view: str,
        where: _Conditions,
        order: Sequence[str],
        limit: int,
        after: str | None,
    ) -> Page[R]:
        """Read one page, newest first, going on behind the last row of the page before."""
        limit = max(1, min(limit, LIMIT_MAX))
        if after is not None:
            last = row_after(after, row, order)
            where.add(f"({', '.join(order)}) < ({', '.join('?' for _ in order)})", *last)
        newest = ", ".join(f"{field} desc" for field in order)
        found = await self._fetch(
            f"select * from {{ns}}.{view} {where} order by {newest} limit {limit + 1}",
            *where.arguments,
        )
        rows = [row(**record) for record in found[:limit]]
        if len(found) <= limit:
            return Page(rows, None)
        return Page(rows, next_after(found[limit - 1][field] for field in order))
