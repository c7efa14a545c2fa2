"""A line between clients and a server that can be slow, be cut, fall silent, or lose answers.

TCP in front; behind it TCP or a Unix socket. It forwards bytes and knows nothing of what they say.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

__all__ = ["Line", "Proxy"]

CHUNK_BYTES = 64 * 1024
CONNECT_S = 5.0

Line = Literal["open", "silent", "deaf", "closed"]
"""What a proxy does with bytes.

``silent``: nothing passes, either way, until it is healed; connections stay and bytes wait.
``deaf``: what clients say arrives; what the server answers is lost.
``closed``: connections are reset, new ones too.
"""


class _Connection:
    """One client's connection, and the one to the server that was made for it."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.client = client
        self.server = server
        self.lost_answers = False
        self.is_half_open = False

    def reset(self) -> None:
        for _, writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Forwards what comes to its port.

    Args:
        target: the server: its port on this machine, or the path of its socket. It may be set
            later, and need not be there: a client is reset then.
    """

    def __init__(self, target: int | str | None = None) -> None:
        self.target = target
        self.delay_s = 0.0
        self.forwarded_bytes = 0
        self._line: Line = "open"
        self._passes = asyncio.Event()
        self._passes.set()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None, "start() the proxy first"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- faults --------------------------------------------------------------------------------

    def set(self, line: Line) -> None:
        """From now on be like that."""
        self._line = line
        self._passes.clear() if line == "silent" else self._passes.set()
        if line == "closed":
            self.cut()

    def heal(self) -> None:
        """Forward everything at once again; whoever missed an answer is reset."""
        self.delay_s = 0.0
        self.set("open")
        for connection in [*self._connections]:
            if connection.lost_answers:
                connection.reset()

    def cut(self) -> None:
        """Reset all connections; new ones may come."""
        for connection in [*self._connections]:
            connection.reset()

    def half_open(self) -> None:
        """Let the server's ends go, and tell no client: what they say from now on is lost."""
        for connection in [*self._connections]:
            connection.is_half_open = True
            connection.server[1].transport.abort()

    # -- forwarding ----------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # The streams of Python 3.11 report a cancelled handler as an unhandled error.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = None if self._line == "closed" else await self._connect()
        if server is None:
            writer.transport.abort()
            return
        connection = _Connection((reader, writer), server)
        self._connections.add(connection)
        ways = [
            asyncio.create_task(self._forward(connection, to_server=to)) for to in (True, False)
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._connections.discard(connection)
            for _, end in (connection.client, connection.server):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                if isinstance(self.target, int):
                    return await asyncio.open_connection("127.0.0.1", self.target)
                if self.target is not None:
                    return await asyncio.open_unix_connection(self.target)
        return None

    async def _forward(self, connection: _Connection, *, to_server: bool) -> None:
        source, sink = connection.client, connection.server
        if not to_server:
            source, sink = sink, source
        reader, writer = source[0], sink[1]
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._passes.wait()
                if self._line == "deaf" and not to_server:
                    connection.lost_answers = True
                    continue
                if to_server and writer.transport.is_closing():
                    # The server's end is gone, and the client has not heard of it.
                    continue
                self.forwarded_bytes += len(data)
                writer.write(data)
                await writer.drain()
        if connection.is_half_open and not to_server:
            # The client keeps its end until it gives it up itself.
            await asyncio.Event().wait()
