"""Pictures of every page, wide and narrow, light and dark, with nothing, some, and much to show.

    python -m tests.browser.pictures FOLDER [--items 0 7 5000 incidents]

To be looked at, one by one: nothing cut off, nothing on top of something else, no empty page
without words of what to do. `incidents` are the real ones: MESHLINE_REAL_DATA names the folder
that holds them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from examples import incidents
from playwright.async_api import Browser, Page, async_playwright

from meshline.cli.embedded import EmbeddedPostgres
from meshline.events import Trigger
from meshline.events.requests import ActivityReported
from tests.acceptance.support import reference
from tests.acceptance.support.histories import ACTOR, History
from tests.browser.shop import CARRIER, SOURCE
from tests.browser.stage import Scheme, Stage, kept, stage_at
from tests.browser.test_console_pages import pages_of
from tests.services.chromium import NAMES, OPTIONS
from tests.services.postgres import namespace

EACH = 5
"""Of the incidents every fifth: all 7,554 take several minutes."""


async def fill_many(stage: Stage, count: int) -> None:
    """Place so many orders at once, of every kind."""
    CARRIER.is_down = True

    def orders() -> AsyncIterator[Trigger]:
        async def each() -> AsyncIterator[Trigger]:
            for number in range(count):
                kind = number % 7
                payload = {
                    "customer": ("Ada", "Grace", "Müller & Söhne GmbH")[number % 3],
                    "euros": 600 + number if kind == 0 else 40 + number % 400,
                    "note": "" if kind == 3 else "ship anyway",
                }
                yield Trigger(SOURCE, payload, f"O-{1000 + number}")

        return each()

    async for _ in stage.site.publisher.publish_many(orders(), wait_s=60):
        pass
    await stage.site.publisher.publish(SOURCE, {"euros": -1}, trigger_id="O-broken")
    await at_rest(stage, count)


async def at_rest(stage: Stage, runs: int) -> None:
    """Return as soon as so many runs are shown, and none does anything."""
    async with asyncio.timeout(300):
        while True:
            counts = await stage.site.views.run_counts()
            if sum(counts.values()) >= runs and not counts.get("running"):
                return
            await asyncio.sleep(0.5)


async def fill_incidents(stage: Stage) -> None:
    history = History(
        incidents.incidents, incidents.convert, reference.incident,
        reference.real_cases("incidents")[::EACH],
    )  # fmt: skip
    for run_id, payload, activities in history.converted:
        first = datetime.fromisoformat(activities[0].time)
        await stage.site.publisher.publish(
            history.source, payload, trigger_id=payload["case"], time=first, wait_s=None
        )
        reports = [
            stage.site.publisher.request(
                run_id,
                ActivityReported(activity=each.name, payload=each.payload),
                actor=ACTOR,
                event_id=f"{payload['case']}/{number}",
                time=datetime.fromisoformat(each.time),
            )
            for number, each in enumerate(activities)
        ]
        await asyncio.gather(*reports)
    async with asyncio.timeout(300):
        while sum((await stage.site.views.run_counts()).values()) < len(  # noqa: ASYNC110
            history.lines
        ):
            await asyncio.sleep(0.5)


async def more_pages(stage: Stage) -> dict[str, str]:
    """Return pages beside those that the tests look at."""
    tuesday = datetime.now(UTC) - timedelta(days=7)
    pages = {
        "runs-held": "/runs?state=held",
        "runs-as-of": f"/runs?as_of={tuesday:%Y-%m-%dT%H:%M:%S}",
        "approvals-decided": "/approvals?state=approved",
        "exceptions-resolved": "/exceptions?state=resolved",
        "triggers-rejected": "/triggers?status=rejected",
        "audit-none": "/audit?actor=user:nobody",
    }
    pages |= {"workflow": f"/workflows/{(await stage.site.views.workflows())[0].workflow}"}
    groups = await stage.site.views.exception_groups(limit=1, open_only=False)
    if groups:
        pages["exceptions-of-a-cause"] = f"/exceptions?cause={groups[0].cause}"
    return pages


async def take(stage: Stage, items: str) -> None:
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for width, scheme in product((1280, 390), schemes):
        async with stage.as_(None, width=width, scheme=scheme) as page:
            await page.goto("/login")
            await kept(page, f"login-{items}-{width}-{scheme}")
        async with stage.as_("ada", "admin", width=width, scheme=scheme) as page:
            for name, path in (await pages_of(stage) | await more_pages(stage)).items():
                await page.goto(path)
                await report(page, f"{name}-{items}-{width}-{scheme}", width)
                await kept(page, f"{name}-{items}-{width}-{scheme}")


async def report(page: Page, name: str, width: int) -> None:
    """Say what can be told without eyes: a page that is too wide, and texts that are cut off."""
    wide = await page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        print(f"{name}: {wide} pixels wide")
    cut = await page.evaluate(
        """() => [...document.querySelectorAll('main *')]
        .filter(e => e.children.length === 0 && e.scrollWidth > e.clientWidth + 1
                && getComputedStyle(e).overflowX === 'hidden')
        .map(e => e.textContent.slice(0, 60))"""
    )
    if cut:
        print(f"{name}: cut off: {cut[:3]}")


async def acted(stage: Stage) -> None:
    """Let there be something for auditors."""
    await stage.site.user("ada", "admin")
    await stage.site.keys.create("service:shop", ["source"], made_by="user:ada", sources=[SOURCE])
    key, _ = await stage.site.keys.create(
        "user:sue", ["operator", "approver"], made_by="user:ada", queues=["team:fulfilment"]
    )
    await stage.site.keys.revoke(key.id, by="user:ada", reason="the laptop is lost")
    await stage.site.user("eve", "viewer")
    found = (await stage.site.views.runs(states=["waiting"], limit=1)).rows
    if not found:
        return
    async with stage.as_("ada") as page, stage.as_("eve") as other:
        await page.goto(f"/runs/{found[0].run_id}")
        await page.locator("summary", has_text="Hand over").click()
        await page.get_by_label("New owner").fill("team:finance")
        await page.locator("#form-owner").get_by_label("Reason").fill("large order, month end")
        await page.get_by_role("button", name="Hand over").click()
        await other.goto("/")
        token = await other.locator("[name=token]").first.get_attribute("value")
        form: dict[str, str | float | bool] = {"token": token or "", "reason": "let me"}
        await other.request.post(f"/runs/{found[0].run_id}/cancel", form=form)
        await asyncio.sleep(2)


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    found = next(path for name in NAMES if (path := shutil.which(name)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        await browser.close()


async def all_of(dsn: str, wanted: list[str]) -> None:
    async with a_browser() as browser:
        for items in wanted:
            known = (incidents.incidents,) if items == "incidents" else ()
            async with stage_at(namespace(dsn), browser, *known) as stage:
                if items == "incidents":
                    await fill_incidents(stage)
                elif int(items) <= 100:
                    await stage.fill(int(items))
                else:
                    await fill_many(stage, int(items))
                await acted(stage)
                await take(stage, items)
                if stage.complaints:
                    print(f"{items}: the pages complained: {stage.complaints[:5]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", nargs="*", default=["0", "7", "5000", "incidents"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ["MESHLINE_SCREENSHOTS"] = str(options.folder)
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        asyncio.run(all_of(server.dsn, options.items))


if __name__ == "__main__":
    main()
