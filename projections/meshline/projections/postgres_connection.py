"""The door to PostgreSQL: the only module of this room that knows the client library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import asyncpg
import orjson

from meshline.events.errors import SettingsInvalid
from meshline.projections.columns import JsonText
from meshline.projections.errors import NotFound, RowRefused, StoreUnavailable

__all__ = ["Address", "Connection", "Fetch", "Pool", "parse_address"]

Fetch = Callable[..., Awaitable[list[dict[str, Any]]]]
"""Gives the rows of a query; see ``Pool.fetch``."""

_NAMESPACE = "meshline_namespace"
_CONNECT_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 120.0

# PostgreSQL counts microseconds from here.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)
_REFUSED = (
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.IntegrityConstraintViolationError,
)


class Address:
    """Where the views are: a DSN for the client library, and the namespace of all names.

    Args:
        shown: the DSN without its password, for people.
    """

    def __init__(self, dsn: str, namespace: str, shown: str) -> None:
        self.dsn = dsn
        self.namespace = namespace
        self.shown = shown


def parse_address(address: str) -> Address:
    """Return the parts of ``postgresql://…?meshline_namespace=NAME`` (default ``meshline``).

    Raises:
        SettingsInvalid: it is no such address.
    """
    start, _, query = address.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    namespace = options.pop(_NAMESPACE, "meshline")
    scheme, separator, rest = start.partition("://")
    if scheme not in ("postgresql", "postgres") or not separator:
        raise SettingsInvalid(
            f"The views' address is {address[:80]!r}: expected postgresql://user@host/database. "
            "Correct --views or MESHLINE_VIEWS."
        )
    if not (namespace.isascii() and namespace.isidentifier() and len(namespace) <= 20):
        raise SettingsInvalid(
            f"The namespace is {namespace!r}: expected 1 to 20 letters, digits and _, beginning "
            f"with a letter. Correct {_NAMESPACE} in the views' address."
        )
    user, at, host = rest.rpartition("@")
    shown = f"{scheme}://{user.partition(':')[0]}{at}{host}"
    dsn = start + (f"?{urlencode(options, safe='/')}" if options else "")
    return Address(dsn, namespace.lower(), shown)


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    try:
        yield
    except _REFUSED as error:
        raise _refused(error) from error
    except _UNAVAILABLE as error:
        # The client library's own complaint about a value that no column of the type can hold.
        if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
            raise _refused(error) from error
        raise StoreUnavailable(
            f"PostgreSQL at {address.shown} did not answer: {type(error).__name__}: {error}. "
            "Expected a running server: start it; what was under way is tried again."
        ) from error


def _refused(error: Exception) -> RowRefused:
    return RowRefused(
        f"PostgreSQL refused a row: {type(error).__name__}: {error}. Expected values that its "
        "columns can hold: correct the projection, or the event's writer."
    )


async def _set_up(connection: Any) -> None:
    # Version byte and text: the binary form, so that COPY can carry it.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: (
            b"\x01" + (value if value.__class__ is JsonText else orjson.dumps(value))
        ),
        decoder=lambda raw: orjson.loads(raw[1:]),
    )
    # The client library's own way takes twice as long, and takes a time without a zone for a local
    # one. Here it is a TypeError, and so refused.
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda time: ((time - _EPOCH) // _MICROSECOND,),
        decoder=lambda parts: _EPOCH + timedelta(microseconds=parts[0]),
    )


class Connection:
    """One connection, used by one task at a time. Opens again when it was lost.

    ``generation`` grows with each opening: what hangs on the session, such as its locks, belongs
    to one generation.

    Args:
        command_timeout_s: for one statement.
    """

    def __init__(self, address: Address, *, command_timeout_s: float = _COMMAND_TIMEOUT_S) -> None:
        self.address = address
        self._command_timeout_s = command_timeout_s
        self.generation = 0
        self._connection: asyncpg.Connection[Any] | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Session]:
        """Have the connection to oneself; errors come out as this room's."""
        async with self._lock:
            with _translated(self.address):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._opened()
                    self.generation += 1
                try:
                    yield Session(self._connection)
                except (asyncpg.InternalClientError, asyncio.CancelledError):
                    # After a server's crash the library may not know what is under way on it, and
                    # who gives up a statement would wait for an answer that may never come.
                    self._connection.terminate()
                    raise

    async def _opened(self) -> asyncpg.Connection[Any]:
        connection = await asyncpg.connect(
            self.address.dsn,
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=self._command_timeout_s,
            server_settings={
                "application_name": "meshline projector",
                # A server's crash may take the last commits back, rows and checkpoint together:
                # the log gives them again.
                "synchronous_commit": "off",
                "jit": "off",
            },
        )
        try:
            await _set_up(connection)
        except BaseException:
            # One that is half set up would write and read jsonb in another form.
            connection.terminate()
            raise
        return connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        async with self.use() as session, _all_or_nothing(session):
            yield session

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Session]:
        """A transaction that sees all as it is at its first query, and writes nothing."""
        async with (
            self.use() as session,
            _all_or_nothing(session, isolation="repeatable_read", readonly=True),
        ):
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Session]:
        """A transaction all of whose statements see the same moment."""
        async with (
            self.use() as session,
            _all_or_nothing(session, isolation="repeatable_read"),
        ):
            yield session

    @property
    def is_open(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=2.0)
            except _UNAVAILABLE:
                connection.terminate()


