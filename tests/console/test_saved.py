"""Lists that people come back to: saved under names of their own, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshline.console.saved import LISTS_MAX
from meshline.workflow.registry import Registry
from tests.api.leads import leads
from tests.console.site import Site, site_at

pytestmark = pytest.mark.postgres

LATE = "/runs?state=held&owner=team%3Aemea"


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def test_a_list_is_saved_found_again_changed_and_forgotten(site: Site) -> None:
    async with site.as_("ada", "viewer") as ada, site.as_("bob", "viewer") as bob:
        await ada.open(f"{LATE}&live=off")
        answer = await ada.send("/saved-lists/save", {"name": "late in <EMEA>"})
        assert answer.headers["location"] == LATE
        page = await ada.open("/runs")
        assert 'href="/runs?state=held&amp;owner=team%3Aemea"' in page
        assert "late in &lt;EMEA&gt;" in page
        assert "EMEA" not in await bob.open("/runs")
        assert "EMEA" not in await ada.open("/exceptions")

        await ada.open("/runs?state=paused")
        await ada.send("/saved-lists/save", {"name": "late in <EMEA>"})
        page = await ada.open("/runs")
        assert "/runs?state=paused" in page and LATE.replace("&", "&amp;") not in page
        await ada.send("/saved-lists/forget")
        assert "EMEA" not in await ada.open("/runs")


async def test_what_can_not_be_saved_is_told(site: Site) -> None:
    async with site.as_("ada", "viewer") as ada:
        await ada.open("/runs")
        unnamed = await ada.send("/saved-lists/save", {"name": " "}, status=400)
        elsewhere = {"name": "x", "page": "//evil.example"}
        outside = await ada.send("/saved-lists/save", elsewhere, status=400)
        for number in range(LISTS_MAX):
            await ada.send("/saved-lists/save", {"name": f"n{number}"})
        too_many = await ada.send("/saved-lists/save", {"name": "one more"}, status=400)

    assert "has no name" in unnamed.text
    assert "has no lists" in outside.text
    assert "Forget one" in too_many.text


async def test_a_page_stands_still_when_it_is_told_so(site: Site) -> None:
    async with site.as_("ada", "viewer") as ada:
        moving = await ada.open("/runs?state=held")
        still = await ada.open("/runs?state=held&live=off")

    assert 'hx-trigger="newer, every 10s"' in moving
    assert 'href="/runs?state=held&amp;live=off"' in moving
    assert "hx-trigger" not in still
    assert 'href="/runs?state=held"' in still
