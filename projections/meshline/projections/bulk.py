"""Bulk operations: exceptions are looked at before anything is done, then dealt with one by one.

A list is frozen when it is made: which exceptions, and how each stood. What has changed by the time
that it is applied is left out, and said. The id of an item's request follows from the list and the
item, so whoever is killed in the middle and begins again repeats nothing; and each request says in
the history which list it belongs to, and why.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor, Position
from meshline.events.log import EventLog
from meshline.events.publish import Publisher
from meshline.events.requests import ExceptionActionRequested
from meshline.projections.bulk_list import BulkAction, BulkItem, BulkList, Chosen
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.postgres_connection import Connection, Pool, parse_address
from meshline.projections.postgres_store import lock_id
from meshline.projections.queries import Views

__all__ = ["Bulks"]

ITEMS_MAX = 100_000
AT_ONCE = 50
"""Items that are asked at the same time: they go out as few batches."""

CONFIRMED_ABOVE = 1_000
"""A longer list needs the word of a second person."""

VIEWS_S = 30.0
PAGE = 1_000

_TABLES = """
create schema if not exists {schema};
create table if not exists {schema}.lists (
    name text primary key,
    action text not null,
    more jsonb not null,
    reason text not null,
    chosen jsonb not null,
    items integer not null,
    made_by text not null,
    made_at timestamptz not null,
    confirmed_above integer not null,
    confirmed_by text,
    confirmed_at timestamptz
);
create table if not exists {schema}.items (
    list text not null references {schema}.lists on delete cascade,
    number integer not null,
    exception_id text not null,
    run_id text not null,
    workflow text not null,
    about text not null,
    message text not null,
    state text not null,
    owner text not null,
    blocking boolean not null,
    result text,
    detail text not null default '',
    primary key (list, number)
);
"""


class Bulks:
    """The lists of an installation.

    Args:
        address: of the views: the lists are in a schema beside theirs.
        confirmed_above: a longer list needs the word of a second person.
    """

    def __init__(
        self, address: str, *, clock: Clock | None = None, confirmed_above: int = CONFIRMED_ABOVE
    ) -> None:
        self._confirmed_above = confirmed_above
        self._address = parse_address(address)
        self._schema = f"{self._address.namespace}_bulk"
        self._pool = Pool(self._address, connections_max=2)
        self._clock = clock or SystemClock()

    async def open(self) -> None:
        """Make the tables if they are not there."""
        for statement in _TABLES.format(schema=self._schema).split(";\n"):
            if statement.strip():
                await self._pool.fetch(statement)

    async def aclose(self) -> None:
        await self._pool.aclose()

    # -- making and looking --------------------------------------------------------------------

    async def freeze(
        self,
        views: Views,
        action: BulkAction,
        chosen: Chosen,
        *,
        actor: str,
        reason: str,
        more: Mapping[str, Any] | None = None,
        confirmed_above: int = CONFIRMED_ABOVE,
    ) -> BulkList:
        """Make a list of what fits now, and do nothing about it.

        Args:
            confirmed_above: whoever makes a list may be more careful than the installation is, and
                not less.
        Raises:
            NotFound: nothing fits.
            NotReady: there is more than one list may hold.
        """
        rows = [row async for row in _fitting(views, chosen)]
        if not rows:
            raise NotFound(
                "No open exception fits: expected some. See `meshline exception groups`."
            )
        if len(rows) > ITEMS_MAX:
            raise NotReady(
                f"More than {ITEMS_MAX:,} exceptions fit: expected at most so many. Choose fewer: "
                "by workflow, step or cause."
            )
        name = f"bulk-{uuid.uuid4().hex[:10]}"
        # The list comes with its items or not at all: one statement.
        await self._pool.fetch(
            f"""
            with made as (
                insert into {self._schema}.lists values
                    ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning name
            )
            insert into {self._schema}.items
            select made.name, i.* from made, unnest(
                $10::integer[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                $16::text[], $17::text[], $18::boolean[]
            ) as i
            """,
            name,
            action,
            dict(more or {}),
            reason,
            {k: None if v is None else str(v) for k, v in chosen.as_dict().items()},
            len(rows),
            actor,
            self._clock.now(),
            min(confirmed_above, self._confirmed_above),
            [*range(1, len(rows) + 1)],
            *_columns(rows),
        )
        return await self.one(name)

    async def one(self, name: str) -> BulkList:
        """Raises NotFound: there is no such list."""
        found = await self._pool.fetch(f"select * from {self._schema}.lists where name = $1", name)
        if not found:
            raise NotFound(
                f"There is no list {name!r}: expected the name that the preview gave. See "
                "`meshline bulk list`."
            )
        return BulkList(**found[0])

    async def all(self, limit: int = 50) -> list[BulkList]:
        """Return the lists, the newest first."""
        found = await self._pool.fetch(
            f"select * from {self._schema}.lists order by made_at desc, name limit $1", limit
        )
        return [BulkList(**record) for record in found]

    async def items(self, name: str) -> list[BulkItem]:
        found = await self._pool.fetch(
            f"select * from {self._schema}.items where list = $1 order by number", name
        )
        return [BulkItem(**record) for record in found]

    async def counts(self, name: str) -> dict[str, int]:
        """Return how many items came to what; ``left`` have no result yet."""
        found = await self._pool.fetch(
            f"select coalesce(result, 'left') as result, count(*) as items "
            f"from {self._schema}.items where list = $1 group by 1",
            name,
        )
        return {record["result"]: record["items"] for record in found}

    async def confirm(self, name: str, *, actor: str) -> BulkList:
        """A second person agrees.

        Raises:
            NotFound: there is no such list.
            NotReady: the actor made it.
        """
        made = await self.one(name)
        if made.made_by == actor:
            raise NotReady(
                f"{actor} made the list {name}: expected another to confirm it. Let somebody else "
                f"look at `meshline bulk show {name}`."
            )
        await self._pool.fetch(
            f"update {self._schema}.lists set confirmed_by = $2, confirmed_at = $3 "
            "where name = $1 and confirmed_by is null",
            name,
            actor,
            self._clock.now(),
        )
        return await self.one(name)

    # -- doing ---------------------------------------------------------------------------------

    async def apply(
        self,
        name: str,
        views: Views,
        publisher: Publisher,
        log: EventLog,
        *,
        actor: Actor,
        wait_s: float = 30.0,
    ) -> AsyncGenerator[BulkItem]:
        """Do what the list says, item by item, and give each with its result.

        Begun again, it goes on with what has no result yet. ``unanswered`` items are in the log,
        and are looked up when it is begun once more.

        Raises:
            NotFound: there is no such list.
            NotReady: a second person has not confirmed it, or somebody is at it already.
            NotReached: the views are too far behind to tell what has changed.
        """
        connection = Connection(self._address)
        try:
            # Two at once would each find what the other has just asked, and take it for refused.
            async with connection.use() as session:
                lock = lock_id(self._address.namespace, "bulk", name)
                if not (await session.fetch("select pg_try_advisory_lock($1)", lock))[0][0]:
                    raise NotReady(
                        f"The list {name} is being applied already: expected one at a time. Wait, "
                        f"then see `meshline bulk show {name}`."
                    )
                applying = self._apply(name, views, publisher, log, actor, wait_s)
                async with aclosing(applying):
                    async for item in applying:
                        yield item
        finally:
            await connection.aclose()

    async def _apply(
        self,
        name: str,
        views: Views,
        publisher: Publisher,
        log: EventLog,
        actor: Actor,
        wait_s: float,
    ) -> AsyncGenerator[BulkItem]:
        made = await self.one(name)
        if made.is_unconfirmed:
            raise NotReady(
                f"The list {name} has {made.items:,} items, and more than {made.confirmed_above:,} "
                "need the word of a second person: let somebody else type `meshline bulk confirm "
                f"{name}`."
            )
        # What was asked before a kill has to be in the views, or it would be asked once more.
        ends = await log.ends()
        positions = [Position(p, end - 1) for p, end in ends.items() if end]
        await views.reached(positions, ("exceptions", "history"), timeout_s=VIEWS_S)
        left = [i for i in await self.items(name) if i.result in (None, "unanswered")]
        for first in range(0, len(left), AT_ONCE):
            some = left[first : first + AT_ONCE]
            asking = [self._item(made, item, views, publisher, actor, wait_s) for item in some]
            done = await asyncio.gather(*asking)
            await self._keep(done)
            for item in done:
                yield item

    async def _item(
        self,
        made: BulkList,
        item: BulkItem,
        views: Views,
        publisher: Publisher,
        actor: Actor,
        wait_s: float,
    ) -> BulkItem:
        asked = await views.asked(item.run_id, item.event_id)
        if asked is not None:
            _, answer = asked
            if answer is None:
                return item._replace(result="unanswered", detail="no worker has decided yet")
            if answer.type.startswith("meshline.request.rejected"):
                return item._replace(result="refused", detail=str(answer.data["reason"]))
            return item._replace(result="done", detail="asked before")
        row = await views.exception(item.exception_id)
        if (row.state, row.owner) != (item.state, item.owner):
            return item._replace(result="skipped", detail=_change(item, row))
        request = ExceptionActionRequested(
            exception_id=item.exception_id,
            action=made.action,
            reason=f"{made.reason} ({made.name})",
            **made.more,
        )
        answered = await publisher.request(
            item.run_id,
            request,
            actor=actor,
            event_id=item.event_id,
            correlation_id=made.name,
            wait_s=wait_s,
        )
        if answered.status == "rejected":
            return item._replace(result="refused", detail=answered.reason)
        if answered.status == "appended":
            return item._replace(result="unanswered", detail="no worker has decided yet")
        return item._replace(result="done", detail="")

    async def _keep(self, items: Sequence[BulkItem]) -> None:
        await self._pool.fetch(
            f"update {self._schema}.items i set result = r.result, detail = r.detail "
            "from unnest($2::integer[], $3::text[], $4::text[]) as r (number, result, detail) "
            "where i.list = $1 and i.number = r.number",
            items[0].list,
            [item.number for item in items],
            [item.result for item in items],
            [item.detail.replace("\x00", "")[:2_000] for item in items],
        )


async def _fitting(views: Views, chosen: Chosen) -> AsyncIterator[ExceptionRow]:
    after: str | None = None
    while True:
        page = await views.exceptions(
            cause=chosen.cause,
            workflow=chosen.workflow,
            kind=chosen.kind,
            owner=chosen.owner,
            route=chosen.route,
            severity=chosen.severity,
            limit=PAGE,
            after=after,
        )
        for row in page.rows:
            if chosen.has(row):
                yield row
        if page.next is None:
            return
        after = page.next


def _columns(rows: Sequence[ExceptionRow]) -> Iterator[list[Any]]:
    names = ("exception_id", "run_id", "workflow", "about", "message", "state", "owner", "blocking")
    for name in names:
        yield [getattr(row, name) for row in rows]


def _change(item: BulkItem, row: ExceptionRow) -> str:
    if row.state == "resolved":
        who = "" if row.resolved_by is None else f" by {row.resolved_by}"
        return f"it was {row.how or 'resolved'} meanwhile{who}"
    return (
        f"it changed meanwhile: it was {item.state} with {item.owner}, and is {row.state} with "
        f"{row.owner}"
    )
