"""Many at once in the console, without JavaScript: filter, look, agree, do, and see."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import orjson
import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import Browser, Site, site_at

pytestmark = pytest.mark.postgres

NOBODY = {"email": "ada@example.org", "company": "Nobody", "employees": 3}
HELD = 4


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        for number in range(HELD):
            await site.publisher.publish(SOURCE, NOBODY, trigger_id=f"F-{number}")
        await shown(site, HELD)
        yield site


async def previewed(browser: Browser, page: str, action: str, **filled: str) -> str:
    """Return where the preview is, which is open then."""
    await browser.open(page)
    sent = await browser.send(f"/bulk/preview/{action}", {"reason": "known", **filled})
    await browser.open(sent.headers["location"])
    return sent.headers["location"]


async def done(browser: Browser, address: str) -> str:
    """Return the page of a list as soon as nothing goes on."""
    async with asyncio.timeout(90):
        while True:
            page = await browser.open(address)
            if "It is being done" not in page:
                return page
            await asyncio.sleep(0.05)


async def shown(site: Site, count: int) -> None:
    async with asyncio.timeout(90):
        while len((await site.views.exceptions()).rows) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_page_that_refreshes_while_a_list_is_done_is_one_reading(site: Site) -> None:
    rows = (await site.views.exceptions()).rows
    async with site.as_("ada", "operator") as ada, site.as_("bob", "operator") as bob:
        page = f"/exceptions?cause={rows[0].cause}"
        address = await previewed(ada, page, "skip", value='"By hand"')

        async def noted(browser: Browser, *, refreshes: bool) -> int:
            headers = {"hx-request": "true"} if refreshes else {}
            answer = await browser.http.get(address, headers=headers)
            assert "By hand" in answer.text
            found = (await site.views.readings(limit=100)).rows
            return sum("value" in each.what and address[6:] in each.about for each in found)

        before = await noted(ada, refreshes=False)
        assert [await noted(ada, refreshes=True) for _ in range(3)] == [before] * 3
        assert await noted(bob, refreshes=True) == before + 1, "another reader"
        assert await noted(ada, refreshes=False) == before + 2, "opened anew"


async def test_from_a_filtered_list_to_what_came_of_each(site: Site) -> None:
    rows = (await site.views.exceptions()).rows
    async with site.as_("ada", "operator") as ada:
        address = await previewed(
            ada, f"/exceptions?cause={rows[0].cause}", "skip", value='"By hand"'
        )
        preview = ada.page
        await ada.open(f"/exceptions/{rows[0].exception_id}")
        moved = await ada.send(f"/exceptions/{rows[0].exception_id}/assign", {"owner": "user:bob"})
        await ada.open(moved.headers["location"])

        await ada.open(address)
        begun = await ada.send(f"{address}/apply")
        await ada.open(begun.headers["location"])
        page = await done(ada, address)
        skipped = await ada.open(f"{address}?result=skipped")
        lists = await ada.open("/bulk")

    assert f"Skip {HELD} exceptions" in preview
    assert "Nothing is done yet" in preview
    assert "As seen at" in preview
    assert f"<b>{HELD}</b>" in preview
    assert "leads: enrich" in preview
    assert "It is done" in page
    assert f"{HELD - 1} done" in page
    assert "1 skipped" in page
    assert re.search(rf"{HELD} of {HELD}</p>", page)
    assert f'action="{address}/apply"' not in page
    assert "is open with user:bob" in skipped
    assert skipped.count('data-name="Result"') == 1
    assert address in lists


async def test_what_is_wrong_in_many_is_set_right_after_a_look_at_what_that_changes(
    site: Site,
) -> None:
    odd = '</code>"\u202e'
    rows = (await site.views.exceptions()).rows
    async with site.as_("ada", "operator") as ada, site.as_("vic", "viewer") as vic:
        await site.publisher.publish(SOURCE, NOBODY | {"employees": 4}, trigger_id="F-right")
        await shown(site, HELD + 1)
        page = await ada.open(f"/exceptions?cause={rows[0].cause}")
        lines = f"trigger/employees=4\n\ntrigger/email={orjson.dumps(odd).decode()}\n"
        wrong = await ada.send("/bulk/preview/retry", {"set": "trigger/company=Acme"}, status=400)
        no_type = await ada.send(
            "/bulk/preview/retry", {"set": 'trigger/employees="some"'}, status=404
        )
        address = await previewed(ada, "/exceptions?workflow=leads", "retry", set=lines)
        preview = ada.page
        seen_by_vic = await vic.open(address)
        only = await previewed(
            ada, "/exceptions?workflow=leads", "retry", set="trigger/employees=4"
        )
        left_out = await ada.open(f"{only}?result=left_out")
        await previewed(
            ada, "/exceptions?workflow=leads", "retry",
            set='trigger/employees=4\ntrigger/company="Acme"',
        )  # fmt: skip
        address = str(re.findall(r"/bulk/bulk-\w+(?=/apply)", ada.page)[0])
        await ada.send(f"{address}/apply")
        page_after = await done(ada, address)
        run = await ada.open(f"/runs/{rows[0].run_id}")

    assert "Edit and retry all" in page
    assert "trigger/…=&#34;…&#34;" in page
    assert "&#39;Acme&#39; is no JSON" in wrong.text
    assert "it would be no trigger: employees: it is not of type &#34;integer&#34;" in no_type.text
    assert f"Retry {HELD + 1} exceptions" in preview
    assert "<del><code><bdi>3</bdi></code></del>" in preview
    assert "⟨U+202E⟩" in preview and odd not in preview and "&lt;/code&gt;" in preview
    assert "trigger/email" not in seen_by_vic
    assert "Left out 1" in left_out
    assert "its values are so already" in left_out
    assert f"{HELD + 1} done" in page_after
    assert "trigger/company was changed" in run
    assert "user:ada" in run


async def test_what_can_not_be_done_so_is_left_out_and_said(site: Site) -> None:
    rows = (await site.views.exceptions()).rows
    async with site.as_("ada", "operator") as ada:
        await ada.open(f"/exceptions/{rows[0].exception_id}")
        seen = await ada.send(f"/exceptions/{rows[0].exception_id}/acknowledge")
        await ada.open(seen.headers["location"])

        await previewed(ada, "/exceptions?workflow=leads", "acknowledge")
        page = ada.page
        await ada.open("/exceptions?workflow=leads")
        refused = await ada.send("/bulk/preview/resolve", status=404)

    assert f"Acknowledge {HELD - 1} exceptions" in page
    assert "somebody has seen it already" in page
    assert "it holds its run up" in refused.text


async def test_a_second_person_agrees_where_that_is_wanted(site: Site) -> None:
    async with (
        site.as_("ada", "operator") as ada,
        site.as_("bob", "operator") as bob,
        site.as_("eve", "operator") as eve,
    ):
        address = await previewed(ada, "/runs?workflow=leads&state=held", "cancel", second="on")
        waits = ada.page
        own = await ada.http.post(
            f"{address}/confirm",
            data={"token": re.findall(r'name="token" value="(\w+)"', ada.page)[0]},
        )
        await bob.open(address)
        await eve.open(address)
        await bob.send(f"{address}/confirm")
        again = await bob.send(f"{address}/confirm")
        late = await eve.send(f"{address}/confirm", status=409)
        await ada.open(address)
        await ada.send(f"{address}/apply")
        page = await done(ada, address)

    assert f"Cancel {HELD} runs" in waits
    assert f'action="{address}/confirm"' not in waits
    assert f'action="{address}/apply"' not in waits
    assert "waits for the word of a second person: let somebody else" in waits
    assert (own.status_code, "user:ada made the list" in own.text) == (409, True)
    assert "done=confirm" in again.headers["location"]
    assert "user:bob was quicker, and has agreed already" in late.text
    assert "user:bob" in page
    assert f"{HELD} done" in page


async def test_a_form_that_is_sent_twice_makes_one_list(site: Site) -> None:
    async with site.as_("ada", "operator") as ada:
        await ada.open("/exceptions?state=open")
        first = await ada.send("/bulk/preview/acknowledge")
        again = await ada.send("/bulk/preview/acknowledge")

    assert first.headers["location"] == again.headers["location"]
    assert len((await site.bulks.all()).rows) == 1


@pytest.mark.parametrize(
    "page",
    [
        "/exceptions", "/exceptions?state=resolved", "/exceptions?state=open&state=resolved",
        "/exceptions?workflow=none", "/runs", "/runs?state=cancelled", "/runs?run=1",
        "/runs?state=held&state=cancelled",
        "/runs?workflow=leads&as_of=2100-01-01T00:00:00",
    ],
)  # fmt: skip
async def test_where_nothing_says_which_there_is_nothing_to_press(site: Site, page: str) -> None:
    async with site.as_("ada", "operator") as ada:
        assert "/bulk/preview" not in await ada.open(page)
