"""Snapshots are a cache: a server that is away, silent or half gone costs time and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from meshline.engine.core.state import PartitionState
from meshline.engine.postgres_snapshots import PostgresSnapshots
from tests.faults.support.proxy import Proxy

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LOAD_S = 1.0
LOADS = 40
PATIENCE_S = 90.0


@pytest.fixture
async def snapshots(line: Proxy, postgres_dsn: str) -> AsyncIterator[PostgresSnapshots]:
    parts = urlsplit(postgres_dsn)
    user = parts.username or "meshline"
    found = PostgresSnapshots(
        f"postgresql://{user}@127.0.0.1:{line.port}{parts.path}",
        f"log of {line.port}",
        schema=f"snapshots_{line.port}",
        load_s=LOAD_S,
        save_s=1.0,
    )
    await found.open()
    yield found
    await found.aclose()


def state(next_offset: int = 7) -> PartitionState:
    return PartitionState(0, next_offset=next_offset)


async def in_time(work: Any) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await work


async def test_a_worker_needs_no_server_to_begin(line: Proxy, snapshots: PostgresSnapshots) -> None:
    line.set("closed")
    assert await in_time(snapshots.load(0)) is None
    await in_time(snapshots.save(state()))

    line.heal()
    await snapshots.save(state())
    assert await snapshots.load(0) == state()


async def test_many_that_begin_at_once_make_one_table(
    snapshots: PostgresSnapshots, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(snapshots.load(partition) for partition in range(8)))

    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("fault", ["silent", "deaf"])
async def test_a_silent_server_is_not_waited_for(
    line: Proxy, snapshots: PostgresSnapshots, fault: Any
) -> None:
    await snapshots.save(state())
    line.set(fault)

    started = time.monotonic()
    loads = await in_time(asyncio.gather(*(snapshots.load(p) for p in range(LOADS))))
    assert loads == [None] * LOADS
    assert time.monotonic() - started < LOADS * LOAD_S, "each waited for the silent server"
    await in_time(snapshots.save(state(8)))
    line.heal()
    await asyncio.sleep(LOAD_S)
    found = await in_time(snapshots.load(0))
    assert found in (state(7), state(8)), "what was asked in vain may have been done"


async def test_connections_whose_other_end_is_gone_are_given_up(
    line: Proxy, snapshots: PostgresSnapshots
) -> None:
    await snapshots.save(state())
    line.half_open()

    await in_time(snapshots.save(state(8)))
    await snapshots.save(state(9))
    assert await snapshots.load(0) == state(9)


async def test_a_server_that_was_started_anew_is_asked_again(
    line: Proxy, snapshots: PostgresSnapshots
) -> None:
    await snapshots.save(state())
    line.cut()

    assert await snapshots.load(0) == state()


async def test_closing_waits_for_nobody(
    line: Proxy, snapshots: PostgresSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshline.engine.postgres_snapshots.CLOSE_S", 0.5)
    await snapshots.save(state())
    line.set("silent")

    await in_time(snapshots.aclose())
    line.heal()


async def test_a_connection_that_its_library_has_lost_track_of_ends_nobody(
    snapshots: PostgresSnapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was seen in a siege: the worker ended, where it should have folded the log."""
    await snapshots.save(state())
    lost = 0

    async def lose_track(self: Any, *arguments: Any, **more: Any) -> Any:
        nonlocal lost
        lost += 1
        raise asyncpg.InternalClientError("another operation (2) is in progress")

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "fetch", lose_track)
        patch.setattr(asyncpg.Connection, "executemany", lose_track)
        assert await in_time(snapshots.load(0)) is None
        await in_time(snapshots.save(state(8)))
    found = await in_time(snapshots.load(0))

    assert lost == 3, "a load is tried twice, with a connection of its own each time"
    assert found == state()
