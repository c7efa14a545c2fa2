"""Every page as a picture to be looked at, and nothing on it that even a machine finds wrong.

`make pictures` takes them with 5,000 orders, real incidents and the leads of the README too.
"""

from __future__ import annotations

import os

import pytest
from examples import incidents, lead_intake
from playwright.async_api import Browser

from meshline.workflow import ObservedWorkflow, Workflow
from tests.browser.filling import acted, fill_incidents, fill_leads, fill_many
from tests.browser.pictures import FOLDER, SIGHT, taken
from tests.browser.stage import stage_at
from tests.services.postgres import namespace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

KNOWN: dict[str, Workflow | ObservedWorkflow] = {
    "incidents": incidents.incidents,
    "leads": lead_intake.lead,
}
ITEMS = os.environ.get("MESHLINE_PICTURES_OF", "0 7").split()


WRONG = {
    "the page scrolls sideways": "<div style='width: 900px; height: 9px'></div>",
    "cut off or out of its box: <td> team:a_very_long_name":
        "<table style='table-layout: fixed; width: 90px'><td>team:a_very_long_name</table>",
    "cut off or out of its box: <td> 2026-11-28 18:12:13":
        "<table style='table-layout: fixed; width: 90px'>"
        "<td><time style='white-space: nowrap'>2026-11-28 18:12:13</time></table>",
    "out of its box: <text> try 1":
        "<div class=timeline><svg width=90 height=20><text x=80 y=15>try 1</text></svg></div>",
    "on top of each other: <text> 6 h and <text> 7 h":
        "<svg width=90 height=20><text x=9 y=15>6 h</text><text x=12 y=15>7 h</text></svg>",
    "cut off: the placeholder id, or source/id":
        "<input style='width: 60px; height: 24px' placeholder='id, or source/id'>",
    "cut off: the placeholder team:emea, or queue:triage":
        "<div style='font-variant-numeric: tabular-nums'><input style='width: 90px; height: 24px; "
        "font: inherit' placeholder='team:emea, or queue:triage'></div>",
    "cut off: the value user:nobody":
        "<input style='width: 60px; height: 24px' value='user:nobody'>",
    "cut off: the value anything":
        "<select style='width: 60px; height: 24px'><option>anything</select>",
    "ahead of the list: 2 fields, from <input>":
        "<form><input style='height: 24px'><input style='height: 24px'></form><table></table>",
    "wider than the screen: <table>":
        "<div class=scroll tabindex=0 style='overflow: auto; width: 90px'>"
        "<table><td>team:a_very_long_name</table></div>",
    "no name, only an identifier: <a> ex-cc69c082-e4969c73c3":
        "<a href='/'>ex-cc69c082-e4969c73c3</a>",
    "hidden, and there all the same: <input>":
        "<input hidden style='display: block; height: 24px'>",
    "on top of each other: <button> Retry and <button> Skip":
        "<button>Retry</button><button style='margin-left: -20px'>Skip</button>",
    "too small to hit: <summary> More (": "<details><summary>More</summary></details>",
    "covered: <button> Retry by <p> It is done.":
        "<button>Retry</button><p style='margin: -20px 0'>It is done.</p>",
}  # fmt: skip


async def test_a_machine_sees_what_is_wrong_on_a_page(chromium: Browser) -> None:
    page = await chromium.new_page(viewport={"width": 390, "height": 900})
    style = "button { height: 30px; position: relative; z-index: -1 }"
    for said, wrong in WRONG.items():
        await page.set_content(f"<style>{style}</style><main>{wrong}</main>")
        found = await page.evaluate(SIGHT)
        assert any(each.startswith(said) for each in found), f"{said}: {found}"

    right = "<p>It is <a href='/'>done</a>.</p><button style='height: 30px'>Retry</button>"
    await page.set_content(f"<main>{right}</main>")
    assert await page.evaluate(SIGHT) == []
    await page.close()


@pytest.mark.parametrize("items", ITEMS)
async def test_every_page_with(
    items: str, chromium: Browser, postgres_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = KNOWN.get(items)
    async with stage_at(namespace(postgres_dsn), chromium, *([known] if known else [])) as stage:
        match items:
            case "incidents":
                await fill_incidents(stage)
            case "leads":
                await fill_leads(stage)
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
