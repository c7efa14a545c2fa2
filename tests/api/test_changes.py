"""Streams of changes: told as the views show them, to who may see them, and never lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from meshline.api.changes import Changes, ChangesSettings
from meshline.api.guard import ApiSettings
from meshline.cli.serve import listening
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads
from tests.api.refunds import REFUNDS, refunds

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}
QUICK = ChangesSettings(poll_s=0.02, heartbeat_s=0.2, streams_max=3)


class Page:
    """A page that listens."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, Any]:
        """Return the next event that says something."""
        kind, data = "", None
        async with asyncio.timeout(90):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                if not line and kind:
                    return kind, data
        raise EOFError

    async def place(self) -> str:
        """Return the next id: that of a batch stands behind its events."""
        return (await self._line("id: ")).removeprefix("id: ")

    async def sign_of_life(self) -> str:
        return await self._line(":")

    async def _line(self, start: str) -> str:
        async with asyncio.timeout(90):
            async for line in self._lines:
                if line.startswith(start):
                    return line
        raise EOFError

    async def until(self, kind: str, type_name: str) -> Any:
        while True:
            found, data = await self.next()
            if found == kind and data["type"] == f"meshline.{type_name}.v1":
                return data


@asynccontextmanager
async def page(
    address: str, key: str, after: str | None = None, **query: Any
) -> AsyncIterator[Page]:
    headers = {"Authorization": key} | ({} if after is None else {"Last-Event-ID": after})
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=90) as client,
        client.stream("GET", "/v1/changes", params=query) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        listening_page = Page(answer.aiter_lines())
        if after is None:
            await listening_page.place()  # From here on it is told what comes.
        yield listening_page


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads, refunds)) as installation:
        services = installation.services
        services.changes = Changes(services.log, services.views, QUICK)
        yield installation


def key_of(client: Client) -> str:
    key: str = client.http.headers["Authorization"]
    return key


async def test_what_changes_is_told_when_the_views_show_it(meshline: Installation) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        page(address, key_of(ada)) as all_kinds,
        page(address, key_of(ada), kind="approval") as approvals,
    ):
        run = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
        asked = await approvals.until("approval", "approval.requested")
        shown = (await ada.get("/v1/approvals"))["items"]
        waiting = await all_kinds.until("run", "run.waiting")
        state = (await ada.get(f"/v1/runs/{run}"))["state"]
        await all_kinds.sign_of_life()

    assert (asked["run_id"], asked["task"]) == (run, "big_deal")
    assert [row["run_id"] for row in shown] == [run]
    assert (waiting["run_id"], state) == (run, "waiting")


async def test_who_comes_again_is_told_what_was_missed(meshline: Installation) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
    ):
        run = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, run, "waiting")
        async with page(address, key_of(ada)) as first:
            await ada.post(f"/v1/runs/{run}/pause")
            await first.until("run", "run.paused")
            last = await first.place()
        await ada.post(f"/v1/runs/{run}/cancel")
        await reaches(ada, run, "cancelled")
        async with page(address, key_of(ada), after=last) as again:
            missed = await again.next()
        async with page(address, key_of(ada), after="9:9") as lost:
            reset = await lost.next()

    assert missed == ("run", missed[1])
    assert missed[1]["type"] == "meshline.run.cancelled.v1"
    assert reset[0] == "reset"


async def test_a_team_is_told_of_its_own_alone(meshline: Installation) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:sue", "viewer", queues=["queue:support"]) as sue,
        page(address, key_of(sue)) as support,
    ):
        other = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, other, "waiting")
        own = await ada.post("/v1/triggers", {"order": "lost"}, source=REFUNDS, id="R-1")
        found = await support.next()
        opened = await support.until("exception", "exception.opened")

    assert found[1]["run_id"] == opened["run_id"] == own["run_id"]
    assert opened["exception_id"].startswith("ex-")


async def test_a_stream_ends_with_its_key_and_there_are_only_so_many(
    meshline: Installation,
) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
    ):
        pages = [page(address, key_of(ada)) for _ in range(QUICK.streams_max)]
        opened = [await each.__aenter__() for each in pages]
        refused = await ada.http.get("/v1/changes", params={"for_s": 0})
        await meshline.keys.revoke(key_of(ada).split("_")[1], by="user:test")
        for each in opened:
            with pytest.raises(EOFError):
                await each.next()
        for closing in pages:
            await closing.__aexit__(None, None, None)

    assert (refused.status_code, refused.json()["code"]) == (503, "ML6008")


async def test_a_reader_that_is_too_slow_is_let_go_and_may_come_again(
    meshline: Installation,
) -> None:
    services = meshline.services
    changes = Changes(services.log, services.views, QUICK._replace(batches_max=4))
    async with meshline.as_("user:ada", "admin") as ada:
        slow = changes.stream(services.views, ["run"], None, 600)
        first = await anext(slow)
        quick = changes.stream(services.views, ["run"], None, 600)
        told = ""
        for number in range(5):
            run = await ada.post(
                "/v1/triggers", ADA | {"employees": 3}, source=SOURCE, id=str(number)
            )
            async with asyncio.timeout(90):
                while run["run_id"] not in told:
                    told = (await anext(quick)).decode()
        rest = [text async for text in slow]
    await changes.aclose()

    assert first.startswith(b"retry: ")
    assert len(rest) <= 4


def test_streams_have_a_limit_below_that_of_requests() -> None:
    assert ChangesSettings().streams_max < ApiSettings().in_flight_max
