"""Keeping the views over HTTP: rebuilt, compared, put live and rolled back, by who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import RunStarted
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_connection import Pool, parse_address
from meshline.projections.projection import Projection, by_run
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


class Seen(NamedTuple):
    run_id: str
    employees: int


class Switch:
    """Whether what the view can't do is mended."""

    is_mended = False


fussy = Projection("fussy", version=1)
seen = fussy.table("fussy", Seen, key=["run_id"], keys=by_run)


@seen.on(RunStarted)
def started(row: Seen | None, event: Recorded[RunStarted]) -> Seen:
    if event.event.data.trigger_id.startswith("bad") and not Switch.is_mended:
        raise ValueError("no number of employees")
    return Seen(event.event.subject, 1)


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    Switch.is_mended = False
    async with installed(
        postgres_address, Registry(leads), projections=[*BUILT_IN, fussy]
    ) as installation:
        yield installation


async def rebuilt(ada: Client, view: str) -> Any:
    """Ask for a rebuild, and return it as soon as it has ended."""
    await ada.post(f"/v1/views/{view}/rebuilds")
    async with asyncio.timeout(90):
        while True:
            [one] = (await ada.get(f"/v1/views/{view}/rebuilds"))["items"]
            if one["state"] not in ("asked", "loading"):
                return one
            await asyncio.sleep(0.05)


async def builds(ada: Client, view: str) -> dict[int, str]:
    listed = (await ada.get("/v1/view-builds"))["items"]
    return {each["build"]: each["state"] for each in listed if each["name"] == view}


async def test_a_view_is_rebuilt_compared_put_live_and_rolled_back(
    meshline: Installation, postgres_address: str
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, run, "waiting")

        done = await rebuilt(ada, "runs")
        before = await builds(ada, "runs")
        equal = await ada.get("/v1/views/runs/diff")
        # Somebody spoils a row of the live build: that is what a diff is for.
        pool = Pool(parse_address(postgres_address), connections_max=1)
        namespace = parse_address(postgres_address).namespace
        await pool.fetch(f"update {namespace}.runs set owner = 'x' where run_id = $1", run)
        await pool.aclose()
        differs = await ada.get("/v1/views/runs/diff", samples=5)

        never = await ada.get("/v1/views/runs/diff", last_swap=True, status=404)
        put = await ada.post("/v1/views/runs/swap", {}, status=200)
        swapped = await ada.get("/v1/views/runs/diff", last_swap=True, samples=5)
        shown = (await ada.get(f"/v1/runs/{run}"))["owner"]
        after = await builds(ada, "runs")
        back = await ada.post("/v1/views/runs/rollback", status=200)
        spoilt = (await ada.get(f"/v1/runs/{run}"))["owner"]

    assert (done["state"], done["asked_by"], done["build"]) == ("loaded", "user:ada", 2)
    assert done["done"] == done["total"] > 0
    assert before == {1: "live", 2: "warm"}
    assert equal["equal"] is True
    [table] = differs["tables"]
    assert (table["changed"], table["columns"]) == (1, {"owner": 1})
    assert "was never swapped" in str(never)
    # What was live before stands first, and so the spoilt row.
    [since] = swapped["tables"]
    assert (since["samples"][0]["old"]["owner"], since["columns"]) == ("x", {"owner": 1})
    [sample] = table["samples"]
    assert (sample["old"]["owner"], sample["key"]) == ("x", {"run_id": run})
    assert sample["events"], "the events behind a row that differs are told"
    assert (put["build"], put["before_build"]) == (2, 1)
    assert after == {1: "warm", 2: "live"}
    assert shown == sample["new"]["owner"] != "x"
    assert (back["build"], back["before_build"], spoilt) == (1, 2, "x")


async def test_what_can_not_be_done_to_a_view_is_told(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        unknown = await ada.post("/v1/views/none/rebuilds", status=404)
        nothing = await ada.post("/v1/views/runs/swap", {}, status=404)
        never = await ada.post("/v1/views/runs/rollback", status=404)
        alone = await ada.get("/v1/views/runs/diff", status=404)
        none = await ada.get("/v1/views/runs/rebuilds")
        rests = await ada.post("/v1/views/runs/rebuilds/pause", status=404)

    assert "There is no view 'none'" in unknown["detail"]
    assert "to swap to" in nothing["detail"]
    assert "was never swapped" in never["detail"]
    assert alone["code"] == "ML5007"
    assert none["items"] == []
    assert "that is being rebuilt" in rests["detail"]


async def test_what_is_parked_is_shown_and_applied_or_left_out(meshline: Installation) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:olga", "operator") as olga,
    ):
        for name in ("bad-1", "bad-2"):
            sent = await ada.post("/v1/triggers", ADA, source=SOURCE, id=name)
            await reaches(ada, sent["run_id"], "waiting")
        async with asyncio.timeout(90):
            while True:
                parked = (await ada.get("/v1/views/fussy/parked"))["items"]
                if len(parked) == 2:
                    break
                await asyncio.sleep(0.05)
        first, second = parked
        free = "/v1/views/fussy/parked"
        await olga.post(f"{free}/retry", {"position": first["position"]}, status=403)
        why = await ada.post(f"{free}/skip", {"position": first["position"]}, status=422)
        nowhere = await ada.post(f"{free}/retry", {"position": "0:0"}, status=404)

        skipped = await ada.post(f"{free}/skip", {"position": first["position"], "reason": "old"})
        Switch.is_mended = True
        retried = await ada.post(f"{free}/retry", {"position": second["position"]})
        async with asyncio.timeout(90):
            while (await ada.get("/v1/views/fussy/parked"))["items"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        rows = await meshline.services.views.table_rows("fussy", ["run_id"], limit=10)

    assert "no number of employees" in first["error"]
    assert "why it is left out" in why["detail"]
    assert "Nothing is parked" in nowhere["detail"]
    assert (skipped["status"], retried["status"]) == ("accepted", "accepted")
    assert [row["run_id"] for row in rows] == [second["key"]]
