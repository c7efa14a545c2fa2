"""The views of a server: the same questions as where they are, asked over its API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from meshline.client.connection import Connection
from meshline.events.envelope import Position
from meshline.events.errors import SettingsInvalid
from meshline.events.log import EventLog
from meshline.projections.as_of import Moment
from meshline.projections.audit_view import AuditRow
from meshline.projections.cause_queries import CauseHit, CauseSeen, ExceptionGroup, Opened
from meshline.projections.directory_view import AbsenceRow
from meshline.projections.errors import NotFound
from meshline.projections.exception_view import OPEN_EXCEPTIONS, ExceptionRow
from meshline.projections.exchanges import Exchange
from meshline.projections.handovers_view import HandoverRow
from meshline.projections.history_view import HistoryRow
from meshline.projections.lag import ViewLag
from meshline.projections.owner_queries import Possession
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.pages import LIMIT_MAX, Page, next_after
from meshline.projections.queries import Views
from meshline.projections.readings import ReadingRow
from meshline.projections.reasons import Reason
from meshline.projections.runs_view import RunRow
from meshline.projections.summaries import OwnerLoad
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow
from meshline.projections.triggers_view import TriggerRow
from meshline.projections.work import WorkRow
from meshline.projections.work_queries import PersonLoad, QueueLoad
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["RemoteViews", "row_of"]

R = TypeVar("R", bound=tuple[Any, ...])

_EXCEPTION_STATES = (*OPEN_EXCEPTIONS, "resolved", "dismissed")
_TASK_STATES = (*OPEN_TASKS, "approved", "denied", "completed", "withdrawn")
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


class RemoteViews(Views):
    """Args:
    moment: the past one that is asked about; None: now.
    """

    def __init__(self, connection: Connection, moment: Moment | None = None) -> None:
        self._connection = connection
        self._moment = moment
        self._scope = None

    def as_of(self, moment: Moment) -> RemoteViews:
        """Return the same views at a past moment."""
        return RemoteViews(self._connection, moment)

    async def aclose(self) -> None:
        """The connection is closed by who opened it."""

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
        assert id_prefix is None, "show one by its beginning"
        return await self._listed(
            RunRow, "/v1/runs", state=states, workflow=workflow, owner=owner, source=source,
            waiting_on=wait_kind, limit=limit, after=after, **self._past(),
        )  # fmt: skip

    async def run(self, run_id: str) -> RunRow:
        found = await self._connection.get(f"/v1/runs/{_named('run', run_id)}", **self._past())
        return row_of(RunRow, found)

    async def history(
        self,
        run_id: str,
        *,
        limit: int = LIMIT_MAX,
        after_offset: int = -1,
        types: Iterable[str] | None = None,
        actor: str | None = None,
        least: Position | None = None,
    ) -> list[HistoryRow]:
        """Return a run's events, and not before the history has read ``least``."""
        after = None if after_offset < 0 else next_after([after_offset])
        page = await self._listed(
            HistoryRow, f"/v1/runs/{run_id}/history", limit=limit, after=after,
            type=None if types is None else [*types], actor=actor,
            min_position=None if least is None else str(least),
        )  # fmt: skip
        return page.rows

    async def exchanges(self, run_id: str, step: str | None = None) -> list[Exchange]:
        """Return what went into a run or the tries of a step, and what came out; values None where
        the key may read no payloads."""
        part = "" if step is None else f"/steps/{quote(step, safe='')}"
        return await self._all(Exchange, f"/v1/runs/{_named('run', run_id)}{part}/payloads")

    async def reasons(
        self, run_id: str, *, questions: Sequence[str] | None = None, about: str | None = None
    ) -> list[Reason]:
        """Return why a run is as it is; ``saw`` is None where the key may read no payloads.

        Raises:
            NotFound: nobody has heard of the run, nor of a trigger that would be this run.
        """
        path = f"/v1/runs/{_named('run', run_id)}/reasons"
        return await self._all(Reason, path, question=questions, about=about)

    async def owners(self) -> list[OwnerLoad]:
        return await self._all(OwnerLoad, "/v1/owners", **self._past())

    async def periods(self, run_id: str) -> list[PeriodRow]:
        return await self._all(PeriodRow, f"/v1/runs/{run_id}/owners")

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
        return await self._listed(
            ExceptionRow, "/v1/exceptions", state=states or _EXCEPTION_STATES, route=route,
            owner=owner, kind=kind, code=code, severity=severity, cause=cause, workflow=workflow,
            run_id=run_id, limit=limit, after=after, **self._past(),
        )  # fmt: skip

    async def exception(self, exception_id: str) -> ExceptionRow:
        path = f"/v1/exceptions/{_named('exception', exception_id)}"
        return row_of(ExceptionRow, await self._connection.get(path))

    async def exception_groups(
        self, *, open_only: bool = True, limit: int = 50
    ) -> list[ExceptionGroup]:
        page = await self._listed(
            ExceptionGroup, "/v1/exception-groups", all=not open_only, limit=limit, **self._past()
        )
        return page.rows

    async def cause(self, cause: str, now: datetime) -> CauseSeen:
        """See ``Views.cause``; the server's clock counts."""
        path = f"/v1/exception-groups/{_named('cause', cause)}"
        seen = await self._connection.get(path, **self._past())
        return CauseSeen(
            row_of(ExceptionGroup, seen["group"]),
            [row_of(CauseHit, hit) for hit in seen["hits"]],
            seen["unit"],
            [row_of(Opened, each) for each in seen["opened"]],
        )

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
        return await self._listed(
            TaskRow, "/v1/tasks", state=states or _TASK_STATES, kind=kind, owner=owner,
            run_id=run_id, limit=limit, after=after, **self._past(),
        )  # fmt: skip

    async def approvals(
        self,
        *,
        states: Sequence[str] | None = OPEN_TASKS,
        owner: str | None = None,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[TaskRow]:
        return await self.tasks(
            states=states, kind="approval", owner=owner, run_id=run_id, limit=limit, after=after
        )

    async def work(
        self, user: str | None, now: datetime, *, limit: int = 50, after: str | None = None
    ) -> Page[WorkRow]:
        """See ``Views.work``; None is whose key it is. The server's clock counts."""
        return await self._listed(WorkRow, "/v1/work", user=user, limit=limit, after=after)

    async def person_loads(self, now: datetime) -> list[PersonLoad]:
        return await self._all(PersonLoad, "/v1/person-loads", **self._past())

    async def queue_loads(self, now: datetime) -> list[QueueLoad]:
        return await self._all(QueueLoad, "/v1/queue-loads", **self._past())

    async def possessions(
        self,
        owner: str,
        *,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Possession]:
        path = f"/v1/owners/{quote(owner, safe='')}/possessions"
        return await self._listed(
            Possession, path, run_id=run_id, limit=limit, after=after, **self._past()
        )

    async def handovers(
        self,
        *,
        run_id: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[HandoverRow]:
        return await self._listed(
            HandoverRow, "/v1/handovers", run_id=run_id, owner=owner, limit=limit, after=after
        )

    async def absences(self, now: datetime) -> list[AbsenceRow]:
        return await self._all(AbsenceRow, "/v1/absences")

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
        return await self._listed(
            TriggerRow, "/v1/triggers", status=statuses, source=source, id=trigger_id,
            run_id=run_id, since=_sent(since), limit=limit, after=after,
        )  # fmt: skip

    async def audit(
        self,
        *,
        actor: str | None = None,
        actions: Sequence[str] | None = None,
        status: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AuditRow]:
        """See ``Views.audit``."""
        body = await self._connection.get(
            "/v1/audit", actor=actor, action=actions, status=status, workflow=workflow,
            run=run_id, since=_sent(since), until=_sent(until), limit=limit, after=after,
        )  # fmt: skip
        items = ({name: item[name] for name in AuditRow._fields} for item in body["items"])
        return Page([row_of(AuditRow, item) for item in items], body["next"])

    async def readings(
        self,
        *,
        actor: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[ReadingRow]:
        """See ``Views.readings``."""
        return await self._listed(
            ReadingRow, "/v1/audit/readings", actor=actor, workflow=workflow, run=run_id,
            since=_sent(since), until=_sent(until), limit=limit, after=after,
        )  # fmt: skip

    async def workflows(self) -> list[WorkflowRow]:
        return await self._all(WorkflowRow, "/v1/workflows")

    async def lag(self, log: EventLog | None = None) -> list[ViewLag]:
        return await self._all(ViewLag, "/v1/views")

    async def reached(
        self, positions: Iterable[Position], names: Iterable[str] = ("runs",), *, timeout_s: float
    ) -> None:
        """Return when the server's view of runs has read so far."""
        for position in positions:
            await self._connection.get("/v1/runs", limit=1, min_position=str(position))

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        raise SettingsInvalid(
            "This is not asked over a server: expected the views themselves. Type it where they "
            "are, with --views."
        )

    def _past(self) -> dict[str, Any]:
        if self._moment is None:
            return {}
        time = self._moment.time
        places = ",".join(f"{p}:{offset}" for p, offset in self._moment.offsets.items())
        return {
            "as_of": None if time is None else time.isoformat(),
            "by": self._moment.by,
            "as_of_position": places or None,
        }

    async def _listed(self, row: type[R], path: str, **query: Any) -> Page[R]:
        body = await self._connection.get(path, **query)
        return Page([row_of(row, item) for item in body["items"]], body["next"])

    async def _all(self, row: type[R], path: str, **query: Any) -> list[R]:
        rows: list[R] = []
        after: str | None = None
        while True:
            page = await self._listed(row, path, limit=LIMIT_MAX, after=after, **query)
            rows += page.rows
            after = page.next
            if after is None:
                return rows


def _sent(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _named(noun: str, begins: str) -> str:
    if not begins:
        raise NotFound(f"The id of the {noun} is empty: expected an id or its beginning.")
    return quote(begins, safe="")


def row_of(row: type[R], fields: Any) -> R:
    """Return what was sent as such a row."""
    adapter = _ADAPTERS.setdefault(row, TypeAdapter(row))
    found: R = adapter.validate_python(fields)
    return found
