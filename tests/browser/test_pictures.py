"""Every page as a picture to be looked at, and nothing on it that even a machine finds wrong.

`make pictures` takes them with 5,000 orders and with real incidents too.
"""

from __future__ import annotations

import os

import pytest
from examples import incidents
from playwright.async_api import Browser

from tests.browser.filling import acted, fill_incidents, fill_many
from tests.browser.pictures import FOLDER, taken
from tests.browser.stage import stage_at
from tests.services.postgres import namespace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

ITEMS = os.environ.get("MESHLINE_PICTURES_OF", "0 7").split()


@pytest.mark.parametrize("items", ITEMS)
async def test_every_page_with(
    items: str, chromium: Browser, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = (incidents.incidents,) if items == "incidents" else ()
    async with stage_at(namespace(postgres_dsn), chromium, *known) as stage:
        match items:
            case "incidents":
                await fill_incidents(stage)
            case few if int(few) <= 100:
                await stage.fill(int(few))
            case many:
                await fill_many(stage, int(many))
        if items != "0":
            await acted(stage)

        found = await taken(stage, items)

    with capsys.disabled():
        print(f"\nPictures of every page are in {(FOLDER / items).resolve()}", end=" ")
    assert found == [], "\n".join(found)
    assert stage.complaints == []
