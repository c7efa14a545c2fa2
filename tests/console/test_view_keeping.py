"""Keeping a view in the console, without JavaScript: rebuilt, compared, put live, rolled back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from meshline.projections.built_in import BUILT_IN
from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.api.test_view_keeping import Switch, fussy
from tests.console.site import Browser, Site, site_at

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    Switch.is_mended = False
    async with site_at(postgres_address, Registry(leads), projections=[*BUILT_IN, fussy]) as site:
        yield site


def state_of(page: str, build: int) -> str:
    row = re.search(rf"build {build}</th>.*?</tr>", page, re.DOTALL)
    assert row, page
    return re.sub(r"<[^>]+>", " ", row[0]).split()[2]


async def loaded(browser: Browser, path: str) -> str:
    async with asyncio.timeout(90):
        while True:
            page = await browser.open(path)
            if "This page follows it" not in page:
                return page
            await asyncio.sleep(0.05)


async def test_from_a_rebuild_to_going_back(site: Site) -> None:
    answer = await site.publisher.publish(SOURCE, ADA, trigger_id="F-1", wait_s=30)
    assert answer.decided_at is not None
    await site.views.reached([answer.decided_at], ["runs"], timeout_s=20)
    async with site.as_("ada", "admin") as ada:
        views = await ada.open("/views")
        before = await ada.open("/views/runs")
        asked = await ada.send("/views/runs/rebuild")
        done = await loaded(ada, asked.headers["location"])
        equal = await ada.open("/views/runs/diff")
        await ada.open("/views/runs")
        swapped = await ada.send("/views/runs/swap")
        live = await ada.open(swapped.headers["location"])
        back = await ada.send("/views/runs/rollback")
        again = await ada.open(back.headers["location"])
        nothing = await ada.open("/views/none", 404)

    assert 'href="/views/runs"' in views
    assert (state_of(before, 1), "build 2" in before) == ("live", False)
    assert "/views/runs/swap" not in before
    assert (state_of(done, 1), state_of(done, 2)) == ("live", "warm")
    assert "loaded" in done
    assert "asked for by <bdi>user:ada</bdi>" in done
    assert "They are equal" in equal
    assert "Another build is live." in live
    assert (state_of(live, 1), state_of(live, 2)) == ("warm", "live")
    assert (state_of(again, 1), state_of(again, 2)) == ("live", "warm")
    assert "There is no view" in nothing


async def test_what_speaks_against_it_is_told_and_who_may_not_finds_no_way(site: Site) -> None:
    async with site.as_("ada", "admin") as ada, site.as_("olga", "operator") as olga:
        await ada.open("/views/runs")
        token = re.findall(r'name="token" value="(\w+)"', ada.page)[0]
        never = await ada.http.post("/views/runs/rollback", data={"token": token})
        unknown = await ada.http.post("/views/none/rebuild", data={"token": token})
        views = await olga.open("/views")
        await olga.open("/views/runs", 403)
        await olga.open("/views/runs/diff", 403)

    assert (never.status_code, "was never swapped" in never.text) == (404, True)
    assert unknown.status_code == 404
    assert 'href="/views/runs"' not in views


async def test_what_is_parked_is_tried_again_or_left_out_with_a_reason(site: Site) -> None:
    for name in ("bad-1", "bad-2"):
        answer = await site.publisher.publish(SOURCE, ADA, trigger_id=name, wait_s=30)
        assert answer.decided_at is not None
        await site.views.reached([answer.decided_at], ["fussy"], timeout_s=20)
    async with site.as_("ada", "admin") as ada:
        async with asyncio.timeout(90):
            while (await ada.open("/views/fussy")).count(">Retry<") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        both = ada.page
        failed = await ada.send("/views/fussy/parked/retry")
        again = await ada.open(failed.headers["location"])
        await ada.send("/views/fussy/parked/skip", {"reason": " "}, status=400)
        skipped = await ada.send("/views/fussy/parked/skip", {"reason": "a test"})
        one = await ada.open(skipped.headers["location"])
        Switch.is_mended = True
        freed = await ada.send("/views/fussy/parked/retry", {"reason": "mended"})
        none = await ada.open(freed.headers["location"])

    assert both.count("no number of employees") == 2
    assert "It was tried again" in again
    assert again.count("no number of employees") == 2
    assert "is left out" in one
    assert one.count("no number of employees") == 1
    assert 'id="parked"' not in none
