"""The log in PostgreSQL: the embedded default, and for whoever has a PostgreSQL and no Kafka."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from meshline.events.clock import Clock, SystemClock
from meshline.events.errors import LogLayoutMismatch, LogNotFound, LogUnavailable
from meshline.events.log.postgres_append import Appender
from meshline.events.log.postgres_link import Connection, LinkDown, parse
from meshline.events.log.postgres_members import PostgresMembership
from meshline.events.log.postgres_news import News
from meshline.events.log.postgres_read import PostgresReader
from meshline.events.log.postgres_schema import Statements, create, identity
from meshline.events.log.protocol import AppendResult, Entry, LogIdentity
from meshline.events.log.settings import LogSettings

__all__ = ["PostgresLog"]


class PostgresLog:
    """See ``EventLog``. After ``open``, a server that goes away is waited for and joined again.

    Only ``open``, ``ends`` and ``position_at`` raise LogUnavailable, after ``open_deadline_s``.

    Args:
        address: a DSN; see ``open_log``.
    Raises:
        SettingsInvalid: the namespace in the address can't be used.
    """

    def __init__(
        self, address: str, settings: LogSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        self._settings = settings or LogSettings()
        self._clock = clock or SystemClock()
        self._parsed = parse(address)
        self._statements = Statements(self._parsed.schema)
        self._news = News(self._parsed.dsn, self._statements)
        self._appender = Appender(
            self._parsed.dsn,
            self._statements,
            self._settings,
            lambda ends: self._news.grown(ends, by_us=True),
        )
        self._identity: LogIdentity | None = None
        self._readers: list[PostgresReader] = []

    @property
    def address(self) -> str:
        return self._parsed.shown

    @property
    def identity(self) -> LogIdentity:
        assert self._identity is not None, "open() the log first"
        return self._identity

    async def open(self, *, create_partitions: int | None = None) -> None:
        if self._identity is not None:
            self._check_layout(self._identity, create_partitions)
            return

        async def find(connection: Connection) -> LogIdentity | None:
            found = await identity(connection, self._statements)
            if found is None and create_partitions is not None:
                now = self._clock.now()
                await create(
                    connection,
                    self._statements,
                    LogIdentity(str(uuid.uuid4()), create_partitions, now),
                )
                found = await identity(connection, self._statements)
            return found

        try:
            found = await self._news.within(find, give_up=self._give_up())
        except LinkDown as down:
            await self._news.aclose()
            raise self._unavailable(down.reason) from down
        except asyncpg.PostgresError as error:
            await self._news.aclose()
            raise self._unavailable(f"{type(error).__name__}: {error}") from error
        except BaseException:
            await self._news.aclose()
            raise
        if found is None:
            await self._news.aclose()
            raise LogNotFound(
                f"There is no log at {self.address!r}: expected one that was created before. "
                "Create it with `meshline log create`, or correct the address."
            )
        try:
            self._check_layout(found, create_partitions)
        except LogLayoutMismatch:
            await self._news.aclose()
            raise
        self._identity = found
        self._news.start(found.log_id)
        self._appender.start(found.log_id)

    def _check_layout(self, found: LogIdentity, create_partitions: int | None) -> None:
        if create_partitions not in (None, found.partitions):
            raise LogLayoutMismatch(
                f"The log at {self.address!r} has {found.partitions} partitions, but "
                f"{create_partitions} were asked for. The layout of a log is fixed: leave the "
                "number away, or copy the history into a new log with `meshline log copy`."
            )

    def _give_up(self) -> float:
        return asyncio.get_running_loop().time() + self._settings.open_deadline_s

    def _unavailable(self, reason: str) -> LogUnavailable:
        return LogUnavailable(
            f"No answer from PostgreSQL at {self.address!r} within "
            f"{self._settings.open_deadline_s} s ({reason}): expected a server that lets us in. "
            "Start it, or correct the address, user and password."
        )

    async def append(
        self, partition: int, entries: Sequence[Entry], *, deadline_s: float | None = None
    ) -> AppendResult:
        assert 0 <= partition < self.identity.partitions
        return await self._appender.append(partition, entries, deadline_s)

    async def append_by_partition(
        self, entries: Mapping[int, Sequence[Entry]], *, deadline_s: float | None = None
    ) -> dict[int, AppendResult]:
        results = await asyncio.gather(
            *(self.append(p, some, deadline_s=deadline_s) for p, some in entries.items())
        )
        return dict(zip(entries, results, strict=True))

    def reader(self, start: Mapping[int, int]) -> PostgresReader:
        reader = PostgresReader(
            self._parsed.dsn, self._statements, self._news, self.identity.log_id, start
        )
        self._readers = [each for each in self._readers if not each.is_closed]
        self._readers.append(reader)
        return reader

    async def ends(self) -> dict[int, int]:
        try:
            return await self._news.refresh(self._give_up())
        except LinkDown as down:
            raise self._unavailable(down.reason) from down

    async def position_at(self, moment: datetime) -> dict[int, int]:
        # Times never fall within a partition, so each is halved until one offset is left.
        moment_ms = moment.timestamp() * 1000
        low = dict.fromkeys(range(self.identity.partitions), 0)
        high = await self.ends()
        while searched := {p: (low[p] + high[p]) // 2 for p in low if low[p] < high[p]}:
            try:
                rows = await self._news.ask(
                    self._statements.appended_ms,
                    list(searched),
                    list(searched.values()),
                    give_up=self._give_up(),
                )
            except LinkDown as down:
                raise self._unavailable(down.reason) from down
            appended_ms = {row["partition"]: row["appended_ms"] for row in rows}
            for partition, middle in searched.items():
                # A record that is missing was deleted from the front.
                if appended_ms.get(partition, 0) < moment_ms:
                    low[partition] = middle + 1
                else:
                    high[partition] = middle
        return low

    def membership(self, group: str, member: str) -> PostgresMembership:
        return PostgresMembership(
            self._news,
            self._statements,
            self._settings,
            self.identity.partitions,
            group,
            member,
        )

    async def aclose(self) -> None:
        for reader in self._readers:
            await reader.aclose()
        await self._appender.aclose()
        await self._news.aclose()
