"""What is done with the builds of a view: begin, finish, swap, roll back, retire.

Each change of state is one transaction, under the lock of the books.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.events.crash_points import crash_point
from meshline.events.log import LogIdentity
from meshline.projections.code_hash import code_hash_of
from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.postgres_connection import Connection, Session, parse_address
from meshline.projections.postgres_schema import (
    Books,
    create_indexes,
    create_view_schema,
    quoted,
    schema_of,
    statuses_from,
)
from meshline.projections.postgres_store import lock_id, point
from meshline.projections.projection import Projection
from meshline.projections.store import ViewStatus, check_layout, layout_of

__all__ = ["Build", "Builds", "Loading", "Size", "ViewChange", "Wish"]

Wish = Literal["run", "pause", "cancel"]

LOCK_TIMEOUT_MS = 200
"""For the stable names: readers that come meanwhile wait as long, and no longer."""

CATCH_UP_LOOKS = 50
CATCH_UP_LOOK_S = 0.02
"""So often, and each time so long, a swap waits for the build that is to be live, while the writer
of the one that is live stands still."""

_THIS = "name = $1 and version = $2 and build = $3"


class Build(NamedTuple):
    """One build of one version of a view."""

    name: str
    version: int
    build: int

    def __str__(self) -> str:
        again = "" if self.build == 1 else f" build {self.build}"
        return f"{self.name} version {self.version}{again}"


class Loading(NamedTuple):
    """A rebuild's builds: the strongest of what is asked of it, and where the slowest is."""

    wish: Wish
    offsets: dict[int, int]


class Size(NamedTuple):
    """``rows`` is PostgreSQL's estimate; ``bytes`` with indexes, and those of snapshots apart."""

    rows: int
    bytes: int
    snapshot_bytes: int = 0


class ViewChange(NamedTuple):
    """A line of the history of a view."""

    at: datetime
    name: str
    what: str
    actor: str
    from_version: int | None
    from_build: int | None
    to_version: int | None
    to_build: int | None


