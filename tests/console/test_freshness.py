"""What an open page hears of what changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshline.workflow.registry import Registry
from tests.api.installation import until_seen
from tests.api.leads import SOURCE, leads
from tests.console.site import Site, site_at

pytestmark = pytest.mark.postgres


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def test_a_page_hears_what_changes_of_what_its_visitor_may_see(site: Site) -> None:
    await site.user("eve", "viewer", workflows=["refunds"])
    before = ",".join(f"{p}:{end}" for p, end in (await site.log.ends()).items())
    sent = {"email": "ada@example.org", "company": "Acme", "employees": 900}
    answer = await site.publisher.publish(SOURCE, sent, trigger_id="F-1", wait_s=30)
    await until_seen(site.log, site.views, "runs", "exceptions", "tasks")
    async with site.as_("ada", "viewer") as ada, site.as_("eve") as eve:
        all_of_it, nothing = [
            await each.http.get("/changes?for_s=0", headers={"Last-Event-ID": before})
            for each in (ada, eve)
        ]

    assert all_of_it.headers["content-type"].startswith("text/event-stream")
    assert "event: run" in all_of_it.text and answer.run_id in all_of_it.text
    assert "ada@example.org" not in all_of_it.text
    assert nothing.status_code == 200 and answer.run_id not in nothing.text
