"""Both stores behind one fixture: ``open_store()`` opens one more on the same data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from meshline.projections.memory_store import MemoryStore, Shared
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.store import ViewStore

__all__ = ["OpenStore", "open_store"]

OpenStore = Callable[[], Awaitable[ViewStore]]


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[OpenStore]:
    shared = Shared()
    address = request.getfixturevalue("postgres_address") if request.param == "postgres" else ""
    opened: list[ViewStore] = []

    async def open_one() -> ViewStore:
        store: ViewStore = MemoryStore(shared) if not address else PostgresStore(address)
        await store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        await store.aclose()
