"""The pages for auditors: who did what, and who may do what."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator

import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import Browser, Site, site_at

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def shows(browser: Browser, path: str, *texts: str) -> str:
    """Return the page as soon as it has all of these."""
    async with asyncio.timeout(90):
        while True:
            page = await browser.open(path)
            if all(text in page for text in texts):
                return page
            await asyncio.sleep(0.05)


async def paused_and_refused(site: Site, ada: Browser) -> str:
    """Let a run be paused by somebody who may, and by one who may not."""
    published = await site.publisher.publish(SOURCE, ADA, trigger_id="F-1")
    path = f"/runs/{published.run_id}"
    async with asyncio.timeout(90):
        while not (await site.views.runs(states=["waiting"])).rows:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await ada.open(path)
    await ada.send(f"{path}/pause", {"reason": '=1+1"month end"'})
    async with site.as_("eve", "viewer") as eve:
        await eve.http.post(f"{path}/cancel")
    return published.run_id


async def test_the_audit_tells_who_did_what_and_why_and_what_was_refused(site: Site) -> None:
    async with site.as_("ada", "admin") as ada, site.as_("aud", "auditor") as aud:
        run_id = await paused_and_refused(site, ada)
        page = await shows(aud, "/audit", "user:ada", "user:eve", "run paused", "month end")
        of_eve = await aud.open("/audit?actor=user:eve")
        refused = await aud.open("/audit?status=refused&workflow=leads&action=cancel")
        later = await aud.open("/audit?since=2100-01-01T00:00")
        table = await aud.open("/audit/export?format=csv&actor=user:ada")

    assert f"/runs/{run_id}#e" in page
    assert "run paused" not in of_eve and "run paused" not in refused
    assert "run.operate" in of_eve and "run.operate" in refused
    assert "Nobody asked for anything like that." in later
    [row] = csv.DictReader(io.StringIO(table))
    assert (row["actor"], row["reason"]) == ("user:ada", '\'=1+1"month end"')


async def test_who_is_no_auditor_sees_neither_page_nor_the_way_there(site: Site) -> None:
    async with site.as_("olga", "operator", "approver") as olga:
        page = await olga.open("/")
        await olga.open("/audit", status=403)
        await olga.open("/audit/export", status=403)
        await olga.open("/audit/readings", status=403)
        await olga.open("/audit/readings/export", status=403)
        await olga.open("/access", status=403)

    assert 'href="/audit"' not in page


async def test_a_key_is_revoked_with_a_reason_by_an_admin_alone(site: Site) -> None:
    key, secret = await site.keys.create(
        "service:crm", ["source"], made_by="user:bob", sources=["web.forms"]
    )
    path = f"/access/keys/{key.id}/revoke"
    async with site.as_("aud", "auditor") as aud, site.as_("ada", "admin") as ada:
        before = await aud.open("/access")
        await aud.http.post(path)
        still = await site.keys.principal(secret)
        used = await ada.open("/access")
        await ada.send(path, {"reason": "the laptop is lost"})
        after = await aud.open("/access")

    assert key.id in before and "web.forms" in before and "user:bob" in before
    assert path not in before and path in used
    never = '<span class="soft">never</span>'
    assert never in before and never not in used
    assert still is not None and await site.keys.principal(secret) is None
    assert "the laptop is lost" in after and "by <bdi>user:ada</bdi>" in after
    assert secret.split("_")[2] not in used


async def test_a_second_revocation_leaves_who_did_it_first_and_why(site: Site) -> None:
    key, _ = await site.keys.create("user:bob", ["viewer"], made_by="user:ada")
    await site.keys.revoke(key.id, by="user:ada", reason="lost")
    again = await site.keys.revoke(key.id, by="user:eve", reason="not me")

    assert (again.revoked_by, again.revoked_for) == ("user:ada", "lost")


async def test_who_read_payloads_stands_on_the_audit_page_with_run_and_event(site: Site) -> None:
    async with site.as_("ada", "admin") as ada, site.as_("aud", "auditor") as aud:
        run_id = await paused_and_refused(site, ada)
        await aud.open(f"/triggers?id=F-1&note={run_id}")
        asked = await aud.open("/audit")
        page = await aud.open("/audit/readings?actor=user:aud")
        of_another = await aud.open("/audit/readings?run=nobody")
        table = await aud.open("/audit/readings/export?actor=user:aud")

    assert 'href="/audit/readings"' in asked
    assert "payload, problems of <bdi>triggers</bdi>" in page and "in the console" in page
    assert f"/runs/{run_id}" in page and "user:ada" not in page
    assert "Nobody read a payload like that." in of_another
    [row] = csv.DictReader(io.StringIO(table))
    assert (row["actor"], row["what"], row["run_ids"]) == ("user:aud", "payload, problems", run_id)
