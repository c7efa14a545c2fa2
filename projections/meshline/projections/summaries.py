"""What comes in, what is open and what is late, counted: for who looks at the whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Protocol

from meshline.projections.runs_view import RunRow
from meshline.projections.tasks_view import OPEN_TASKS

__all__ = ["OPEN_RUNS", "OwnerLoad", "RouteLoad", "SourceFlow", "Summaries", "VersionCount"]

OPEN_RUNS = ["running", "waiting", "held", "paused"]


class SourceFlow(NamedTuple):
    """What a source has sent since a moment, and what became of it."""

    source: str
    total: int
    accepted: int
    repeated: int
    rejected: int
    last_at: datetime


class OwnerLoad(NamedTuple):
    """What an owner has open now."""

    owner: str
    runs: int
    held: int
    exceptions: int
    approvals: int
    tasks: int

    @property
    def total(self) -> int:
        return self.runs + self.exceptions + self.approvals + self.tasks


class RouteLoad(NamedTuple):
    """The exceptions that are open on a route; ``late`` are past their due time.

    ``acknowledged`` counts what somebody has seen, and so what is in progress too.
    """

    route: str
    open: int
    acknowledged: int
    severe: int
    late: int
    oldest_at: datetime


class VersionCount(NamedTuple):
    """How many runs of a workflow's version are in a state."""

    workflow: str
    version: int
    state: str
    runs: int


class _Fetching(Protocol):
    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...


class Summaries:
    """The part of ``Views`` that counts."""

    async def last_received(
        self: _Fetching, source: str, trigger_type: str, after: datetime | None = None
    ) -> datetime | None:
        """Return when the source sent the last trigger of this type, or one of no type.

        Args:
            after: only if it was later; what is older need not be looked at.
        """
        sql = "select received_at from {ns}.triggers where source = $1 and trigger_type = any($2)"
        values: list[Any] = [source, ["", trigger_type]]
        if after is not None:
            sql += " and received_at > $3"
            values.append(after)
        rows = await self._fetch(f"{sql} order by received_at desc limit 1", *values)
        return rows[0]["received_at"] if rows else None

    async def source_flows(self: _Fetching, since: datetime) -> list[SourceFlow]:
        """Return what came in since then, by source."""
        rows = await self._fetch(
            "select source, count(*) as total, "
            "count(*) filter (where status = 'accepted') as accepted, "
            "count(*) filter (where status = 'repeated') as repeated, "
            "count(*) filter (where status = 'rejected') as rejected, "
            "max(received_at) as last_at "
            "from {ns}.triggers where received_at >= $1 group by source order by source",
            since,
        )
        return [SourceFlow(**row) for row in rows]

    async def owners(self: _Fetching) -> list[OwnerLoad]:
        """Return who has something open, those with the most first."""
        rows = await self._fetch(
            """
            select owner, sum(runs)::bigint as runs, sum(held)::bigint as held,
                   sum(exceptions)::bigint as exceptions, sum(approvals)::bigint as approvals,
                   sum(tasks)::bigint as tasks
            from (
                select owner, count(*) as runs, count(*) filter (where state = 'held') as held,
                       0 as exceptions, 0 as approvals, 0 as tasks
                from {ns}.runs where state = any($1::text[]) group by owner
                union all
                select owner, 0, 0, count(*), 0, 0
                from {ns}.exceptions where state not in ('resolved', 'dismissed')
                group by owner
                union all
                select owner, 0, 0, 0, count(*) filter (where kind = 'approval'),
                       count(*) filter (where kind = 'task')
                from {ns}.tasks where state = any($2::text[]) group by owner
            ) as parts
            group by owner
            order by sum(runs + exceptions + approvals + tasks) desc, owner
            """,
            OPEN_RUNS,
            OPEN_TASKS,
        )
        return [OwnerLoad(**row) for row in rows]

    async def route_loads(self: _Fetching, now: datetime) -> list[RouteLoad]:
        """Return where exceptions are open, the route with the oldest first."""
        rows = await self._fetch(
            "select route, count(*) as open, "
            "count(*) filter (where state <> 'open') as acknowledged, "
            "count(*) filter (where severity in ('high', 'critical')) as severe, "
            "count(*) filter (where due_at < $1) as late, "
            "min(opened_at) as oldest_at "
            "from {ns}.exceptions where state not in ('resolved', 'dismissed') "
            "group by route order by min(opened_at)",
            now,
        )
        return [RouteLoad(**row) for row in rows]

    async def late_runs(self: _Fetching, now: datetime, *, limit: int = 20) -> list[RunRow]:
        """Return open runs past their due time, the latest first."""
        rows = await self._fetch(
            "select * from {ns}.runs where state = any($1::text[]) and due_at < $2 "
            "order by due_at, run_id limit $3",
            OPEN_RUNS,
            now,
            limit,
        )
        return [RunRow(**row) for row in rows]

    async def version_counts(self: _Fetching) -> list[VersionCount]:
        """Return the number of runs by workflow, version and state."""
        rows = await self._fetch(
            "select workflow, version, state, count(*) as runs from {ns}.runs "
            "group by workflow, version, state order by workflow, version, state"
        )
        return [VersionCount(**row) for row in rows]
