"""One connection to PostgreSQL that is made again when it is lost; and which errors mean that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import asyncpg

from meshline.events.errors import SettingsInvalid

__all__ = ["ANSWER_S", "LOST", "Address", "Connection", "Link", "LinkDown", "is_lost", "parse"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NAMESPACE = "meshline_namespace"
NAMESPACE_DEFAULT = "meshline"
NAMESPACE_FORM = re.compile(r"[a-z][a-z0-9_]{0,39}")

ANSWER_S = 10.0
"""How long one statement may take before the connection counts as lost."""
CONNECT_S = 5.0
PLANNING = {"jit": "off", "enable_seqscan": "off", "enable_bitmapscan": "off"}
"""Everything here goes along the primary key; statistics of yesterday must not say otherwise."""
SILENT_MS = 5_000
"""A process that freezes within a transaction holds its locks no longer than this."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 1.0

LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)
"""What a statement may raise because of the world; see ``is_lost`` for which of it means what."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the log is: the DSN for the client, the schema, and the address without secrets."""

    dsn: str
    schema: str
    shown: str


def parse(address: str) -> Address:
    """Take the log's own parameter out of the DSN, and the password out of what is shown.

    Raises:
        SettingsInvalid: the namespace can't be the name of a schema.
    """
    parts = urlsplit(address)
    query = parse_qsl(parts.query, keep_blank_values=True)
    namespace = dict(query).get(NAMESPACE, NAMESPACE_DEFAULT)
    if not NAMESPACE_FORM.fullmatch(namespace):
        raise SettingsInvalid(
            f"The log's {NAMESPACE} is {namespace!r}: expected up to 40 lower-case letters, digits "
            "and underscores, beginning with a letter. Choose another."
        )
    # Not only one host and port: a DSN may name several, and then urlsplit can't tell the port.
    account, at, hosts = parts.netloc.rpartition("@")
    user = account.partition(":")[0]
    return Address(
        dsn=_join(parts, parts.netloc, [each for each in query if each[0] != NAMESPACE]),
        schema=f"{namespace}_log",
        shown=_join(
            parts, f"{user}{at}{hosts}", [each for each in query if "password" not in each[0]], "/"
        ),
    )


def _join(parts: SplitResult, netloc: str, query: list[tuple[str, str]], safe: str = "") -> str:
    # Not geturl(), which takes away the slashes of a DSN without a host.
    text = urlencode(query, safe=safe, quote_via=quote)
    return f"{parts.scheme}://{netloc}{parts.path}{'?' if text else ''}{text}"


class LinkDown(Exception):
    """There was no connection to be had in time. Inside the log only; it has no code.

    ``for_good`` says that waiting doesn't help, such as when the password is wrong.
    """

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good


def is_lost(error: BaseException) -> bool:
    """Return whether the connection can't be used any more and the statement's fate is unknown.

    All else that the server answers means that the statement did nothing.
    """
    if isinstance(error, asyncpg.PostgresError):
        # The severity as the protocol gives it, never translated (field V).
        severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
        return severity in ("FATAL", "PANIC") or isinstance(
            error, asyncpg.PostgresConnectionError | asyncpg.AdminShutdownError
        )
    return True


class Link:
    """One connection, for one user at a time.

    Args:
        dsn: for the client library.
        name: shown by PostgreSQL to its operators.
        prepare: called with each new connection before it is used.
    """

    def __init__(
        self, dsn: str, name: str, prepare: Callable[[Connection], Awaitable[None]] | None = None
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._prepare = prepare
        self._connection: Connection | None = None

    @property
    def is_up(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def connection(self, give_up: float) -> Connection:
        """Return the connection, made again if it was lost.

        Args:
            give_up: the event loop's time; one attempt is made even if it has passed.
        Raises:
            LinkDown: nobody answered until then, or the server refused us for good.
        """
        backoff_s = BACKOFF_FIRST_S
        while True:
            if self._connection is not None:
                if not self._connection.is_closed():
                    return self._connection
                self._connection = None
            left_s = give_up - asyncio.get_running_loop().time()
            try:
                return await self._connect(min(CONNECT_S, max(left_s, 0.2)))
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError,
                    asyncpg.ClientConfigurationError, ValueError) as error:  # fmt: skip
                raise LinkDown(f"{type(error).__name__}: {error}", for_good=True) from error
            except LOST as error:
                if left_s <= backoff_s:
                    raise LinkDown(f"{type(error).__name__}: {error}") from error
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    async def _connect(self, timeout_s: float) -> Connection:
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=timeout_s,
            server_settings={
                "application_name": self._name,
                "idle_in_transaction_session_timeout": str(SILENT_MS),
                **PLANNING,
            },
        )
        try:
            # What is accepted must outlive a crash at least; a stricter setting stays.
            await connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
            if self._prepare is not None:
                await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    def drop(self) -> None:
        """Give the connection up at once; the next user gets a new one."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=1.0)
            except LOST:
                connection.terminate()
