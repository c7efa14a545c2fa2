"""Reading exceptions by what caused them: how many there are, where it strikes, and how it goes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol

from meshline.projections.errors import NotFound

__all__ = ["CauseHit", "CauseQueries", "CauseSeen", "ExceptionGroup", "Opened"]

HOURS, DAYS = 48, 30
"""A cause that is younger than so many hours is counted by the hour, an older one by the day."""

_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}

Unit = Literal["hour", "day"]


class ExceptionGroup(NamedTuple):
    """All exceptions of one cause; ``message`` is the newest one's.

    ``resolved`` is one of which somebody said that it is mended in ``in_version``; ``reopened``
    where it came again in that version or a later one, or somebody said that it is not.
    """

    cause: str
    kind: str
    total: int
    open: int
    runs: int
    first_seen: datetime
    last_seen: datetime
    message: str
    workflows: list[str] | None
    routes: list[str]
    state: Literal["open", "resolved", "reopened"] = "open"
    in_version: int | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str | None = None
    reopened_at: datetime | None = None
    reopened_by: str | None = None
    reopened_version: int | None = None


class CauseHit(NamedTuple):
    """How often a cause has struck what a source sent to a workflow."""

    workflow: str
    source: str
    total: int
    open: int
    last_seen: datetime


class Opened(NamedTuple):
    """How many exceptions were opened in the hour or the day that begins then, in UTC."""

    at: datetime
    exceptions: int


class CauseSeen(NamedTuple):
    """A group, what it strikes, and how many were opened in each of the last hours or days."""

    group: ExceptionGroup
    hits: list[CauseHit]
    unit: Unit
    opened: list[Opened]


class _Fetching(Protocol):
    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...


class CauseQueries:
    """The part of ``Views`` that knows causes."""

    async def exception_groups(
        self: _Fetching, *, open_only: bool = True, limit: int = 50
    ) -> list[ExceptionGroup]:
        """Return exceptions by cause, those with the most open first."""
        rows = await self._fetch(
            "select * from {ns}.exception_groups where open > 0 or not $1 "
            "order by open desc, total desc, cause limit $2",
            open_only,
            limit,
        )
        return [ExceptionGroup(**row) for row in rows]

    async def cause(self: _Fetching, cause: str, now: datetime) -> CauseSeen:
        """Return all that is to be seen of one cause.

        Raises:
            NotFound: no exception has it.
        """
        groups = await self._fetch("select * from {ns}.exception_groups where cause = $1", cause)
        if not groups:
            raise NotFound(
                f"No exception has the cause {cause[:60]!r}: expected one of those that "
                "`meshline exception groups --all` lists."
            )
        group = ExceptionGroup(**groups[0])
        hits = await self._fetch(
            "select e.workflow, coalesce("
            "(select r.source from {ns}.runs as r where r.run_id = e.run_id), ''"
            ") as source, count(*) as total, "
            "count(*) filter (where e.state not in ('resolved', 'dismissed')) as open, "
            "max(e.opened_at) as last_seen "
            "from {ns}.exceptions as e where e.cause = $1 "
            "group by 1, 2 order by total desc, 1, 2 limit 100",
            cause,
        )
        unit: Unit = "hour" if now - group.first_seen < timedelta(hours=HOURS) else "day"
        moments = _moments(unit, now)
        counted = await self._fetch(
            "select date_trunc($3, opened_at, 'UTC') as at, count(*) as opened "
            "from {ns}.exceptions where cause = $1 and opened_at >= $2 group by 1",
            cause,
            moments[0],
            unit,
        )
        counts = {row["at"]: row["opened"] for row in counted}
        opened = [Opened(at, counts.get(at, 0)) for at in moments]
        return CauseSeen(group, [CauseHit(**row) for row in hits], unit, opened)


def _moments(unit: Unit, now: datetime) -> list[datetime]:
    """Return when the last hours or days began, the oldest first."""
    begun = now.replace(minute=0, second=0, microsecond=0)
    count = HOURS
    if unit == "day":
        begun, count = begun.replace(hour=0), DAYS
    return [begun - index * _LENGTHS[unit] for index in reversed(range(count))]