class Builds:
    """The builds at an address; opened and closed by the caller."""

    def __init__(self, address: str) -> None:
        parsed = parse_address(address)
        self._namespace = parsed.namespace
        self._books = Books(parsed.namespace)
        self._views = f"{self._books.schema}.views"
        self._checkpoints = f"{self._books.schema}.checkpoints"
        self._connection = Connection(parsed)

    async def open(self) -> None:
        async with self._changing() as session:
            await session.execute(self._books.create)

    async def aclose(self) -> None:
        await self._connection.aclose()

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[Session]:
        async with self._connection.transaction() as session:
            await session.execute(
                "select pg_advisory_xact_lock($1)", lock_id(self._namespace, "books")
            )
            # What people decide is not taken back by a crash, as a batch may be.
            await session.execute("set local synchronous_commit = on")
            yield session

    # -- a rebuild -----------------------------------------------------------------------------

    async def begin(
        self, projection: Projection, identity: LogIdentity, *, scratch: bool = False
    ) -> Build:
        """Return the build to load: the one that is under way, or a new one.

        One under way is dropped if other code began it, or from another log, or it was cancelled.
        """
        async with self._changing() as session:
            found = await session.fetch(
                f"select build, code_hash, log_id, wish from {self._views} where name = $1 "
                "and version = $2 and bulk and scratch = $3",
                projection.name,
                projection.version,
                scratch,
            )
            for record in found:
                build = Build(projection.name, projection.version, record["build"])
                is_same = (
                    record["code_hash"] == code_hash_of(projection)
                    and record["log_id"] == identity.log_id
                )
                if is_same and record["wish"] != "cancel" and not scratch:
                    return build
                if scratch and await self._is_locked(session, "scratch", *build):
                    # Others may verify the same view; what is left of one that was killed goes.
                    continue
                await self._drop(session, build)
            build = await self._create(session, projection, identity, scratch)
            if scratch:
                # For as long as this connection is there.
                lock = lock_id(self._namespace, "scratch", *build)
                await session.execute("select pg_advisory_lock($1)", lock)
            return build

    async def _create(
        self, session: Session, projection: Projection, identity: LogIdentity, scratch: bool
    ) -> Build:
        view = (projection.name, projection.version)
        last = (await session.fetch(self._books.last_build, *view))[0][0]
        build = Build(*view, (last or 0) + 1)
        await session.execute(
            create_view_schema(self._namespace, projection, build.build, indexes=False)
        )
        await session.execute(
            self._books.add_view,
            *build,
            code_hash_of(projection),
            identity.log_id,
            layout_of(projection),
            True,
            scratch,
        )
        await session.execute(self._books.add_checkpoints, *build, [*range(identity.partitions)])
        return build

    async def finish(self, projection: Projection, build: Build) -> None:
        """The build is loaded: make its indexes, and let a projector go on with it."""
        crash_point("finish.before")
        async with self._changing() as session:
            found = await session.fetch(
                f"select bulk, layout from {self._views} where {_THIS} and state = 'building'",
                *build,
            )
            if not found or not found[0]["bulk"]:
                return
            check_layout(projection, found[0]["layout"])
            await session.execute(
                ";\n".join(create_indexes(self._namespace, projection, build.build)) or "select 1"
            )
            schema = quoted(schema_of(self._namespace, *build))
            for table in projection.tables:
                await session.execute(f"analyze {schema}.{quoted(table.name)}")
            await session.execute(
                f"update {self._views} set state = 'warm', bulk = false, error = '' where {_THIS}",
                *build,
            )
            crash_point("finish.inside")
        crash_point("finish.after")

    async def wish(self, build: Build, wish: Wish) -> None:
        """Ask this of the build's rebuild; what was asked before no longer counts."""
        async with self._changing() as session:
            await session.execute(f"update {self._views} set wish = $4 where {_THIS}", *build, wish)

    async def go_on(self, builds: Sequence[Build]) -> None:
        """Forget that the rebuild which had them before was to rest."""
        async with self._changing() as session:
            for build in builds:
                await session.execute(
                    f"update {self._views} set wish = 'run' where {_THIS} and wish = 'pause'",
                    *build,
                )

    async def loading(self, builds: Sequence[Build]) -> Loading:
        """Return how far all of them are, and what is asked; one that is gone was cancelled."""
        statuses = {Build(s.name, s.version, s.build): s for s in await self.statuses()}
        found = [statuses[build] for build in builds if build in statuses]
        wishes = {status.wish for status in found}
        if len(found) < len(builds) or "cancel" in wishes:
            return Loading("cancel", {})
        partitions = {p for status in found for p in status.checkpoints}
        offsets = {p: min(status.checkpoints[p].offset for status in found) for p in partitions}
        return Loading("pause" if "pause" in wishes else "run", offsets)

    async def has_writer(self, build: Build) -> bool:
        """Whether a process is at work on it: its rebuild, or a projector."""
        async with self._connection.use() as session:
            return await self._is_locked(session, "view", *build)

    async def _is_locked(self, session: Session, *names: object) -> bool:
        # How PostgreSQL lists a lock that has one number: in two halves.
        found = await session.fetch(
            "select exists (select from pg_locks l join pg_database d on d.oid = l.database "
            "where l.locktype = 'advisory' and l.granted and l.objsubid = 1 "
            "and d.datname = current_database() "
            "and ((l.classid::bigint << 32) | l.objid::bigint) = $1)",
            lock_id(self._namespace, *names),
        )
        return bool(found[0][0])

    async def note_error(self, build: Build, error: str) -> None:
        async with self._changing() as session:
            text = error.replace("\x00", "")[:4_000]
            await session.execute(
                f"update {self._views} set error = $4 where {_THIS}", *build, text
            )

    async def discard(self, build: Build) -> None:
        """Drop a build that was never live and is not finished; nothing is said of it later."""
        async with self._changing() as session:
            await session.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS * 25}")
            await self._drop(session, build)

    async def _drop(self, session: Session, build: Build) -> None:
        schema = quoted(schema_of(self._namespace, *build))
        await session.execute(f"delete from {self._views} where {_THIS}", *build)
        await session.execute(f"drop schema if exists {schema} cascade")

    # -- changing what is live -----------------------------------------------------------------

    async def swap(
        self,
        target: Build,
        ends: Mapping[int, int],
        *,
        behind_max: int,
        actor: str,
        allow_parked: bool = False,
        what: Literal["swap", "rollback"] = "swap",
    ) -> Build | None:
        """Let the stable names show ``target``, and return what they showed before.

        Raises:
            NotSwappable: it is not loaded, has parked events, or is behind the live build, or by
                more than ``behind_max`` events behind the log.
            StoreUnavailable: readers hold the names; try again.
        """
        crash_point("swap.before")
        async with self._changing() as session:
            await session.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
            live = await self._live(session, target.name)
            if live == target:
                return live
            await self._check(session, target, live, ends, behind_max)
            if not allow_parked:
                await self._check_parked(session, target)
            await point(session, self._namespace, self._books, *target)
            origin = live[1:] if live else (None, None)
            await session.execute(
                self._books.change, target.name, what, actor, *origin, *target[1:]
            )
            crash_point("swap.inside")
        crash_point("swap.after")
        return live

    async def _live(self, session: Session, name: str) -> Build | None:
        found = await session.fetch(self._books.live, name)
        return Build(name, found[0]["version"], found[0]["build"]) if found else None

    async def _check(
        self,
        session: Session,
        target: Build,
        live: Build | None,
        ends: Mapping[int, int],
        behind_max: int,
    ) -> None:
        found = await session.fetch(f"select state, bulk from {self._views} where {_THIS}", *target)
        if not found or found[0]["state"] == "retired":
            raise NotFound(f"There is no {target}: see `meshline view list`, or build it first.")
        if found[0]["bulk"]:
            raise NotSwappable(
                f"{target} is not loaded: expected a finished rebuild. Let "
                f"`meshline view rebuild {target.name}` end, then swap."
            )
        # Both writers wait at their checkpoints until the names are swapped. That of what is live
        # waits first: under load two that go on would hardly ever be level by themselves.
        old = await self._offsets(session, live) if live else {}
        await self._caught_up(session, target, old)
        new = await self._offsets(session, target)
        events = sum(max(0, end - new.get(p, 0)) for p, end in ends.items())
        if events > behind_max:
            raise NotSwappable(
                f"{target} is {events:,} events behind the log: expected {behind_max:,} at most. "
                "Start `meshline projector` with its code, or give it time with --wait."
            )
        behind = {p: offset for p, offset in old.items() if new.get(p, 0) < offset}
        if behind:
            raise NotSwappable(
                f"{target} is behind what is live in partitions {sorted(behind)}: expected that "
                "nobody is shown less than before. Start `meshline projector` with its code, or "
                "give it time with --wait."
            )

    async def _caught_up(self, session: Session, build: Build, offsets: Mapping[int, int]) -> None:
        """Return when the build has read so far, or does not come on."""
        for _ in range(CATCH_UP_LOOKS):
            found = await session.fetch(
                f"select partition, next_offset from {self._checkpoints} where {_THIS}", *build
            )
            now = {record[0]: record[1] for record in found}
            if all(now.get(p, 0) >= offset for p, offset in offsets.items()):
                return
            await asyncio.sleep(CATCH_UP_LOOK_S)

    async def _offsets(self, session: Session, build: Build) -> dict[int, int]:
        found = await session.fetch(
            f"select partition, next_offset from {self._checkpoints} where {_THIS} "
            "order by partition for update",
            *build,
        )
        return {record[0]: record[1] for record in found}

    async def _check_parked(self, session: Session, target: Build) -> None:
        found = await session.fetch(
            f"select count(*), min(entity) from {self._books.schema}.parked where {_THIS}", *target
        )
        if found[0][0]:
            raise NotSwappable(
                f"{target} could not take in {found[0][0]:,} events, the first key is "
                f"{found[0][1]!r}: expected none. Correct the projection and rebuild it, "
                f"leave out what can't be corrected (`meshline view skip {target.name}`), or swap "
                "with --allow-parked."
            )

    async def retire(self, target: Build, *, actor: str) -> None:
        """Drop the tables of a build that is not live; its line in the books stays."""
        async with self._changing() as session:
            await session.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS * 25}")
            live = await self._live(session, target.name)
            if live == target:
                raise NotSwappable(
                    f"{target} is live: expected one that nobody is shown. Swap to another first."
                )
            for books in ("checkpoints", "parked", "spans"):
                await session.execute(
                    f"delete from {self._books.schema}.{books} where {_THIS}", *target
                )
            moved = await session.execute(
                f"update {self._views} set state = 'retired', bulk = false where {_THIS} "
                "and state <> 'retired'",
                *target,
            )
            if not moved:
                raise NotFound(f"There is no {target}: see `meshline view list`.")
            schema = quoted(schema_of(self._namespace, *target))
            await session.execute(f"drop schema if exists {schema} cascade")
            await session.execute(
                self._books.change, target.name, "retire", actor, *target[1:], None, None
            )

    # -- looking -------------------------------------------------------------------------------

    async def statuses(self) -> list[ViewStatus]:
        async with self._connection.use() as session:
            return statuses_from(await session.fetch(self._books.status))

    async def history(self, name: str | None = None) -> list[ViewChange]:
        """Return what was swapped, rolled back, retired and accepted, the oldest first."""
        async with self._connection.use() as session:
            records = await session.fetch(
                "select at, name, what, actor, from_version, from_build, to_version, to_build "
                f"from {self._books.schema}.changes where $1::text is null or name = $1 "
                "order by number",
                name,
            )
        return [ViewChange(*record) for record in records]

    async def sizes(self) -> dict[Build, Size]:
        async with self._connection.use() as session:
            records: list[Any] = await session.fetch(
                "select n.nspname, "
                "sum(coalesce(nullif(c.reltuples::bigint, -1), s.n_live_tup, 0)) "
                "filter (where not starts_with(c.relname, '_'))::bigint, "
                "sum(pg_total_relation_size(c.oid)) "
                "filter (where not starts_with(c.relname, '_'))::bigint, "
                "coalesce(sum(pg_total_relation_size(c.oid)) "
                "filter (where starts_with(c.relname, '_')), 0)::bigint from pg_class c "
                "join pg_namespace n on n.oid = c.relnamespace "
                "left join pg_stat_user_tables s on s.relid = c.oid "
                "where c.relkind = 'r' and n.nspname like $1 group by 1",
                f"{self._namespace}\\_view\\_%",
            )
        by_schema = {record[0]: Size(*record[1:]) for record in records}
        return {
            Build(s.name, s.version, s.build): by_schema.get(
                schema_of(self._namespace, s.name, s.version, s.build), Size(0, 0)
            )
            for s in await self.statuses()
        }
