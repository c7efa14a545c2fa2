"""A projector as a process of its own, for tests that kill it."""

from __future__ import annotations

import asyncio
import sys

from meshline.events.log import open_log
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from meshline.projections.settings import ProjectorSettings


async def main(log_address: str, views: str) -> None:
    log, store = open_log(log_address), PostgresStore(views)
    await log.open()
    await store.open()
    settings = ProjectorSettings(batch_records_max=100, standby_poll_s=0.05)
    print("ready", flush=True)
    await Projector(log, store, settings=settings).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
