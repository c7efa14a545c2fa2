"""What an open page hears of what changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import Site, site_at

pytestmark = pytest.mark.postgres


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def test_a_page_hears_what_changes_of_what_its_visitor_may_see(site: Site) -> None:
    await site.user("eve", "viewer", workflows=["refunds"])
    async with site.as_("ada", "viewer") as ada, site.as_("eve") as eve:
        heard = [
            asyncio.create_task(each.http.get("/changes", params={"for_s": 3}))
            for each in (ada, eve)
        ]
        await asyncio.sleep(0.5)
        sent = {"email": "ada@example.org", "company": "Acme", "employees": 900}
        answer = await site.publisher.publish(SOURCE, sent, trigger_id="F-1", wait_s=10)
        all_of_it, nothing = [await each for each in heard]

    assert all_of_it.headers["content-type"].startswith("text/event-stream")
    assert "event: run" in all_of_it.text and answer.run_id in all_of_it.text
    assert "ada@example.org" not in all_of_it.text
    assert nothing.status_code == 200 and answer.run_id not in nothing.text