@asynccontextmanager
async def _all_or_nothing(session: Session, **options: Any) -> AsyncIterator[None]:
    transaction = session.connection.transaction(**options)
    await transaction.start()
    try:
        yield
    except asyncio.CancelledError:
        # A rollback would wait for the server; without its client it rolls back by itself.
        session.connection.terminate()
        raise
    except BaseException:
        await transaction.rollback()
        raise
    await transaction.commit()


class Session:
    """What the store does on a connection."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection

    async def execute(self, sql: str, *arguments: Any) -> int:
        """Run a statement and return how many rows it touched."""
        status = await self.connection.execute(sql, *arguments)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await self.connection.executemany(sql, rows)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        return await self.connection.fetch(sql, *arguments)

    async def stream(self, sql: str) -> AsyncIterator[Any]:
        """Give the rows one by one, without holding them all; within a transaction."""
        async for record in self.connection.cursor(sql, prefetch=1_000):
            yield record

    async def copy(
        self,
        table: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        schema: str | None = None,
    ) -> None:
        try:
            await self.connection.copy_records_to_table(
                table, schema_name=schema, columns=list(columns), records=rows
            )
        except (TypeError, ValueError, OverflowError) as error:
            # What `execute` reports as its own error comes out of a COPY as it is.
            raise _refused(error) from error


class Pool:
    """Connections for reading, by many tasks at once."""

    def __init__(self, address: Address, connections_max: int = 4) -> None:
        self.address = address
        self._connections_max = connections_max
        self._pool: Any = None
        self._opening = asyncio.Lock()

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return the rows of a query.

        Raises:
            StoreUnavailable: PostgreSQL did not answer.
            NotFound: the views are not there.
        """
        with self._found():
            pool = await self._opened()
            return [dict(record) for record in await pool.fetch(sql, *arguments)]

    async def run_script(self, script: str) -> None:
        """Run the statements of a script one by one; each ends a line with its semicolon.

        Raises:
            StoreUnavailable: PostgreSQL did not answer.
        """
        for statement in script.split(";\n"):
            if statement.strip():
                await self.fetch(statement)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Fetch]:
        """``fetch`` as often as one likes, of all as it is at the first."""
        with self._found():
            pool = await self._opened()
            async with (
                pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):

                async def fetch(sql: str, *arguments: Any) -> list[dict[str, Any]]:
                    return [dict(record) for record in await connection.fetch(sql, *arguments)]

                yield fetch

    @contextmanager
    def _found(self) -> Iterator[None]:
        with _translated(self.address):
            try:
                yield
            except asyncpg.UndefinedTableError as error:
                raise NotFound(
                    f"There are no views at {self.address.shown} yet, or not this one: {error}. "
                    "Expected a projector to have run there: start `meshline projector`."
                ) from error

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self.address.dsn,
                    min_size=0,
                    max_size=self._connections_max,
                    init=_set_up,
                    timeout=_CONNECT_TIMEOUT_S,
                    command_timeout=_COMMAND_TIMEOUT_S,
                    server_settings={"application_name": "meshline views", "jit": "off"},
                )
            return self._pool

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
