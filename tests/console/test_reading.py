"""Pages as of a past time: what was so then, plainly past, with nothing to act on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import Site, site_at

pytestmark = pytest.mark.postgres

LARGE = {"email": "ada@example.org", "company": "Acme", "employees": 900}
NOBODY = {"email": "ada@example.org", "company": "Nobody", "employees": 3}
HELD = 2


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        await site.publisher.publish(SOURCE, LARGE, trigger_id="F-large")
        for number in range(HELD):
            await site.publisher.publish(SOURCE, NOBODY, trigger_id=f"F-{number}")
        await until_open(site, exceptions=HELD, approvals=1)
        yield site


async def until_open(site: Site, exceptions: int, approvals: int) -> None:
    views = site.views
    async with asyncio.timeout(90):
        while (  # noqa: ASYNC110
            len((await views.exceptions()).rows),
            len((await views.approvals()).rows),
        ) != (exceptions, approvals):
            await asyncio.sleep(0.02)


async def test_each_list_says_what_was_so_and_offers_nothing_but_the_way_back(site: Site) -> None:
    exception, approval = (
        (await site.views.exceptions()).rows[0],
        (await site.views.approvals()).rows[0],
    )
    group = f"/exception-groups/{exception.cause}"
    asked = f"/runs/{approval.run_id}/approvals/{approval.task}"
    paths = {
        "/exceptions": rf"<b>{HELD}</b> of {HELD}",
        "/exceptions?state=open": rf'href="/exceptions/{exception.exception_id}\?as_of=',
        f"/exceptions/{exception.exception_id}": r'class="badge is-open"',
        group: rf"<b>{HELD}</b> of {HELD}",
        "/approvals": rf'href="{asked}\?as_of=',
        asked: r'class="badge is-requested"',
        "/owners": r'href="/runs\?owner=[^"&]+&amp;state=held&amp;as_of=',
        "/queues": rf'<bdi>{approval.owner}</bdi></a></th><td role="cell" class="n" [^>]+>1</td>',
        f"/possessions?owner={approval.owner}": rf'href="{asked}\?as_of=',
        "/runs?state=held": r'href="/runs/[\w-]+\?as_of=',
    }
    then = datetime.now(UTC).isoformat()
    async with site.as_("ada", "admin") as ada:
        for row in (await site.views.runs(limit=10)).rows:
            await ada.open(f"/runs/{row.run_id}")
            await ada.send(f"/runs/{row.run_id}/cancel", {"reason": "of no use"})
        await until_open(site, exceptions=0, approvals=0)
        for path, was_so in paths.items():
            now = await ada.open(path)
            with_time = f"{path}{'&' if '?' in path else '?'}as_of={quote(then)}"
            past = await ada.open(with_time)

            assert re.search(was_so, past), path
            assert not re.search(was_so, now), path
            assert "what is past can" in past and "what is past can" not in now
            assert f'<a href="{path}">Back to now</a>' in past.replace("%3A", ":")
            forms = set(re.findall(r'<form method="post" action="([^"]+)"', past))
            assert forms <= {"/theme", "/logout", "/saved-lists/save"}, path
            assert "hx-get" not in past, "the past does not change"


async def test_what_was_not_asked_for_or_open_by_then_is_not_found(site: Site) -> None:
    exception, approval = (
        (await site.views.exceptions()).rows[0],
        (await site.views.approvals()).rows[0],
    )
    before = quote("2001-01-01T00:00")
    async with site.as_("ada", "admin") as ada:
        for path in (
            f"/exceptions/{exception.exception_id}",
            f"/exception-groups/{exception.cause}",
            f"/runs/{approval.run_id}/approvals/{approval.task}",
        ):
            await ada.open(f"{path}?as_of={before}", status=404)
        empty = await ada.open(f"/exceptions?as_of={before}")

    assert "No exception was open then." in empty
