"""A connection that breaks is replaced, and none is used that is only half set up."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from meshline.projections import postgres_connection
from meshline.projections.errors import StoreUnavailable
from meshline.projections.postgres_connection import Connection, parse_address

pytestmark = pytest.mark.postgres

JSON = """select '{"a": 1}'::jsonb"""


async def test_a_connection_that_could_not_be_set_up_is_not_used(
    postgres_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up, calls = postgres_connection._set_up, 0

    async def fails_once(connection: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise asyncpg.ConnectionDoesNotExistError("the server was killed")
        await set_up(connection)

    monkeypatch.setattr(postgres_connection, "_set_up", fails_once)
    connection = Connection(parse_address(postgres_address))
    with pytest.raises(StoreUnavailable):
        async with connection.use():
            pass

    async with connection.use() as session:
        assert (await session.fetch(JSON))[0][0] == {"a": 1}
    await connection.aclose()


async def test_a_connection_that_the_library_lost_track_of_is_replaced(
    postgres_address: str,
) -> None:
    connection = Connection(parse_address(postgres_address))
    with pytest.raises(StoreUnavailable, match="another operation"):
        async with connection.use():
            raise asyncpg.InternalClientError("another operation (2) is in progress")

    async with connection.use() as session:
        assert (await session.fetch(JSON))[0][0] == {"a": 1}
    assert connection.generation == 2
    await connection.aclose()
