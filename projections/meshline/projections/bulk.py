"""Bulk operations: what is meant is looked at before anything is done; see ``bulk_apply`` for that.

A list is frozen when it is made: which exceptions or runs, and how each stood.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson

from meshline.events.clock import Clock, SystemClock
from meshline.events.secrets import MASK, holds_mask
from meshline.projections.bulk_choice import check, found_by
from meshline.projections.bulk_list import (
    BulkAction,
    BulkItem,
    BulkList,
    Chosen,
    Effect,
    acts_on_runs,
)
from meshline.projections.columns import JsonText, to_json
from meshline.projections.errors import NotFound, NotReady
from meshline.projections.pages import Page, next_after, values_after
from meshline.projections.postgres_connection import Connection, Pool, parse_address
from meshline.projections.postgres_store import lock_id
from meshline.projections.queries import Views
from meshline.projections.scope import Scope

__all__ = ["CONFIRMED_ABOVE", "Bulks"]

CONFIRMED_ABOVE = 1_000
"""A longer list needs the word of a second person."""

_TABLES = """
create schema if not exists {schema};
create table if not exists {schema}.lists (
    name text primary key,
    action text not null,
    more jsonb not null,
    reason text not null,
    chosen jsonb not null,
    items integer not null,
    left_out jsonb not null,
    seen_at jsonb not null,
    scope jsonb,
    made_by text not null,
    made_at timestamptz not null,
    confirmed_above integer not null,
    confirmed_by text,
    confirmed_at timestamptz
);
create table if not exists {schema}.items (
    list text not null references {schema}.lists on delete cascade,
    number integer not null,
    corrected jsonb,
    exception_id text not null,
    run_id text not null,
    workflow text not null,
    about text not null,
    message text not null,
    state text not null,
    owner text not null,
    result text,
    detail text not null default '',
    primary key (list, number)
);
"""
_FROZEN = (
    *("exception_id", "run_id", "workflow", "about", "message", "state", "owner"),
    *("result", "detail"),
)
_OF_THE_LIST = "result is distinct from 'left_out'"


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
        await self._pool.run_script(_TABLES.format(schema=self._schema))

    async def aclose(self) -> None:
        await self._pool.aclose()

    # -- making --------------------------------------------------------------------------------

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
        name: str | None = None,
    ) -> BulkList:
        """Make a list of what fits now and can be acted on so, and do nothing about it.

        Args:
            confirmed_above: whoever makes a list may be more careful than the installation is, and
                not less.
            name: the same name makes one list, however often it is asked for.
        Raises:
            NotFound: nothing fits.
            NotReady: there is more than one list may hold, or it can't be done so.
        """
        more = dict(more or {})
        check(action, chosen, more, reason)
        if holds_mask(more):
            raise NotReady(
                f"A value in it is {MASK}, which stands for a secret that was not shown: expected "
                "the value that all are to have. Nothing was done."
            )
        view = "runs" if acts_on_runs(action) else "exceptions"
        # Before the rows: what the list says of its place is never more than they hold.
        seen_at = (await views.live_checkpoints([view])).get(view, {})
        name = name or f"bulk-{uuid.uuid4().hex[:10]}"
        found = await found_by(views, name, action, chosen, more)
        items = [*found.items, *found.left_out]
        # The list comes with its items or not at all: one statement.
        await self._pool.fetch(
            f"""
            with made as (
                insert into {self._schema}.lists values
                    ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                on conflict do nothing returning name
            )
            insert into {self._schema}.items
            select made.name, i.* from made, unnest(
                $13::integer[], $14::jsonb[],
                {", ".join(f"${15 + n}::text[]" for n in range(len(_FROZEN)))}
            ) as i
            """,
            name,
            action,
            to_json(more),
            reason,
            chosen.as_dict(),
            len(found.items),
            found.counts,
            {str(partition): offset for partition, offset in sorted(seen_at.items())},
            _said(views.scope),
            actor,
            self._clock.now(),
            min(confirmed_above, self._confirmed_above),
            [item.number for item in items],
            # As text: a list in a list is an array of more dimensions.
            [None if i.corrected is None else JsonText(orjson.dumps(i.corrected)) for i in items],
            *([attrgetter(field)(item) for item in items] for field in _FROZEN),
        )
        return await self.one(name, views.scope)

    async def confirm(self, name: str, *, actor: str, scope: Scope | None = None) -> BulkList:
        """A second person agrees.

        Raises:
            NotFound: there is no such list.
            NotReady: the actor made it.
        """
        made = await self.one(name, scope)
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
        return await self.one(name, scope)

    # -- looking -------------------------------------------------------------------------------

    async def one(self, name: str, scope: Scope | None = None) -> BulkList:
        """Return the list.

        Args:
            scope: who has one sees the lists that were made within it.
        Raises:
            NotFound: there is no such list.
        """
        found = await self._pool.fetch(
            f"select * from {self._schema}.lists where name = $1 "
            "and ($2::jsonb is null or scope = $2)",
            name,
            _said(scope),
        )
        if not found:
            raise NotFound(
                f"There is no list {name[:60]!r}: expected the name that the preview gave. See "
                "`meshline bulk list`."
            )
        return BulkList(**found[0])

    async def all(
        self, limit: int = 50, *, after: str | None = None, scope: Scope | None = None
    ) -> Page[BulkList]:
        """Return the lists, the newest first."""
        last = [None, ""] if after is None else values_after(after, [datetime, str])
        found = await self._pool.fetch(
            f"select * from {self._schema}.lists where ($2::jsonb is null or scope = $2) "
            "and ($3::timestamptz is null or (made_at, name) < ($3, $4)) "
            "order by made_at desc, name desc limit $1",
            limit + 1,
            _said(scope),
            *last,
        )
        rows = [BulkList(**record) for record in found[:limit]]
        more = len(found) > limit
        return Page(rows, next_after([rows[-1].made_at, rows[-1].name]) if more else None)

    async def items(
        self,
        name: str,
        *,
        results: Sequence[str] | None = None,
        limit: int | None = None,
        after: int = 0,
    ) -> list[BulkItem]:
        """Return items behind the number ``after``; ``left`` are those that have no result yet.

        What was left out is none of them; asked for by this name, the first of it are returned.
        """
        found = await self._pool.fetch(
            f"select * from {self._schema}.items where list = $1 and number > $2 "
            f"and case when $3::text[] is null then {_OF_THE_LIST} "
            "else coalesce(result, 'left') = any($3) end "
            "order by number limit $4",
            name,
            after,
            None if results is None else [*results],
            limit,
        )
        return [BulkItem(**record) for record in found]

    async def counts(self, name: str) -> dict[str, int]:
        """Return how many items came to what; ``left`` have no result yet."""
        found = await self._pool.fetch(
            f"select coalesce(result, 'left') as result, count(*) as items "
            f"from {self._schema}.items where list = $1 and {_OF_THE_LIST} group by 1",
            name,
        )
        return {record["result"]: record["items"] for record in found}

    async def effect(self, name: str) -> Effect:
        """Predict what becomes of the items, as they stood when the list was made."""
        found = await self._pool.fetch(
            f"""
            select workflow || case when exception_id = '' then ''
                       else ': ' || coalesce(nullif(split_part(about, '[', 1), ''), 'the run') end
                       as step, count(*) as items,
                   (select count(distinct run_id) from {self._schema}.items
                    where list = $1 and {_OF_THE_LIST}) as runs
            from {self._schema}.items where list = $1 and {_OF_THE_LIST}
            group by 1 order by 2 desc, 1
            """,
            name,
        )
        return Effect(found[0]["runs"] if found else 0, {r["step"]: r["items"] for r in found})

    # -- for who applies it --------------------------------------------------------------------

    async def keep(self, items: Sequence[BulkItem]) -> None:
        """Write down what came of some items of a list."""
        await self._pool.fetch(
            f"update {self._schema}.items i set result = r.result, detail = r.detail "
            "from unnest($2::integer[], $3::text[], $4::text[]) as r (number, result, detail) "
            "where i.list = $1 and i.number = r.number",
            items[0].list,
            [item.number for item in items],
            [item.result for item in items],
            [item.detail.replace("\x00", "")[:2_000] for item in items],
        )

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Let nobody else apply the list meanwhile, here or elsewhere.

        Raises:
            NotReady: somebody is at it already.
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
                yield
        finally:
            await connection.aclose()

    async def is_being_applied(self, name: str) -> bool:
        """Return whether somebody is at it now, here or elsewhere."""
        lock = lock_id(self._address.namespace, "bulk", name) % 2**64
        found = await self._pool.fetch(
            "select from pg_locks where locktype = 'advisory' and objsubid = 1 and granted "
            "and classid::bigint = $1 and objid::bigint = $2 and database = "
            "(select oid from pg_database where datname = current_database())",
            lock >> 32,
            lock & 0xFFFFFFFF,
        )
        return bool(found)


def _said(scope: Scope | None) -> dict[str, Any] | None:
    if scope is None:
        return None
    listed = ((name, getattr(scope, name)) for name in ("workflows", "queues"))
    return {name: None if names is None else sorted(names) for name, names in listed}
