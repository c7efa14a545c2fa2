"""The page of one cause, without JavaScript: how it goes on, and what is said and done of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import Browser, Site, site_at

pytestmark = pytest.mark.postgres

NOBODY = {"email": "ada@example.org", "company": "Nobody", "employees": 3}
HELD = 3


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        for number in range(HELD):
            await site.publisher.publish(SOURCE, NOBODY, trigger_id=f"F-{number}")
        await until_open(site, HELD)
        yield site


async def until_open(site: Site, count: int) -> None:
    async with asyncio.timeout(90):
        while len((await site.views.exceptions()).rows) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def page_of(site: Site, kind: str = "step_failed") -> str:
    [row] = (await site.views.exceptions(kind=kind, limit=1)).rows
    return f"/exception-groups/{row.cause}"


async def follow(browser: Browser, action: str, **filled: str) -> str:
    """Send a form of the page that is open, and return the page that it leads to."""
    sent = await browser.send(action, filled)
    return await browser.open(sent.headers["location"])


async def test_it_says_how_many_there_are_where_since_when_and_shows_one(site: Site) -> None:
    address = await page_of(site)
    async with site.as_("ada", "operator") as ada, site.as_("vic", "viewer") as vic:
        groups = await ada.open("/exceptions")
        page = await ada.open(address)
        refreshed = await ada.http.get(address, headers={"HX-Request": "true"})
        seen_by_vic = await vic.open(address)
        await ada.open("/exception-groups/000000000000", status=404)

    assert f'href="{address}"' in groups
    assert f"<b>{HELD}</b> of {HELD}" in page
    assert f"{HELD} in the last 48 hours; the most, {HELD}, on " in page
    assert page.count('class="bar kind-exception"') == 1
    assert 'href="/workflows/leads"' in page and f'href="/triggers?source={SOURCE}"' in page
    assert "What its run knows" in page and "&#34;company&#34;: &#34;Nobody&#34;" in page
    assert "What its run knows" not in refreshed.text
    assert "What its run knows" not in seen_by_vic
    assert '<form method="post" action="/bulk' not in seen_by_vic
    assert "/resolve" not in seen_by_vic


async def test_what_holds_runs_up_is_acknowledged_and_given_away_but_not_dismissed(
    site: Site,
) -> None:
    address = await page_of(site)
    async with site.as_("ada", "operator") as ada:
        page = await ada.open(address)
        seen = await follow(ada, "/bulk/preview/acknowledge", reason="I look")
        await ada.open(address)
        given = await follow(ada, "/bulk/preview/assign", to="queue:night", reason="theirs")

    for name in ("retry", "skip", "acknowledge", "start", "assign"):
        assert f'action="/bulk/preview/{name}"' in page
    for name in ("resolve", "dismiss"):
        assert f'action="/bulk/preview/{name}"' not in page
    assert f"Acknowledge {HELD} exceptions" in seen
    assert f"Assign {HELD} exceptions" in given and "queue:night" in given


async def test_what_holds_nothing_up_is_dismissed_at_once_with_a_reason(site: Site) -> None:
    for number in range(2):
        await site.publisher.publish(SOURCE, NOBODY | {"employees": 4}, trigger_id=f"F-{number}")
    await until_open(site, HELD + 2)
    address = await page_of(site, "trigger_conflict")
    async with site.as_("ada", "operator") as ada:
        page = await ada.open(address)
        none = await ada.send("/bulk/preview/dismiss", {"reason": " "}, status=409)
        await follow(ada, "/bulk/preview/dismiss", reason="they corrected it")
        [made] = re.findall(r"/bulk/bulk-\w+(?=/apply)", ada.page)
        await ada.send(f"{made}/apply")
        await until_open(site, HELD)
        after = await ada.open(address)

    assert 'action="/bulk/preview/retry"' not in page
    assert "There is no reason" in none.text
    assert "<b>0</b> of 2" in after and "None is open." in after
    assert {row.state for row in (await site.views.exceptions(states=["dismissed"])).rows} == {
        "dismissed"
    }


async def test_it_is_said_to_be_mended_and_comes_again(site: Site) -> None:
    address = await page_of(site)
    cause = address.rpartition("/")[2]
    async with site.as_("ada", "operator") as ada, site.as_("bob", "operator") as bob:
        page = await ada.open(address)
        form = ada.page
        await bob.open(address)
        wrong = await ada.send(
            f"{address}/resolve", {"in_version": "next", "reason": "x"}, status=400
        )
        why = {"in_version": "1", "reason": "asks another directory"}
        mended = await follow(ada, f"{address}/resolve", **why)
        ada.page = form
        twice = await ada.send(f"{address}/resolve", why)
        late = await bob.send(
            f"{address}/resolve", {"in_version": "3", "reason": "mine"}, status=409
        )
        await site.publisher.publish(SOURCE, NOBODY, trigger_id="F-again")
        await until_open(site, HELD + 1)
        again = await ada.open(address)
        listed = await ada.open("/exceptions")
        await ada.open(address)
        await follow(ada, f"{address}/resolve", in_version="2", reason="asks twice")
        taken_back = await follow(ada, f"{address}/reopen", reason="only on weekdays")

    assert "the newest is 1" in page
    assert f"meshline exception group resolve {cause} --in-version" in page
    assert f"/v1/exception-groups/{cause}/actions" in page
    assert "The version is &#39;next&#39;" in wrong.text
    assert "It is mended, and opens again" in mended
    assert "mended in version 1" in mended and "asks another directory" in mended
    assert "done=cause-resolve" in twice.headers["location"]
    assert "it is mended in version 1, says user:ada. Nothing was done" in late.text
    assert f'<a href="{address}">As it is now</a>' in late.text
    assert "it came again in version 1" in again
    assert "came again" in listed
    assert "It is not mended after all." in taken_back
    assert re.search(r"Not after all</dt><dd>says <bdi>user:ada", taken_back)


async def test_who_sees_a_part_of_all_says_nothing_of_the_cause(site: Site) -> None:
    address = await page_of(site)
    await site.user("sue", "operator", workflows=["leads"])
    async with site.as_("sue") as sue:
        page = await sue.open(address)

    assert 'action="/bulk/preview/retry"' in page
    assert f'action="{address}/resolve"' not in page
