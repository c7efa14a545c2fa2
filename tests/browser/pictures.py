"""Pictures of every page, wide and narrow, light and dark, and what a machine sees on them.

They are kept in the folder that MESHLINE_PICTURES names, to be looked at one by one: nothing cut
off, nothing on top of something else, no empty page without words of what to do.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import Page

from tests.browser.stage import Scheme, Stage
from tests.browser.test_console_pages import pages_of

__all__ = ["FOLDER", "SIGHT", "taken"]

FOLDER = Path(os.environ.get("MESHLINE_PICTURES") or "build/pictures")
SIGHT = (Path(__file__).parent / "sight.js").read_text("utf-8")
# From one to the next only one thing changes, since a page that is laid out anew costs time.
LOOKS: tuple[tuple[int, Scheme], ...] = (
    (1280, "light"), (1280, "dark"), (390, "dark"), (390, "light"),
)  # fmt: skip
OPENED = ("run-waiting", "run-held", "exception", "runs-held", "exceptions-of-a-cause", "access")
"""Pages of which there is one more picture, with all open that can be opened."""
FIRST_SCREENS = {"overview": 920, "run-waiting": 1160}
"""How much of a page is on one more picture of it; those of the leads are in the README."""


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
    known = (await stage.site.views.workflows())[0]
    pages |= {
        "workflow": f"/workflows/{known.workflow}",
        "send": f"/triggers/send?source={known.source}",
    }
    for asked in (await stage.site.views.approvals(limit=1)).rows:
        pages["approval"] = f"/runs/{asked.run_id}/approvals/{asked.task}"
    for each in (await stage.site.views.exceptions(limit=1)).rows:
        if each.kind == "step_failed":
            shown = f"payload=step:{each.about}&saw=1&failed=1"
            pages["run-payloads"] = f"/runs/{each.run_id}?{shown}"
    groups = await stage.site.views.exception_groups(limit=1, open_only=False)
    if groups:
        pages["exceptions-of-a-cause"] = f"/exceptions?cause={groups[0].cause}"
    return pages


async def taken(stage: Stage, items: str) -> list[str]:
    """Take the pictures of all pages, and return what is wrong with them."""
    folder = FOLDER / items
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    async with stage.as_(None) as page:
        await page.goto("/login")
        found = await _looked(page, folder, "login")
    async with stage.as_("ada", "admin") as page:
        for name, path in (await pages_of(stage) | await more_pages(stage)).items():
            await page.goto(path)
            if name in FIRST_SCREENS:
                await _once(page, folder / f"first-screen-{name}.png", 1280, FIRST_SCREENS[name])
            found += await _looked(page, folder, name)
            if name in OPENED:
                await page.evaluate(
                    """() => document.querySelectorAll("main details").forEach(each => {
                        each.removeAttribute("name"); each.open = true })"""
                )
                found += await _looked(page, folder, f"{name}-open")
            if name == "overview":
                await page.get_by_role("button", name="Menu").click()
                await _once(page, folder / "menu.png", 390, 900)
            if name == "run-held":
                await page.emulate_media(media="print")
                await _once(page, folder / f"{name}-printed.png", 800, 1130, full_page=True)
                await page.emulate_media(media="screen")
    return found


async def _once(
    page: Page, path: Path, width: int, height: int, *, full_page: bool = False
) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme="light")
    await page.screenshot(path=path, full_page=full_page)


async def _looked(page: Page, folder: Path, name: str) -> list[str]:
    found: list[str] = []
    for width, scheme in LOOKS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme)
        if scheme == "light":
            found += [f"{name}, {width}: {each}" for each in await page.evaluate(SIGHT)]
        await page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
    return found
