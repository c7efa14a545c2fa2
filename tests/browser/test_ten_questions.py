"""What operators ask, answered from the overview by clicking: three clicks at most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from meshline.workflow import Retry, Workflow
from tests.browser.shop import CARRIER, SOURCE, OrderPlaced, Shipped, orders
from tests.browser.stage import Stage, stage_at
from tests.services.postgres import namespace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

CLICKS_MAX = 3

pickups = {
    version: Workflow(
        "pickups", version=version, trigger=OrderPlaced, source="web.forms",
        owner="team:shop" if version == 1 else "team:counter", exceptions="queue:dispatch",
        outcome=Shipped, due="1s",
    )
    for version in (1, 2)
}  # fmt: skip


async def hand_over(trigger: OrderPlaced) -> Shipped:
    if trigger.note == "nobody there":
        raise LookupError("nobody is at the counter")
    return Shipped(parcel="by hand")


for version, workflow in pickups.items():
    workflow.step(retry=Retry(attempts=version))(hand_over)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(chromium: Browser, postgres_dsn: str) -> AsyncIterator[Stage]:
    known = (orders, *pickups.values())
    async with stage_at(namespace(postgres_dsn), chromium, *known) as stage:
        await happened(stage)
        yield stage


async def happened(stage: Stage) -> None:
    """A day's work: orders that wait, were approved, are held, and what was not taken."""
    await stage.site.user("grace", "operator", "approver")
    run_id = await stage.order("T-approved", "waiting", euros=900)
    async with stage.as_("grace") as page:
        await page.goto(f"/runs/{run_id}/approvals/credit")
        await page.get_by_label("Discount Percent").fill("10")
        await page.get_by_role("button", name="Approve").click()
    await stage.reaches(run_id, "succeeded")
    await stage.order("T-waiting", "waiting", euros=901)
    CARRIER.is_down = True
    for number in (1, 2):
        await stage.order(f"T-held-{number}", "held")
    CARRIER.is_down = False
    await stage.site.publisher.publish(SOURCE, {"euros": -1}, trigger_id="T-rejected")
    sent = {"customer": "Ada", "euros": 4, "note": "nobody there"}
    late = await stage.site.publisher.publish("web.forms", sent, trigger_id="F-late")
    await stage.reaches(late.run_id, "held")


class Asked:
    """Somebody with a question, at the overview; each click counts."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    async def click(self, target: Locator | str) -> None:
        self.clicks += 1
        link = (
            self.page.get_by_role("link", name=target, exact=True).first
            if isinstance(target, str)
            else target
        )
        await link.click()

    def row(self, text: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=text)

    async def opens_run(self, trigger_id: str) -> None:
        await self.click("Runs")
        await self.click(self.row(trigger_id).get_by_role("rowheader").get_by_role("link").first)

    async def reads(self, *texts: str, within: str = "main") -> None:
        for text in texts:
            await expect(self.page.locator(within)).to_contain_text(text)


@asynccontextmanager
async def asking(stage: Stage) -> AsyncIterator[Asked]:
    async with stage.as_("ada", "admin") as page:
        asked = Asked(page)
        yield asked
        assert 0 <= asked.clicks <= CLICKS_MAX
    assert stage.complaints == []


async def test_who_owns_this_run_and_since_when(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.opens_run("T-waiting")
        row = asked.page.get_by_role("region", name="Owners").get_by_role("row").nth(1)
        await expect(row).to_contain_text("team:key-accounts")
        await expect(row).to_contain_text(f"{datetime.now(UTC):%Y-%m-%d}")
        await expect(row).to_contain_text("rule route")


async def test_why_did_it_start(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.opens_run("T-waiting")
        await asked.reads("because shop.orders sent the trigger T-waiting")
        await asked.click(asked.page.locator(".began").get_by_role("link", name="T-waiting"))
        await expect(asked.row("T-waiting")).to_contain_text("accepted")


async def test_why_did_this_trigger_not_start_one(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("Triggers")
        row = asked.row("T-rejected")
        await expect(row).to_contain_text("rejected")
        await expect(row).to_contain_text("greater than 0")


async def test_what_is_it_waiting_for(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("Runs")
        row = asked.row("T-waiting")
        await expect(row).to_contain_text("approval credit")
        await expect(row).to_contain_text("whose: role:credit")


async def test_who_approved(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("Approvals")
        await asked.click("Decided")
        row = asked.page.get_by_role("row").filter(has_text="credit")
        await expect(row.first).to_contain_text("decided by user:grace")


async def test_what_failed_in_common(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("Exceptions")
        group = asked.page.get_by_role("listitem").filter(has_text="The carrier takes nothing")
        await expect(group).to_contain_text("2 of 2")


async def test_what_did_last_nights_change_do(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("Workflows")
        await asked.click("pickups")
        changes = asked.page.get_by_role("table", name="Changes")
        await expect(changes).to_contain_text("team:shop")
        await expect(changes).to_contain_text("team:counter")
        await expect(changes).to_contain_text("maximum attempts")


async def test_what_is_late(stage: Stage) -> None:
    run = (await stage.site.views.runs(source="web.forms")).rows[0]
    async with asking(stage) as asked:
        late = asked.page.get_by_role("region", name="Late")
        await expect(late).to_contain_text(run.run_id[:8])
        await expect(late).to_contain_text("team:counter")


async def test_what_came_in_from_web_forms_today(stage: Stage) -> None:
    async with asking(stage) as asked:
        await asked.click("web.forms")
        await asked.click("Today")
        await expect(asked.row("F-late")).to_contain_text("accepted")
        await expect(asked.page.get_by_role("table", name="Triggers")).not_to_contain_text(SOURCE)


async def test_what_did_this_view_say_last_tuesday(stage: Stage) -> None:
    tuesday = datetime.now(UTC) - timedelta(days=7)
    async with asking(stage) as asked:
        await asked.click("Runs")
        await asked.page.get_by_label("As of").fill(f"{tuesday:%Y-%m-%dT%H:%M:%S}")
        await asked.click(asked.page.get_by_role("button", name="Show"))
        await asked.reads(f"as of {tuesday:%Y-%m-%d}", "No run is like that.")
