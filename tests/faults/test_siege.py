"""Worker, broker, PostgreSQL and the lines between are struck while orders go through.

`make test` strikes a dozen times, mixed by a seed; `make soak-faults` strikes 150 times, at three
brokers, and then with the log in PostgreSQL. MESHLINE_FAULTS_STRIKES, MESHLINE_FAULTS_RUNS,
MESHLINE_FAULTS_NODES and MESHLINE_SOAK_SEED say how often, how many orders, how many brokers (0:
PostgreSQL alone) and when what; after MESHLINE_FAULTS_FOR_S seconds nothing more is struck.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from meshline.projections.from_scratch import compare_views, fold_views
from tests.acceptance.support.audit import executions_in, nobody
from tests.acceptance.support.driven import EXECUTIONS
from tests.acceptance.support.places import until
from tests.acceptance.support.verdict import (
    check_outcomes,
    check_readers,
)
from tests.faults.support.besieged import Siege, expected_of
from tests.faults.support.disk import Disk, mounted
from tests.faults.support.history import check_history, history_of
from tests.faults.support.site import opened_site
from tests.faults.support.strikes import (
    ON_FULL_DISKS,
    ON_ONE_BROKER,
    ON_POSTGRES_ALONE,
    ON_THREE_BROKERS,
    RARE,
    Strike,
)

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

STRIKES = int(os.environ.get("MESHLINE_FAULTS_STRIKES", "12"))
RUNS = int(os.environ.get("MESHLINE_FAULTS_RUNS", "2000"))
NODES = int(os.environ.get("MESHLINE_FAULTS_NODES", "1"))
SEED = int(os.environ.get("MESHLINE_SOAK_SEED", "0")) or Random().randrange(1, 10**6)

PARTITIONS = 4
FOR_S = float(os.environ.get("MESHLINE_FAULTS_FOR_S", "inf"))
STRIKE_S = float(os.environ.get("MESHLINE_FAULTS_STRIKE_S", "4"))
"""About what a strike takes; orders come during all of them."""

PATIENCE_S = 120.0
CATALOGUES = {0: ON_POSTGRES_ALONE, 1: ON_ONE_BROKER, 3: ON_THREE_BROKERS}
ALWAYS = 3
"""The first of the strikes come in every run: worker, broker and PostgreSQL killed."""


def drawn(catalogue: dict[str, Strike], count: int, random: Random) -> list[str]:
    """Names of strikes: none comes again before all others have come; what is rare never does."""
    names = [*catalogue]
    always, others = names[:ALWAYS], names[ALWAYS:]
    chosen = [*always, *random.sample(others, min(count - ALWAYS, len(others)))]
    random.shuffle(chosen)
    again = [name for name in names if name not in RARE]
    while len(chosen) < count:
        chosen += random.sample(again, min(count - len(chosen), len(again)))
    return chosen


@pytest.fixture
def disks(servers: Path) -> Iterator[tuple[Disk, Disk] | None]:
    """Disks that can be full, for the soak alone, and where they may be mounted."""
    if NODES != 3:
        yield None
        return
    folders = (servers / "kafka" / "node-1", servers / "postgres")
    with mounted(folders[0], 1_500) as of_kafka, mounted(folders[1], 2_500) as of_postgres:
        yield None if of_kafka is None or of_postgres is None else (of_kafka, of_postgres)


async def test_nothing_is_lost_and_nothing_doubled_whatever_is_struck(
    servers: Path,
    disks: tuple[Disk, Disk] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    print(f"seed {SEED}")
    catalogue = CATALOGUES[NODES]
    if disks is not None:
        catalogue = catalogue | ON_FULL_DISKS
    monkeypatch.setenv("MESHLINE_TEST_EXECUTIONS", str(tmp_path))
    random = Random(SEED)
    started = time.monotonic()
    async with (
        opened_site(tmp_path, servers, NODES, disks) as site,
        site.place.opened_log(PARTITIONS) as log,
    ):
        await asyncio.to_thread(site.staff, RUNS, STRIKES * STRIKE_S)
        async with site.place.opened_views() as views:
            await until("the views", PATIENCE_S, views.are_there)
            siege = Siege(site, log, views, SEED)
            for name in drawn(catalogue, STRIKES, random):
                if time.monotonic() - started < FOR_S:
                    await siege.strike(name, catalogue[name], random)
            print(siege.table())

            expected = expected_of(RUNS, siege.probes)
            await until("every run where it should be", PATIENCE_S, arrived(siege, expected))
            await asyncio.to_thread(dismiss, siege, "clients", "workers")

            async def all_is_read() -> bool:
                return await views.are_at(await log.ends())

            await until("views that have read all", PATIENCE_S, all_is_read)
            await asyncio.to_thread(dismiss, siege, "projectors")

            found = await siege.auditing.read_on(log)
            operations = history_of(site.histories())
            said = check_history(operations, found)
            assert found.statuses == expected
            assert siege.auditing.at_rest(0.0, nobody) == []
            check_outcomes(found, *executions_in(tmp_path / EXECUTIONS))
            await check_readers(found, site.place, log, SEED)
            assert await compare_views(views.store, await fold_views(log)) == []
            # What can't be read is shown, and stops no run.
            assert {parked.entity for _, parked in await views.parked()} <= {"nobody"}
            assert said["ok"] >= 0.8 * said.total(), said
            records = sum(map(len, found.records.values()))
            print(
                f"{RUNS} orders, {siege.probes} probes, {records} records, {len(found.void)} void, "
                f"{sum(found.claims.values())} claims, {found.why['taken_over']} taken over; "
                f"operations {dict(said)}; {len(site.restarts)} started again; "
                f"{time.monotonic() - started:.0f} s in all"
            )
            for restart in site.restarts:
                print("ended by itself:", restart[-300:])


def arrived(siege: Siege, expected: dict[str, str]) -> Callable[[], Awaitable[bool]]:
    counts = Counter(expected.values())

    async def reached() -> bool:
        siege.site.keep_up()
        rows = await siege.views.query("select state, count(*) from {ns}.runs group by state")
        return {row[0]: row[1] for row in rows} == counts

    return reached


def dismiss(siege: Siege, *kinds: str) -> None:
    """End them in order."""
    for member in (member for kind in kinds for member in getattr(siege.site, kind)):
        member.wait_ready()
        assert member.end() == 0, member.said()[-3000:]
