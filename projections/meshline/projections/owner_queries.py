"""Reading what is whose: all that somebody has now, and what went from whom to whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from meshline.projections.exception_view import OPEN_EXCEPTIONS
from meshline.projections.handovers_view import HandoverRow
from meshline.projections.pages import LIMIT_MAX, Page, next_after, values_after
from meshline.projections.summaries import OPEN_RUNS
from meshline.projections.tasks_view import OPEN_TASKS

__all__ = ["POSSESSIONS_THEN", "OwnerQueries", "Possession"]

# Each state of each kind gives its first rows by an index: however much somebody has, a page of it
# is all that is read. An exception that says that they are gone ends with the last of the others.
_POSSESSIONS = """
select * from (
    (select each.* from unnest($2::text[]) as open, lateral (
        select 'run' as kind, run_id, '' as about, workflow, state, started_at as since
        from {ns}.runs where owner = $1 and state = open and run_id >= $6
          and ($5::text is null or run_id = $5) and (run_id, 'run', '') > ($6, $7, $8)
        order by run_id limit $9
    ) as each)
    union all
    (select each.* from unnest($2::text[]) as open, lateral (
        select 'run', run_id, '', workflow, state, started_at
        from {ns}.runs where assignee = $1 and owner <> $1 and state = open and run_id >= $6
          and ($5::text is null or run_id = $5) and (run_id, 'run', '') > ($6, $7, $8)
        order by run_id limit $9
    ) as each)
    union all
    (select each.* from unnest($3::text[]) as open, lateral (
        select 'exception', run_id, exception_id, workflow, state, opened_at
        from {ns}.exceptions where owner = $1 and state = open and run_id >= $6
          and ($5::text is null or run_id = $5)
          and (run_id, 'exception', exception_id) > ($6, $7, $8)
          and not (kind = 'owner_gone' and about = $1)
        order by run_id, exception_id limit $9
    ) as each)
    union all
    select kind, run_id, task, workflow, state, requested_at
    from {ns}.tasks where (owner = $1 or assignee = $1) and state = any($4::text[])
      and ($5::text is null or run_id = $5) and (run_id, kind, task) > ($6, $7, $8)
) as theirs
order by run_id, kind, about limit $9
"""

# Of tables that are made for the question there are no indexes: each is gone through once.
POSSESSIONS_THEN = """
select * from (
    select 'run' as kind, run_id, '' as about, workflow, state, started_at as since
    from {ns}.runs where (owner = $1 or assignee = $1) and state = any($2::text[])
    union all
    select 'exception', run_id, exception_id, workflow, state, opened_at
    from {ns}.exceptions where owner = $1 and state = any($3::text[])
      and not (kind = 'owner_gone' and about = $1)
    union all
    select kind, run_id, task, workflow, state, requested_at
    from {ns}.tasks where (owner = $1 or assignee = $1) and state = any($4::text[])
) as theirs
where ($5::text is null or run_id = $5) and (run_id, kind, about) > ($6, $7, $8)
order by run_id, kind, about limit $9
"""

_HANDOVERS = """
select * from {ns}.handovers
where ($1::text is null or run_id = $1)
  and (time, partition, log_offset) < ($2, $3::int, $4::bigint)
order by time desc, partition desc, log_offset desc limit $5
"""
# What came to them and what left them, each by an index of its own.
_HANDOVERS_OF_ONE = """
select * from (
    (select * from {ns}.handovers where owner = $6 and ($1::text is null or run_id = $1)
       and (time, partition, log_offset) < ($2, $3::int, $4::bigint)
     order by time desc, partition desc, log_offset desc limit $5)
    union all
    (select * from {ns}.handovers where previous = $6 and owner <> $6
       and ($1::text is null or run_id = $1)
       and (time, partition, log_offset) < ($2, $3::int, $4::bigint)
     order by time desc, partition desc, log_offset desc limit $5)
) as theirs
order by time desc, partition desc, log_offset desc limit $5
"""

_LATEST = (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), 2**31 - 1, 2**63 - 1)


class Possession(NamedTuple):
    """Something open that is somebody's; ``about`` is an exception's id or a task's name."""

    kind: Literal["run", "exception", "approval", "task"]
    run_id: str
    about: str
    workflow: str
    state: str
    since: datetime


class _Fetching(Protocol):
    _possessions: str

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...


class OwnerQueries:
    """The part of ``Views`` that tells what is whose."""

    _possessions = _POSSESSIONS

    async def possessions(
        self: _Fetching,
        owner: str,
        *,
        run_id: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[Possession]:
        """Return all that is open and somebody's: runs, exceptions, work for people; run by run."""
        limit = max(1, min(limit, LIMIT_MAX))
        last: Sequence[Any] = ("", "", "") if after is None else values_after(after, [str] * 3)
        found = await self._fetch(
            self._possessions, owner, OPEN_RUNS, OPEN_EXCEPTIONS, OPEN_TASKS, run_id, *last,
            limit + 1,
        )  # fmt: skip
        rows = [Possession(**each) for each in found]
        return _page(rows, limit, ("run_id", "kind", "about"))

    async def handovers(
        self: _Fetching,
        *,
        run_id: str | None = None,
        owner: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[HandoverRow]:
        """Return what went from whom to whom, the latest first; ``owner`` is either of them."""
        limit = max(1, min(limit, LIMIT_MAX))
        kinds = [datetime, int, int]
        last: Sequence[Any] = _LATEST if after is None else values_after(after, kinds)
        if owner is None:
            found = await self._fetch(_HANDOVERS, run_id, *last, limit + 1)
        else:
            found = await self._fetch(_HANDOVERS_OF_ONE, run_id, *last, limit + 1, owner)
        rows = [HandoverRow(**each) for each in found]
        return _page(rows, limit, ("time", "partition", "log_offset"))


def _page(rows: list[Any], limit: int, order: Sequence[str]) -> Page[Any]:
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], next_after(getattr(last, name) for name in order))
