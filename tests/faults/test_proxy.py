"""The line itself: that each fault of it is what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults.support.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
OPEN: list[asyncio.StreamWriter] = []


@pytest.fixture
async def heard() -> list[bytes]:
    """What the server was told."""
    return []


@pytest.fixture
async def proxy(heard: list[bytes]) -> AsyncIterator[Proxy]:
    """Before a server that answers each line with the same in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        OPEN.append(writer)
        while line := await reader.readline():
            heard.append(line)
            writer.write(line.upper())

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    for writer in OPEN:
        writer.close()
    await proxy.aclose()
    server.close()
    await asyncio.gather(*(each.wait_closed() for each in OPEN), return_exceptions=True)
    OPEN.clear()


async def connected(proxy: Proxy) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    OPEN.append(writer)
    return reader, writer


async def asked(streams: Streams, line: bytes, wait_s: float = 5.0) -> bytes | None:
    """Return the answer; None if there is none, empty if the connection has ended."""
    streams[1].write(line)
    try:
        return await asyncio.wait_for(streams[0].readline(), wait_s)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""


async def test_an_open_line_forwards_both_ways(proxy: Proxy) -> None:
    streams = await connected(proxy)

    assert await asked(streams, b"one\n") == b"ONE\n"
    assert await asked(streams, b"two\n") == b"TWO\n"


async def test_a_silent_line_keeps_bytes_until_it_is_healed(
    proxy: Proxy, heard: list[bytes]
) -> None:
    streams = await connected(proxy)
    proxy.set("silent")

    assert await asked(streams, b"one\n", 0.1) is None
    assert heard == []
    proxy.heal()
    assert await asked(streams, b"") == b"ONE\n"


async def test_a_deaf_line_delivers_and_loses_the_answers(proxy: Proxy, heard: list[bytes]) -> None:
    streams = await connected(proxy)
    proxy.set("deaf")

    assert await asked(streams, b"one\n", 0.2) is None
    assert heard == [b"one\n"]
    proxy.heal()
    assert await asked(streams, b"two\n") == b"", "an answer is missing: the line can't go on"


async def test_a_cut_line_takes_new_connections_and_a_closed_one_none(proxy: Proxy) -> None:
    streams = await connected(proxy)
    await asked(streams, b"one\n")
    proxy.cut()

    assert await asked(streams, b"two\n") == b""
    assert await asked(await connected(proxy), b"three\n") == b"THREE\n"
    proxy.set("closed")
    assert await asked(await connected(proxy), b"four\n") == b""


async def test_a_half_open_line_says_nothing_and_takes_new_connections(
    proxy: Proxy, heard: list[bytes]
) -> None:
    streams = await connected(proxy)
    await asked(streams, b"one\n")
    proxy.half_open()

    assert await asked(streams, b"two\n", 0.2) is None
    assert await asked(await connected(proxy), b"three\n") == b"THREE\n"
    assert heard == [b"one\n", b"three\n"]
    streams[1].close()
    async with asyncio.timeout(90):
        while proxy.connections > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_slow_line_takes_its_time(proxy: Proxy) -> None:
    streams = await connected(proxy)
    proxy.delay_s = 0.1
    started = asyncio.get_running_loop().time()

    assert await asked(streams, b"one\n") == b"ONE\n"
    assert asyncio.get_running_loop().time() - started >= 0.2
