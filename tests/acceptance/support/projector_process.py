"""A projector as a process of its own: `python -m` this, until SIGTERM."""

from __future__ import annotations

import argparse

from meshline.events.log import open_log
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projector import Projector
from tests.acceptance.support.process_entry import QUICK, run_until_stopped, stop_at_signal


async def project(log_address: str, views: str) -> None:
    log = open_log(log_address, QUICK)
    await log.open()
    store = PostgresStore(views)
    await store.open()
    projector = Projector(log, store)
    try:
        stop_at_signal(projector.stop)
        await projector.run()
    finally:
        await store.aclose()
        await log.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--views", required=True)
    given = parser.parse_args()
    run_until_stopped(project(given.log, given.views))
