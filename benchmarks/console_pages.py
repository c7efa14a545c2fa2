"""How long the server takes for every page of the console, with much to show, and what is slow.

    .venv/bin/python benchmarks/console_pages.py --runs 100000 --events-of-one 5000
    .venv/bin/python benchmarks/console_pages.py --folder kept --statements

Fills a log and builds the views of it (as `meshline view rebuild` does), then starts the real
`meshline serve` on it and asks for each page, one request at a time. Printed: median and 99th
percentile, and how large the page is as it travels; then what of JavaScript a browser loads, packed
with gzip. `--folder` keeps the data, for another look at the same; `--statements` prints what
PostgreSQL took the longest for (by `auto_explain`, EXPLAIN ANALYZE of what takes over 50 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import uvloop
from console_log import LONG_RUN, PARTITIONS, fill

from meshline.api.accounts import Accounts
from meshline.cli.embedded import EmbeddedPostgres
from meshline.events.log import EventLog, open_log
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_builds import Builds
from meshline.projections.postgres_connection import parse_address
from meshline.projections.queries import Views
from meshline.projections.rebuild import Rebuild, swap_when_ready

NAME, PASSWORD = "bench", "a password of twenty"
LONG_ENOUGH_MS = 15_000
"""Of a page that is slow fewer requests than were asked for tell enough."""

STATIC = Path(__file__).resolve().parent.parent / "projections/meshline/console/static"


class Measured(NamedTuple):
    """One page; times in ms."""

    page: str
    path: str
    median: float
    p99: float
    bytes: int
    packed_bytes: int


async def prepare(address: str, runs: int, events_of_one: int) -> None:
    """Write the log and build the views, unless the folder has them already."""
    log = open_log(address)
    await log.open(create_partitions=PARTITIONS)
    accounts = Accounts(address)
    try:
        if sum((await log.ends()).values()) < runs:
            said(f"Writing {runs:,} runs …")
            started = time.perf_counter()
            events = await fill(log, runs, events_of_one)
            said(
                f"{events:,} events in {time.perf_counter() - started:.0f} s; building the views …"
            )
            started = time.perf_counter()
            await build(log, address)
            said(f"built in {time.perf_counter() - started:.0f} s")
        await accounts.open()
        if NAME not in {user.name for user in await accounts.all()}:
            await accounts.create(NAME, ["admin"], made_by="benchmark", password=PASSWORD)
    finally:
        await accounts.aclose()
        await log.aclose()


async def build(log: EventLog, address: str) -> None:
    rebuild, books = Rebuild(log, address, BUILT_IN), Builds(address)
    async for _ in rebuild.run():
        pass
    try:
        for target in rebuild.builds.values():
            await swap_when_ready(books, log, target, actor="benchmark", behind_max=0, wait_s=10)
    finally:
        await books.aclose()


def said(text: str) -> None:
    print(text, file=sys.stderr)


def _typed(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")


async def pages(address: str) -> dict[str, str]:
    """Return every page by name, and pages of lists far behind their first."""
    views = Views(address)
    try:
        held = (await views.runs(states=["held"], limit=1)).rows[0]
        approval = (await views.approvals(limit=1)).rows[0]
        exception = (await views.exceptions(limit=1)).rows[0]
        group = (await views.exception_groups(limit=1))[0]
        far: dict[str, str | None] = {}
        for name, read, pages_on in (
            ("runs", views.runs, 19), ("triggers", views.triggers, 19), ("audit", views.audit, 9),
        ):  # fmt: skip
            page = await read(limit=1_000)
            for _ in range(pages_on):
                page = await read(limit=1_000, after=page.next)
            far[name] = page.next
    finally:
        await views.aclose()
    then = _typed(held.started_at + timedelta(seconds=5))
    tuesday = _typed(datetime.now(UTC) - timedelta(days=7))
    return {
        "overview": "/",
        "runs": "/runs",
        "runs, far behind": f"/runs?after={far['runs']}",
        "runs, open": "/runs?state=open",
        "runs, of an owner": "/runs?owner=team:emea&state=open",
        "runs, of a source": "/runs?source=web.forms",
        "runs, of nobody": "/runs?owner=team:nobody",
        "runs, waiting on": "/runs?waiting_on=approval",
        "runs, as of": f"/runs?as_of={tuesday}",
        "runs, open as of": f"/runs?state=open&as_of={tuesday}",
        "runs, of nobody as of": f"/runs?owner=team:nobody&as_of={tuesday}",
        "a run": f"/runs/{held.run_id}",
        "a run, as of": f"/runs/{held.run_id}?as_of={then}",
        "the long run": f"/runs/{LONG_RUN}",
        "the long run, later": f"/runs/{LONG_RUN}?after=99999999",
        "the long run, failed": f"/runs/{LONG_RUN}?failed=1",
        "the long run, of an actor": f"/runs/{LONG_RUN}?actor=user:ada",
        "the long run, payloads": f"/runs/{LONG_RUN}?payload=run&saw=1",
        "the long run, an event": f"/runs/{LONG_RUN}?event=2500",
        "payloads": f"/runs/{held.run_id}?payload=run",
        "exceptions": "/exceptions",
        "exceptions, open": "/exceptions?state=open",
        "exceptions, resolved": "/exceptions?state=resolved",
        "exceptions, of a cause": f"/exceptions?cause={group.cause}",
        "a group of exceptions": f"/exception-groups/{group.cause}",
        "exceptions, of nobody": "/exceptions?owner=team:nobody",
        "exceptions, as of": f"/exceptions?as_of={tuesday}",
        "exceptions, open as of": f"/exceptions?state=open&as_of={tuesday}",
        "a group, as of": f"/exception-groups/{group.cause}?as_of={tuesday}",
        "an exception": f"/exceptions/{exception.exception_id}",
        "approvals": "/approvals",
        "approvals, decided": "/approvals?state=approved",
        "approvals, of nobody": "/approvals?owner=team:nobody",
        "approvals, as of": f"/approvals?as_of={tuesday}",
        "an approval": f"/runs/{approval.run_id}/approvals/{approval.task}",
        "triggers": "/triggers",
        "triggers, far behind": f"/triggers?after={far['triggers']}",
        "triggers, of a source": "/triggers?source=web.forms",
        "triggers, rejected": "/triggers?status=rejected",
        "workflows": "/workflows",
        "a workflow": "/workflows/lead-intake",
        "owners": "/owners",
        "owners, as of": f"/owners?as_of={tuesday}",
        "queues, as of": f"/queues?as_of={tuesday}",
        "possessions, as of": f"/possessions?owner=team:emea&as_of={tuesday}",
        "views": "/views",
        "audit": "/audit",
        "audit, far behind": f"/audit?after={far['audit']}",
        "audit, of an actor": "/audit?actor=user:grace&action=cancel",
        "audit, of nobody": "/audit?actor=user:nobody",
        "audit, of a workflow": "/audit?workflow=lead-intake&status=refused",
        "audit, a time": f"/audit?since={tuesday}&until={_typed(datetime.now(UTC))}",
        "readings": "/audit/readings",
        "possessions": "/possessions?owner=team:emea",
        "possessions, of a queue": f"/possessions?owner={exception.owner}",
        "work": "/work",
        "queues": "/queues",
        "access": "/access",
    }


@asynccontextmanager
async def serving(address: str, folder: Path) -> AsyncIterator[str]:
    """`meshline serve`, as people start it."""
    told = folder / "serve.log"
    with told.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - there is nothing else to do meanwhile
            [
                Path(sys.executable).parent / "meshline", "serve", "--log", address,
                "--views", address, "--port", "0", "--health-port", "0",
            ],
            cwd=folder, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        for _ in range(300):
            found = re.search(r"Ready: (http://\S+)", told.read_text())
            if found:
                break
            await asyncio.sleep(0.1)
        else:
            raise SystemExit(f"`meshline serve` did not start: {told.read_text()}")
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


async def measure(address: str, folder: Path, requests: int, only: str) -> list[Measured]:
    found = []
    async with serving(address, folder) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        page = (await http.get("/login")).text
        token = re.search(r'name="token" value="([^"]*)"', page)
        form = {"token": token[1] if token else "", "name": NAME, "password": PASSWORD}
        answer = await http.post("/login", data=form)
        assert answer.status_code == 303, answer.text
        for name, path in (await pages(address)).items():
            if only not in name:
                continue
            times: list[float] = []
            for number in range(requests + 1):
                if sum(times) > LONG_ENOUGH_MS:
                    break
                started = time.perf_counter()
                answer = await http.get(path)
                took = (time.perf_counter() - started) * 1000
                assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
                # The first of all opens connections.
                times += [took] if number else []
            times.sort()
            found.append(
                Measured(
                    name, path, times[len(times) // 2], times[int(len(times) * 0.99)],
                    len(answer.content), len(gzip.compress(answer.content)),
                )
            )  # fmt: skip
            said(f"{name:24} {found[-1].median:8.1f} ms  {found[-1].p99:8.1f} ms")
    return found


def scripts() -> dict[str, int]:
    """Return what of JavaScript a browser loads, by file, packed."""
    return {
        path.name: len(gzip.compress(path.read_bytes(), 9)) for path in sorted(STATIC.glob("*.js"))
    }


async def explaining(dsn: str) -> None:
    connection = await asyncpg.connect(parse_address(dsn).dsn)
    for name, value in (
        ("session_preload_libraries", "'auto_explain'"),
        ("auto_explain.log_min_duration", "'50ms'"),
        ("auto_explain.log_analyze", "on"),
    ):
        await connection.execute(f"alter system set {name} = {value}")
    await connection.execute("select pg_reload_conf()")
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--events-of-one", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--only", default="", help="Pages with this in their name.")
    parser.add_argument("--folder", type=Path, help="Keep the data there.")
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="meshline-pages-"))
    folder.mkdir(exist_ok=True, parents=True)
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            address = f"{server.dsn}&meshline_namespace=pages"
            uvloop.run(prepare(address, options.runs, options.events_of_one))
            if options.statements:
                uvloop.run(explaining(address))
            found = uvloop.run(measure(address, folder, options.requests, options.only))
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    told: dict[str, Any] = {
        "pages": [page._asdict() for page in found], "scripts_packed_bytes": scripts()
    }  # fmt: skip
    if options.output == "json":
        print(json.dumps(told))
        return
    print(f"{'page':24} {'median':>9} {'p99':>9} {'kB':>7} {'packed':>7}")
    for page in found:
        print(
            f"{page.page:24} {page.median:6.1f} ms {page.p99:6.1f} ms "
            f"{page.bytes / 1000:7.1f} {page.packed_bytes / 1000:7.1f}"
        )
    packed = scripts()
    each = ", ".join(f"{name} {size / 1000:.1f}" for name, size in packed.items())
    print(f"JavaScript, packed: {sum(packed.values()) / 1000:.1f} kB ({each})")


if __name__ == "__main__":
    main()
