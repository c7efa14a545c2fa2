"""Views that a projector has filled from a log, to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from meshline.events.envelope import Position
from meshline.events.log import EventLog
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection
from meshline.projections.projector import Projector
from meshline.projections.queries import Views

__all__ = ["filled_views"]


@asynccontextmanager
async def filled_views(
    address: str, log: EventLog, projections: Sequence[Projection] = BUILT_IN
) -> AsyncIterator[Views]:
    """The views at the address, as far as the log goes."""
    store, views = PostgresStore(address), Views(address)
    await store.open()
    projector = Projector(log, store, projections)
    task = asyncio.create_task(projector.run())
    try:
        ends = [Position(p, end - 1) for p, end in (await log.ends()).items()]
        await views.reached(ends, [each.name for each in projections], timeout_s=60)
        projector.stop()
        await task
        yield views
    finally:
        task.cancel()
        await store.aclose()
        await views.aclose()
