"""What passes the gate can be stored by a view: a real PostgreSQL takes it all, and changes none.

That is the gate's promise; the gate's own tests only know what we believe of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.errors import PayloadRefused
from meshline.events.facts import RunFailed
from meshline.events.gate import Gate, check_identifier
from meshline.events.publish.answer import Trigger
from meshline.events.publish.triggers import receive
from meshline.events.requests import StepError
from tests.events.publish.doubles import NOW
from tests.hostile import hostile_identifiers, hostile_objects, hostile_payloads

pytestmark = pytest.mark.postgres

GATE = Gate()


@pytest.fixture
async def connection(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


async def stored(connection: asyncpg.Connection, value: Any) -> Any:
    """The value after a way through ``jsonb``."""
    text = orjson.dumps(value).decode()
    return orjson.loads(await connection.fetchval("select $1::jsonb::text", text))


async def test_every_payload_that_passes_is_jsonb(connection: asyncpg.Connection) -> None:
    passed = 0

    for name, raw in hostile_payloads(seed=3, count=4_000):
        try:
            payload = GATE.parse(raw)
        except PayloadRefused:
            continue
        passed += 1
        assert await stored(connection, payload) == payload, name

    assert passed > 1_000


async def test_every_object_that_passes_is_jsonb(connection: asyncpg.Connection) -> None:
    for name, value in hostile_objects():
        try:
            payload = GATE.check(value)
        except PayloadRefused:
            continue
        assert await stored(connection, payload) == payload, name


async def test_every_identifier_that_passes_is_a_key(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "create temporary table keys (a text, b text, c text, d text, e text, "
        "primary key (a, b, c, d, e))"
    )
    passed = []
    for _, value in hostile_identifiers():
        try:
            passed.append(check_identifier("source", value))
        except PayloadRefused:
            continue

    # Five of one at once, so that the longest stand together in one row of the index.
    keys = [(*[one] * 4, other) for one in passed for other in passed]
    await connection.executemany("insert into keys values ($1, $2, $3, $4, $5)", keys)

    rows = await connection.fetch("select * from keys")
    assert sorted(map(tuple, rows)) == sorted(keys)


async def test_what_is_kept_of_the_rest_is_jsonb_too(connection: asyncpg.Connection) -> None:
    for name, raw in hostile_payloads(seed=4, count=500):
        received = receive(Trigger("s\x00", raw, name), GATE, raw=raw)
        value = encode(Event("id", "s", received.run_id, NOW, received.data, NOW))

        assert await stored(connection, orjson.loads(value)) == orjson.loads(value), name


async def test_the_error_of_a_step_is_text(connection: asyncpg.Connection) -> None:
    error = StepError(type="OSError", message="caf\udce9\x00" + "😀" * 20_000)

    assert await connection.fetchval("select $1::text", error.message) == error.message
    failed = Event("i", "s", "r", NOW, RunFailed(reason="x", error=error), NOW)
    assert decode(encode(failed)).data.error == error
