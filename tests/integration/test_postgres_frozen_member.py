"""A member that freezes while it shares out partitions must not keep the others from it."""

from __future__ import annotations

import asyncio

import pytest

from meshline.events.log import LogSettings, open_log
from meshline.events.log.postgres_link import Link, parse

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

QUICK = LogSettings(session_timeout_s=1.0, heartbeat_s=0.25)


async def test_a_lock_of_a_frozen_member_is_given_up_for_it(postgres_address: str) -> None:
    log = open_log(postgres_address, QUICK)
    await log.open(create_partitions=2)
    address = parse(postgres_address)
    frozen = Link(address.dsn, "frozen member")
    try:
        # As it stands in the middle of sharing out: with the lock, in a transaction, silent.
        connection = await frozen.connection(0.0)
        await connection.transaction().start()
        await connection.execute(
            "select pg_advisory_xact_lock(hashtext($1), hashtext('workers'))", address.schema
        )
        member = log.membership("workers", "awake")
        await member.start()
        try:
            async with asyncio.timeout(90):
                assigned = await member.changed(frozenset())
        finally:
            await member.aclose()
    finally:
        frozen.drop()
        await log.aclose()

    assert assigned == {0, 1}
