"""Membership in PostgreSQL: heartbeats in a table, and the assignment beside them."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import asyncpg

from meshline.events.log.postgres_link import Connection, LinkDown
from meshline.events.log.postgres_news import News
from meshline.events.log.postgres_schema import Statements
from meshline.events.log.settings import LogSettings
from meshline.events.log.sharing import share
from meshline.events.log.waiting import wait_at_most

__all__ = ["PostgresMembership"]

# A server that was away took the heartbeats of nobody: it counts from its own start.
LIVING = """
SELECT id, greatest(seen_at, pg_postmaster_start_time()) > clock_timestamp() - $2 * interval '1 s'
    AS lives
FROM {schema}.members WHERE "group" = $1 ORDER BY joined_at, id
"""
BEAT = """
INSERT INTO {schema}.members AS m ("group", id, name) VALUES ($1, $2, $3)
ON CONFLICT ("group", id) DO UPDATE SET seen_at = clock_timestamp()
"""
ASSIGNMENTS = 'SELECT partition, member FROM {schema}.assignments WHERE "group" = $1'
ASSIGN = """
INSERT INTO {schema}.assignments ("group", partition, member)
SELECT $1, a.partition, a.member FROM unnest($2::integer[], $3::text[]) AS a (partition, member)
ON CONFLICT ("group", partition) DO UPDATE SET member = excluded.member
"""
LEAVE = 'DELETE FROM {schema}.members WHERE "group" = $1 AND id = ANY ($2)'


class PostgresMembership:
    """See ``Membership``. While PostgreSQL is away, the members keep what they have."""

    def __init__(
        self,
        news: News,
        statements: Statements,
        settings: LogSettings,
        partitions: int,
        group: str,
        member: str,
    ) -> None:
        self.member = member
        self._news = news
        self._schema = statements.schema
        self._channel = statements.channel
        self._settings = settings
        self._partitions = partitions
        self._group = group
        self._id = str(uuid.uuid4())
        self._assigned: frozenset[int] = frozenset()
        self._changed = asyncio.Condition()
        self._beat_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def assigned(self) -> frozenset[int]:
        return self._assigned

    async def start(self) -> None:
        """Join. If PostgreSQL is away, membership begins when it is back."""
        self._news.on_members.add(self._on_members)
        await self._beat(self._settings.open_deadline_s)
        self._task = asyncio.create_task(self._run(), name="log membership")

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._assigned != known)
            return self._assigned

    async def aclose(self) -> None:
        if self._task is None:
            return
        self._news.on_members.discard(self._on_members)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        give_up = asyncio.get_running_loop().time() + self._settings.heartbeat_s
        with suppress(LinkDown, asyncpg.PostgresError):
            await self._news.within(self._leave, give_up=give_up)
        await self._assign(frozenset())

    def _on_members(self, group: str) -> None:
        if group == self._group:
            self._beat_now.set()

    async def _run(self) -> None:
        while True:
            await wait_at_most(self._settings.heartbeat_s, self._beat_now)
            self._beat_now.clear()
            await self._beat(self._settings.heartbeat_s)

    async def _beat(self, patience_s: float) -> None:
        give_up = asyncio.get_running_loop().time() + patience_s
        try:
            assigned = await self._news.within(self._show, give_up=give_up)
        except (LinkDown, asyncpg.PostgresError):
            # It is a hint: the next heartbeat tries again, and epochs fence meanwhile.
            return
        await self._assign(assigned)

    async def _assign(self, assigned: frozenset[int]) -> None:
        if assigned != self._assigned:
            async with self._changed:
                self._assigned = assigned
                self._changed.notify_all()

    async def _show(self, connection: Connection) -> frozenset[int]:
        """Show that we live, and share out again if somebody came or went."""
        await connection.execute(
            BEAT.format(schema=self._schema), self._group, self._id, self.member
        )
        living, dead = await self._members(connection)
        held = await self._held(connection)
        if dead or held != share(self._partitions, held, living):
            held = await self._share_out(connection)
        return frozenset(p for p, member in held.items() if member == self._id)

    async def _leave(self, connection: Connection) -> None:
        await connection.execute(LEAVE.format(schema=self._schema), self._group, [self._id])
        await self._share_out(connection)

    async def _share_out(self, connection: Connection) -> dict[int, str]:
        async with connection.transaction():
            # One at a time, each with what the one before decided.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))",
                self._schema,
                self._group,
            )
            living, dead = await self._members(connection)
            held = await self._held(connection)
            shared = share(self._partitions, held, living)
            await connection.execute(LEAVE.format(schema=self._schema), self._group, dead)
            moved = {p: member for p, member in shared.items() if held.get(p) != member}
            await connection.execute(
                ASSIGN.format(schema=self._schema), self._group, list(moved), list(moved.values())
            )
            await connection.execute(
                "SELECT pg_notify($1, $2)", self._channel, f"members {self._group}"
            )
        return shared

    async def _members(self, connection: Connection) -> tuple[list[str], list[str]]:
        rows = await connection.fetch(
            LIVING.format(schema=self._schema), self._group, self._settings.session_timeout_s
        )
        living = [row["id"] for row in rows if row["lives"]]
        dead = [row["id"] for row in rows if not row["lives"]]
        return living, dead

    async def _held(self, connection: Connection) -> dict[int, str]:
        rows = await connection.fetch(ASSIGNMENTS.format(schema=self._schema), self._group)
        return {row["partition"]: row["member"] for row in rows}
