"""Reading whose work there is: one person's list, and how much everybody has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from meshline.events.people import People
from meshline.projections.directory_view import AbsenceRow, DirectoryRow
from meshline.projections.pages import LIMIT_MAX, Page, next_after, values_after
from meshline.projections.tasks_view import OPEN_TASKS, TaskRow
from meshline.projections.work import NEVER, PRIORITIES, WorkRow, order_of, people_of, work_of

__all__ = ["PersonLoad", "QueueLoad", "WorkQueries"]

_READ_AT_ONCE = 500

_BEGIN = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
_BEFORE_ALL = (_BEGIN, 0, _BEGIN, "", "")

# All that may be theirs, and little else: whether it is, ``work_of`` says of each.
_WORK = """
select * from {ns}.tasks
where state = any($1::text[])
  and (assignee = any($2::text[]) or delegate = $3
       or (assignee is null and ($4::text[] is null or candidates ?| $4)))
  and (coalesce(due_at, $5), array_position($6::text[], priority), requested_at, run_id, task)
      > ($7, $8::int, $9, $10, $11)
order by coalesce(due_at, $5), array_position($6::text[], priority), requested_at, run_id, task
limit $12
"""

_LOADS = """
select assignee, delegate, candidates, count(*) as open,
       count(*) filter (where due_at < $2) as late, min(requested_at) as oldest_at
from {ns}.tasks where state = any($1::text[])
group by assignee, delegate, candidates
"""

_QUEUES = """
select owner, count(*) as open, count(*) filter (where assignee is null) as unclaimed,
       count(*) filter (where due_at < $2) as late, min(requested_at) as oldest_at
from {ns}.tasks where state = any($1::text[])
group by owner order by min(requested_at), owner
"""


class PersonLoad(NamedTuple):
    """How much somebody has, and could take.

    ``claimed`` is what they have, ``delegated`` what another has and lets them decide; ``late`` of
    both is past its due time. ``asked`` is what nobody has and they are asked, with others or not.
    ``oldest_at`` is when the oldest of what they have was asked. ``away_until``: they are away now,
    or will be.
    """

    person: str
    claimed: int
    delegated: int
    late: int
    asked: int
    oldest_at: datetime | None
    away_until: datetime | None
    substitute: str | None


class QueueLoad(NamedTuple):
    """What an owner is asked for and nobody has ended; ``unclaimed`` is what nobody has."""

    owner: str
    open: int
    unclaimed: int
    late: int
    oldest_at: datetime


class _Fetching(Protocol):
    @property
    def is_narrowed(self) -> bool: ...

    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...

    async def directory(self) -> DirectoryRow | None: ...

    async def absences(self, now: datetime) -> list[AbsenceRow]: ...

    async def people(self, now: datetime) -> People: ...


class WorkQueries:
    """The part of ``Views`` that is about work for people."""

    async def people(self: _Fetching, now: datetime) -> People:
        """Return who there is, and who is away now or will be."""
        return people_of(await self.directory(), await self.absences(now))

    async def work(
        self: _Fetching,
        user: str | None,
        now: datetime,
        *,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[WorkRow]:
        """Return what a user may do: what is due first, then priority, then age.

        Args:
            user: any principal; None is for views that know who asks.
        """
        assert user is not None, "these views know nobody"
        limit = max(1, min(limit, LIMIT_MAX))
        people = await self.people(now)
        away = [
            each.absent
            for each in people.absences
            if each.substitute == user and each.since <= now < each.until
        ]
        names = [user, *away]
        roster = people.roster
        principals = None if roster is None else [*set().union(*map(roster.roles_of, names))]
        kinds = [datetime, int, datetime, str, str]
        last: Sequence[Any] = _BEFORE_ALL if after is None else values_after(after, kinds)
        rows: list[WorkRow] = []
        while True:
            found = await self._fetch(
                _WORK, OPEN_TASKS, names, user, principals, NEVER, PRIORITIES, *last,
                _READ_AT_ONCE,
            )  # fmt: skip
            asked = [TaskRow(**record) for record in found]
            rows += [work for each in asked if (work := work_of(each, people, user, now))]
            if len(rows) > limit:
                return Page(rows[:limit], next_after(order_of(rows[limit - 1])))
            if len(found) < _READ_AT_ONCE:
                return Page(rows, None)
            last = order_of(asked[-1])

    async def person_loads(self: _Fetching, now: datetime) -> list[PersonLoad]:
        """Return how much each person has, and who is away; those with the most first.

        Where there is no directory, everybody is asked what a team or a role is: only those who
        have something, or are asked by name, are told of.
        """
        people = await self.people(now)
        counts: dict[str, _Count] = {}
        for row in await self._fetch(_LOADS, OPEN_TASKS, now):
            for person, place in _shares(row, people):
                count = counts.setdefault(person, _Count())
                setattr(count, place, getattr(count, place) + row["open"])
                if place != "asked":
                    count.late += row["late"]
                    oldest = (each for each in (count.oldest_at, row["oldest_at"]) if each)
                    count.oldest_at = min(oldest)
        # Who is away and has nothing here is nobody that a team's own views know of.
        for absence in () if self.is_narrowed else people.absences:
            counts.setdefault(absence.absent, _Count())
        loads = [_load(person, count, people) for person, count in counts.items()]
        return sorted(loads, key=lambda o: (-(o.claimed + o.delegated), -o.asked, o.person))

    async def queue_loads(self: _Fetching, now: datetime) -> list[QueueLoad]:
        """Return what each owner is asked, the one with the oldest first."""
        rows = await self._fetch(_QUEUES, OPEN_TASKS, now)
        return [QueueLoad(**row) for row in rows]


@dataclass
class _Count:
    claimed: int = 0
    delegated: int = 0
    late: int = 0
    asked: int = 0
    oldest_at: datetime | None = None


def _shares(row: dict[str, Any], people: People) -> Iterator[tuple[str, str]]:
    """Yield whose some rows are that are alike, and how."""
    if row["assignee"] is not None:
        yield row["assignee"], "claimed"
        if row["delegate"] is not None:
            yield row["delegate"], "delegated"
        return
    users: set[str] = set()
    for candidate in row["candidates"]:
        if people.roster is not None:
            users.update(people.roster.users_of(candidate))
        elif candidate.startswith("user:"):
            users.add(candidate)
    for user in users:
        yield user, "asked"


def _load(person: str, count: _Count, people: People) -> PersonLoad:
    absence = people.absence_of(person)
    return PersonLoad(
        person=person,
        **vars(count),
        away_until=None if absence is None else absence.until,
        substitute=None if absence is None else absence.substitute,
    )
