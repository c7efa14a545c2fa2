"""Letting in and shutting out from the console: keys, users and sessions."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator

import pytest

from meshline.api.oidc import Granted
from meshline.events.envelope import Actor
from meshline.workflow.registry import Registry
from tests.api.leads import leads
from tests.console.site import PASSWORD, Site, site_at

pytestmark = pytest.mark.postgres
WHY = {"reason": "the new shop"}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


def told(page: str) -> str:
    found = re.search(r'<code id="secret">([^<]+)</code>', page)
    assert found, page
    return html.unescape(found[1])


async def audited(site: Site, count: int) -> list[tuple[str, str | None, str]]:
    async with asyncio.timeout(90):
        while True:
            rows = (await site.views.audit(actions=["access.change"])).rows
            if len(rows) >= count:
                return [(row.what, row.actor, row.reason) for row in rows[::-1]]
            await asyncio.sleep(0.05)


async def test_a_key_is_made_shown_once_rotated_and_revoked(site: Site) -> None:
    wanted = {
        "actor": "service:crm", "role_source": "on", "sources": " web.forms, shop.orders ,",
        "expires": "30", **WHY,
    }  # fmt: skip
    async with site.as_("ada", "admin") as ada:
        await ada.open("/access")
        answer = await ada.send("/access/keys", wanted, status=200)
        first = told(answer.text)
        again = await ada.send("/access/keys", wanted, status=400)
        key = (await site.keys.all())[0]
        page = await ada.open("/access")
        await ada.open(f"/access/keys/{key.id}")
        rotated = await ada.send(f"/access/keys/{key.id}/rotate", {"overlap": "0", **WHY}, 200)
        second = told(rotated.text)
        new = (await site.keys.all())[0]
        await ada.open(f"/access/keys/{new.id}")
        await ada.send(f"/access/keys/{new.id}/revoke", {"reason": "lost"})
        after = await ada.open("/access")

    assert answer.headers["cache-control"] == "no-store"
    assert "sent already" in again.text and len(await site.keys.all()) == 2
    assert (key.actor, key.roles, key.made_by) == ("service:crm", ["source"], "user:ada")
    assert key.sources == ["web.forms", "shop.orders"] and key.expires_at is not None
    assert f"mlk_{key.id}" in page and "made by" not in page
    for secret in (first, second):
        assert secret.split("_", 2)[2] not in page + after
        assert await site.keys.principal(secret) is None
    assert await audited(site, 3) == [
        ("create key", "user:ada", "the new shop"),
        ("rotate key", "user:ada", "the new shop"),
        ("revoke key", "user:ada", "lost"),
    ]


async def test_a_user_is_made_changed_signed_out_and_removed(site: Site) -> None:
    async with site.as_("ada", "admin") as ada, site.as_(None) as sue:
        await ada.open("/access")
        made = await ada.send(
            "/access/users", {"name": "sue", "role_operator": "on", **WHY}, status=200
        )
        await sue.sign_in("sue", told(made.text))
        await sue.open("/runs")
        assert "user:sue" in (await ada.open("/access")).partition('id="sessions"')[2]
        await ada.open("/access/users/sue")
        await ada.send(
            "/access/users/sue/change", {"role_viewer": "on", "queues": "team:emea", **WHY}
        )
        narrowed = (await site.accounts.all())[-1]
        await sue.open("/runs")
        await ada.open("/access/users/sue")
        await ada.send("/access/sessions/end", WHY)
        assert "Name" in await sue.open("/runs"), "it is the sign-in again"
        await ada.open("/access/users/sue")
        changed = await ada.send("/access/users/sue/password", WHY, status=200)
        await sue.sign_in("sue", told(made.text), status=401)
        await sue.sign_in("sue", told(changed.text))
        await ada.open("/access/users/sue")
        await ada.send("/access/users/sue/remove", WHY)
        assert "Name" in await sue.open("/runs")
        await ada.open("/access/users/sue", status=404)

    # Roles that are on the form and not ticked are taken away.
    assert (narrowed.name, narrowed.queues) == ("sue", ["team:emea"])
    assert narrowed.roles == ["viewer"]
    assert [what for what, *_ in await audited(site, 5)] == [
        "create user", "change user", "end sessions", "change password", "remove user",
    ]  # fmt: skip


async def test_everybody_sees_their_account_and_gives_themselves_another_password(
    site: Site,
) -> None:
    new = " staple, correct again"
    async with (
        site.as_("sue", "viewer") as sue,
        site.as_("sue", "viewer") as elsewhere,
        site.as_("bob", "viewer") as bob,
    ):
        page = await sue.open("/account")
        for old, typed, again, status, said in (
            ("wrong, and not the one", new, new, 403, "The old password is wrong"),
            (PASSWORD, new, "staple", 422, "not the same twice"),
            (PASSWORD, "short", "short", 422, "5 characters"),
        ):
            refused = await sue.send(
                "/account", {"old": old, "new": typed, "again": again}, status=status
            )
            assert said in refused.text and typed not in refused.text
            assert 'action="/account"' in refused.text, "it can be typed again"
        await elsewhere.open("/runs")
        done = await sue.send("/account", {"old": PASSWORD, "new": new, "again": new})
        after = await sue.open(done.headers["location"])
        out = await elsewhere.open("/runs")
        others = await bob.open("/account")
        await elsewhere.sign_in("sue", PASSWORD, status=401)
        await elsewhere.sign_in("sue", new)

    assert 'href="/account"' in page and "see everything but payloads" in page
    assert "2 times" in page and "another password now" in after and "1 time," in after
    assert 'name="password"' in out, "it is the sign-in again"
    assert "user:bob" in others
    told = ("change password", "user:sue", "their own")
    async with asyncio.timeout(90):
        # The refused one is told beside it.
        while told not in await audited(site, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_an_account_of_a_provider_has_no_password_here(site: Site) -> None:
    granted = Granted(Actor("user", "user:eve@example.org"), ["viewer"], None, None, ["team:emea"])
    async with site.as_(None) as eve:
        eve.http.cookies["session"] = await site.accounts.begin(granted)
        page = await eve.open("/account")
        token = re.findall(r'name="token" value="(\w+)"', page)[0]
        sent = {"token": token, "old": PASSWORD, "new": PASSWORD + "!", "again": PASSWORD + "!"}
        refused = await eve.http.post("/account", data=sent)

    assert "with the identity provider" in page and 'action="/account"' not in page
    assert "team:emea" in page
    assert refused.status_code == 404 and "no password here" in refused.text


async def test_an_auditor_sees_who_may_what_and_changes_nothing(site: Site) -> None:
    key, _ = await site.keys.create("service:crm", ["source"], made_by="user:test")
    async with site.as_("ada", "admin") as ada, site.as_("aud", "auditor") as aud:
        page = await aud.open("/access")
        await aud.open(f"/access/keys/{key.id}", status=403)
        await aud.open("/access/users/ada", status=403)
        token = re.findall(r'name="token" value="(\w+)"', page)[0]
        for path in ("keys", "users", f"keys/{key.id}/revoke", "users/ada/remove", "sessions/end"):
            refused = await aud.http.post(f"/access/{path}", data={"token": token, **WHY})
            assert refused.status_code == 403, path
        await ada.open("/access")

    assert 'action="/access/' not in page and "user:ada" in page
    async with asyncio.timeout(90):
        while not (rows := (await site.views.audit(status="refused")).rows):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (rows[0].action, rows[0].actor) == ("access.change", "user:aud")


async def test_nobody_shuts_themselves_out_and_nothing_is_done_without_a_reason(
    site: Site,
) -> None:
    async with site.as_("ada", "admin") as ada:
        page = await ada.open("/access/users/ada")
        changed = {"role_viewer": "on", **WHY}
        refused = await ada.send("/access/users/ada/change", changed, status=422)
        token = re.findall(r'name="token" value="(\w+)"', page)[0]
        removed = await ada.http.post("/access/users/ada/remove", data={"token": token, **WHY})
        silent = await ada.send("/access/users/ada/change", {"reason": " "}, status=400)

    assert "shut yourself out" in refused.text and "shut yourself out" in removed.text
    assert "/access/users/ada/remove" not in page
    assert "There is no reason" in silent.text
    assert [user.roles for user in await site.accounts.all()] == [["admin"]]
    assert PASSWORD not in page
