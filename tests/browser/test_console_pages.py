"""Every page of the console in a real Chromium: no barrier, no complaint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from meshline.projections.bulk_list import Chosen
from tests.browser.stage import Scheme, Stage, stage_at
from tests.services.postgres import namespace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

AXE = Path(__file__).parent / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LISTS = {
    "overview": "/",
    "runs": "/runs",
    "exceptions": "/exceptions",
    "exceptions-list": "/exceptions?state=open",
    "exceptions-past": "/exceptions?state=open&as_of=2999-01-01T00:00:00",
    "approvals": "/approvals",
    "work": "/work",
    "queues": "/queues",
    "triggers": "/triggers",
    "send": "/triggers/send?source=shop.orders",
    "workflows": "/workflows",
    "workflow": "/workflows/orders",
    "owners": "/owners",
    "owners-past": "/owners?as_of=2999-01-01T00:00:00",
    "possessions": "/possessions?owner=team:fulfilment",
    "views": "/views",
    "view": "/views/runs",
    "audit": "/audit",
    "readings": "/audit/readings",
    "access": "/access",
    "account": "/account",
    "bulk": "/bulk",
    "nowhere": "/nowhere",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def empty(chromium: Browser, postgres_dsn: str) -> AsyncIterator[Stage]:
    async with stage_at(namespace(postgres_dsn), chromium) as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seven(chromium: Browser, postgres_dsn: str) -> AsyncIterator[Stage]:
    async with stage_at(namespace(postgres_dsn), chromium) as stage:
        await stage.fill(7)
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def many(chromium: Browser, postgres_dsn: str) -> AsyncIterator[Stage]:
    async with stage_at(namespace(postgres_dsn), chromium) as stage:
        await stage.fill(70)
        yield stage


async def pages_of(stage: Stage) -> dict[str, str]:
    """Return all pages by name: the lists, and one of each thing that there is."""
    pages = dict(LISTS)
    for state in ("waiting", "held", "succeeded"):
        found = (await stage.site.views.runs(states=[state], limit=1)).rows
        if found:
            pages[f"run-{state}"] = f"/runs/{found[0].run_id}"
        if found and state == "held":
            pages["run-payloads"] = f"/runs/{found[0].run_id}?payload=step:ship&saw=1&failed=1"
            pages["run-then"] = f"/runs/{found[0].run_id}?event=6"
        if found and state == "waiting":
            pages["approval"] = f"/runs/{found[0].run_id}/approvals/credit"
    exceptions = (await stage.site.views.exceptions(limit=1)).rows
    if exceptions:
        pages["exception"] = f"/exceptions/{exceptions[0].exception_id}"
        pages["exception-group"] = f"/exception-groups/{exceptions[0].cause}"
        pages["correct"] = f"/exceptions/{exceptions[0].exception_id}/edit"
        made = await stage.site.bulks.freeze(
            stage.site.views,
            "retry",
            Chosen(workflow=exceptions[0].workflow),
            actor="user:grace",
            reason="back",
        )
        pages["bulk-list"] = f"/bulk/{made.name}"
    for user in (await stage.site.accounts.all())[:1]:
        pages["access-user"] = f"/access/users/{user.name}"
    for key in (await stage.site.keys.all())[:1]:
        pages["access-key"] = f"/access/keys/{key.id}"
    return pages


async def barriers(page: Page) -> list[str]:
    """Return what axe finds, with the elements."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES
    )
    return [
        f"{each['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


async def look(stage: Stage, width: int, scheme: Scheme) -> None:
    found: dict[str, list[str]] = {}
    async with stage.as_(None, width=width, scheme=scheme) as page:
        await page.goto("/login")
        found["login"] = await barriers(page)
    async with stage.as_("ada", "admin", width=width, scheme=scheme) as page:
        for name, path in (await pages_of(stage)).items():
            await page.goto(path)
            for closed in await page.locator("details.action:not([open]) > summary").all():
                # One after the other: they share a name, and close each other.
                if name in ("run-held", "exception", "access", "access-user"):
                    await closed.click()
                    found[f"{name}, open"] = await barriers(page)
                    break
            found[name] = await barriers(page)

    assert [f"{name}: {each}" for name, said in found.items() for each in said] == []
    assert stage.complaints == []


async def test_with_nothing_there(empty: Stage) -> None:
    await look(empty, 1280, "light")


async def test_with_seven_things_in_light(seven: Stage) -> None:
    await look(seven, 1280, "light")


async def test_with_seven_things_in_the_dark(seven: Stage) -> None:
    await look(seven, 1280, "dark")


async def test_with_seven_things_on_a_phone(seven: Stage) -> None:
    await look(seven, 390, "light")


async def test_with_many_things_on_a_phone_in_the_dark(many: Stage) -> None:
    await look(many, 390, "dark")
