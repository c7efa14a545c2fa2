"""What operators ask, answered from the overview by clicking: three clicks at most."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from meshline.events.envelope import Actor, Recorded
from meshline.events.facts import OwnerAssigned, RunStarted
from meshline.events.log import EventLog
from meshline.events.requests import CancelRequested, ExceptionActionRequested
from meshline.projections.built_in import BUILT_IN
from meshline.projections.postgres_builds import Build, Builds
from meshline.projections.postgres_store import PostgresStore
from meshline.projections.projection import Projection, by_run
from meshline.projections.projector import Projector
from meshline.projections.rebuild import Rebuild, swap_when_ready
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
GRACE = Actor("user", "user:grace")

pickups = {
    version: Workflow(
        "pickups", version=version, trigger=OrderPlaced, source="web.forms",
        owner="team:shop" if version == 1 else "team:counter", exceptions="queue:dispatch",
        outcome=Shipped, due="1s",
    )
    for version in (1, 2)
}  # fmt: skip


async def hand_over(trigger: OrderPlaced) -> Shipped:
    if trigger.note == "closed":
        raise TimeoutError("the counter is closed")
    if trigger.note == "nobody there":
        raise LookupError("nobody is at the counter")
    return Shipped(parcel="by hand")


class DeskRow(NamedTuple):
    run_id: str
    desk: str


def desk_view(version: int) -> Projection:
    """Where each order is worked on: by the owner's name, and, since last night, sales together."""
    projection = Projection("desks", version=version)
    table = projection.table("desks", DeskRow, key=["run_id"], keys=by_run)

    @table.on(RunStarted, OwnerAssigned)
    def owned(row: DeskRow | None, event: Recorded[RunStarted | OwnerAssigned]) -> DeskRow:
        desk = event.event.data.owner.removeprefix("team:")
        if version == 2 and desk == "key-accounts":
            desk = "sales"
        return DeskRow(event.event.subject, desk)

    return projection


desks = {version: desk_view(version) for version in (1, 2)}


for version, workflow in pickups.items():
    workflow.step(retry=Retry(attempts=version))(hand_over)


@pytest.fixture(scope="module")
def address(postgres_dsn: str) -> str:
    return namespace(postgres_dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(chromium: Browser, address: str) -> AsyncIterator[Stage]:
    known, views = (orders, *pickups.values()), [*BUILT_IN, desks[1]]
    async with stage_at(address, chromium, *known, projections=views) as stage:
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

    async def looks_back(self, then: datetime) -> None:
        await self.page.get_by_label("As of").fill(f"{then:%Y-%m-%dT%H:%M:%S}")
        await self.click(self.page.get_by_role("button", name="Show", exact=True))

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


@asynccontextmanager
async def projecting(log: EventLog, address: str, projection: Projection) -> AsyncIterator[None]:
    """A projector with the new code, as it runs after an upgrade."""
    store = PostgresStore(address)
    await store.open()
    projector = Projector(log, store, [projection])
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        projector.stop()
        await task
        await store.aclose()


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


async def test_what_did_the_list_of_runs_say_then(stage: Stage) -> None:
    run_id = await stage.order("T-then", "waiting", euros=902)
    then = await stage.moment()
    await stage.site.publisher.request(run_id, CancelRequested(reason="of no use"), actor=GRACE)
    await stage.reaches(run_id, "cancelled")

    async with asking(stage) as asked:
        await asked.click("Runs")
        await expect(asked.row("T-then")).to_contain_text("cancelled")
        await asked.looks_back(then)
        row = asked.row("T-then")
        await expect(row).to_contain_text("waiting")
        await expect(row).to_contain_text("approval credit")
        await expect(row).not_to_contain_text("cancelled")
        await asked.reads(f"As it was at {then:%Y-%m-%d %H:%M:%S} UTC")


async def test_which_exceptions_were_open_then(stage: Stage) -> None:
    sent = {"customer": "Ada", "euros": 4, "note": "closed"}
    answer = await stage.site.publisher.publish("web.forms", sent, trigger_id="F-then")
    await stage.reaches(answer.run_id, "held")
    [row] = (await stage.site.views.exceptions(run_id=answer.run_id)).rows
    then = await stage.moment()
    skip = ExceptionActionRequested(
        exception_id=row.exception_id, action="skip", value={"parcel": "by hand"}, reason="done"
    )
    await stage.site.publisher.request(answer.run_id, skip, actor=GRACE)
    await stage.reaches(answer.run_id, "succeeded")

    async with asking(stage) as asked:
        group = asked.page.get_by_role("listitem").filter(has_text="the counter is closed")
        await asked.click("Exceptions")
        await expect(asked.page.get_by_role("listitem").first).to_be_visible()
        await expect(group).to_have_count(0)
        await asked.looks_back(then)
        await expect(group).to_contain_text("1 of 1")
        await asked.click(group.get_by_role("heading").get_by_role("link"))
        await asked.reads("As it was at", "1 of 1")
        open_then = asked.page.get_by_role("region", name="Open the newest first")
        await expect(open_then).to_contain_text(f"Step failed: {row.about} in {answer.run_id[:8]}")


async def test_what_did_last_nights_change_of_a_view_do(stage: Stage, address: str) -> None:
    site = stage.site
    async for _ in Rebuild(site.log, address, [desks[2]]).run():
        pass
    async with projecting(site.log, address, desks[2]):
        books = Builds(address)
        await swap_when_ready(
            books, site.log, Build("desks", 2, 1), actor="user:grace", behind_max=0, wait_s=30
        )
        await books.aclose()
        large = (await site.views.runs(owner="team:key-accounts", limit=100)).rows

        async with asking(stage) as asked:
            await asked.click("Views")
            await asked.click("desks")
            await asked.click("What the last swap changed")
            changed = asked.page.get_by_role("region", name="desks")
            await expect(changed).to_contain_text(re.compile(rf"Changed\s*{len(large)}"))
            await expect(changed).to_contain_text(re.compile(rf"Column desk\s*in {len(large)}"))
            sample = changed.get_by_role("group", name="A row that differs").first
            await expect(sample.get_by_role("row").nth(1)).to_have_text(
                re.compile(r'desk\s*"key-accounts"\s*"sales"')
            )
    assert len(large) >= 2
