"""What the tests in a browser share: an installation with some orders in it, and people at work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from meshline.projections.projection import Projection
from meshline.workflow import ObservedWorkflow, Workflow
from meshline.workflow.registry import Registry
from tests.browser.shop import CARRIER, SOURCE, orders
from tests.console.site import PASSWORD, Site, served, site_at

__all__ = ["Stage", "kept", "stage_at"]

Scheme = Literal["light", "dark"]

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Stage:
    """A console at an address, a browser, and all that the pages complained about."""

    site: Site
    address: str
    browser: Browser
    complaints: list[str]

    @asynccontextmanager
    async def as_(
        self,
        name: str | None,
        *roles: str,
        width: int = 1280,
        scheme: Scheme = "light",
        scripts: bool = True,
    ) -> AsyncIterator[Page]:
        """A window of somebody who has just signed in."""
        context = await self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme,
            java_script_enabled=scripts, base_url=self.address, reduced_motion="reduce",
        )  # fmt: skip
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("console", self._complain)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        try:
            if name is not None:
                await self.site.user(name, *roles)
                await page.goto("/login")
                await page.get_by_label("Name").fill(name)
                await page.get_by_label("Password").fill(PASSWORD)
                await page.get_by_role("button", name="Sign in").click()
            yield page
        finally:
            await context.close()

    def _complain(self, message: ConsoleMessage) -> None:
        # Chromium says of each answer that is no success that it is none.
        if message.type in ("error", "warning") and "the server responded" not in message.text:
            self.complaints.append(message.text)

    async def order(self, order_id: str, state: str, **payload: Any) -> str:
        """Place an order, and return the run's id as soon as it is in this state."""
        placed = {"customer": "Ada", "euros": 40} | payload
        answer = await self.site.publisher.publish(SOURCE, placed, trigger_id=order_id)
        await self.reaches(answer.run_id, state)
        return answer.run_id

    async def sent_by_the_shop(self, order_id: str, **payload: Any) -> str:
        """Send an order as the source does, over the API, and return the run's id."""
        _, secret = await self.site.keys.create(
            "service:shop", ["source"], made_by="user:test", sources=[SOURCE]
        )
        async with httpx.AsyncClient(base_url=self.address) as http:
            answer = await http.post(
                "/v1/triggers",
                params={"source": SOURCE, "id": order_id},
                headers={"Authorization": f"Bearer {secret}"},
                json=payload,
            )
        run_id: str = answer.json()["run_id"]
        return run_id

    async def reaches(self, run_id: str, state: str) -> None:
        async with asyncio.timeout(90):
            while True:
                found = (await self.site.views.runs(id_prefix=run_id)).rows
                if found and found[0].state == state:
                    return
                await asyncio.sleep(0.05)

    async def moment(self) -> datetime:
        """Return a second, as people type it, by which all so far has happened; it is over then."""
        now = datetime.now(UTC)
        then = now.replace(microsecond=0) + timedelta(seconds=1)
        await asyncio.sleep((then - now).total_seconds() + 0.01)
        return then

    async def fill(self, count: int) -> None:
        """Place so many orders, of every kind."""
        for number in range(count):
            kind = number % 7
            CARRIER.is_down = kind == 3
            state = {0: "waiting", 3: "held"}.get(kind, "succeeded")
            euros = 600 + number if kind == 0 else 40 + number
            run_id = await self.order(f"O-{1000 + number}", state, euros=euros)
            if number == 0:
                self.site.names.add(f"run {run_id}")
        CARRIER.is_down = False
        if count:
            await self.site.publisher.publish(SOURCE, {"euros": -1}, trigger_id="O-broken")


@asynccontextmanager
async def stage_at(
    address: str,
    browser: Browser,
    *workflows: Workflow | ObservedWorkflow,
    projections: Sequence[Projection] = (),
) -> AsyncIterator[Stage]:
    """A stage whose log, views and users are at the address."""
    CARRIER.is_down = False
    async with (
        site_at(address, Registry(*(workflows or (orders,))), projections=projections) as site,
        served(site) as console,
    ):
        yield Stage(site, console, browser, [])


async def kept(page: Page, name: str) -> None:
    """Keep a picture of the whole page, if MESHLINE_PICTURES names a folder for them."""
    folder = os.environ.get("MESHLINE_PICTURES")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
