"""A projector ends when it is told to, also while PostgreSQL gives no answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from tests.faults.support.proxy import Proxy
from tests.projections.streams import fill, new_log, write

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

ENDS_S = 20.0
"""Twice what a process has; it would be minutes."""


@pytest.mark.parametrize("fault", ["silent", "half_open"])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_projector_does_not_wait_for_a_silent_server(
    line: Proxy, postgres_dsn: str, fault: Any, busy: bool
) -> None:
    parts = urlsplit(postgres_dsn)
    user = parts.username or "meshline"
    store = PostgresStore(
        f"postgresql://{user}@127.0.0.1:{line.port}{parts.path}?meshline_namespace=end_{line.port}"
    )
    await store.open()
    log = await new_log()
    projector = Projector(log, store)
    running = asyncio.create_task(projector.run())
    while not all(view.standing == "reading" for view in projector.health()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    if busy:
        await fill(log, write(1, 20).entries)
        await asyncio.sleep(0.1)

    if fault == "half_open":
        line.half_open()
    else:
        line.set(fault)
    await fill(log, write(2, 20).entries)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    projector.stop()
    async with asyncio.timeout(ENDS_S):
        await running
        await store.aclose()

    assert time.monotonic() - began < ENDS_S
