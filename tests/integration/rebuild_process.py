"""A rebuild as a process of its own, for tests that kill it; what it says are lines of progress."""

from __future__ import annotations

import asyncio
import sys

import orjson

from meshline.events.log import LogSettings, open_log
from meshline.projections import exception_view, ownership_view, runs_view
from meshline.projections.rebuild import Rebuild
from meshline.projections.settings import ProjectorSettings

PROJECTIONS = [runs_view.projection, ownership_view.projection, exception_view.projection]
LITTLE_AHEAD = LogSettings(read_ahead_bytes_max=100_000)
"""So that a log that is gone is missed soon."""


async def main(log_address: str, views: str, events_per_s_max: int | None) -> None:
    log = open_log(log_address, LITTLE_AHEAD)
    await log.open()
    settings = ProjectorSettings(batch_records_max=200, retry_s=0.05, retry_s_max=0.5)
    rebuild = Rebuild(log, views, PROJECTIONS, events_per_s_max=events_per_s_max, settings=settings)
    async for progress in rebuild.run():
        line = {"done": progress.done, "total": progress.total, "error": progress.error}
        print(orjson.dumps(line).decode(), flush=True)
    await log.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) or None))
