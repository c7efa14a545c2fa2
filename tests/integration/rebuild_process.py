"""A rebuild as a process of its own, for tests that kill it: log and views at one address."""

from __future__ import annotations

import asyncio
import sys

from meshline.events.log import open_log
from meshline.projections import exception_view, ownership_view, runs_view
from meshline.projections.rebuild import Rebuild
from meshline.projections.settings import ProjectorSettings

PROJECTIONS = [runs_view.projection, ownership_view.projection, exception_view.projection]


async def main(address: str) -> None:
    log = open_log(address)
    await log.open()
    settings = ProjectorSettings(batch_records_max=200)
    async for _ in Rebuild(log, address, PROJECTIONS, settings=settings).run():
        print("reading", flush=True)
    await log.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
