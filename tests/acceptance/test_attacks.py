"""What somebody would try against console and API as a whole, each kept as it was tried."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.routing import APIRoute

from meshline.api.app import ROUTERS as API_ROUTERS
from meshline.api.exports import neutral
from meshline.api.wrong_passwords import WRONG_MAX
from meshline.console.app import ROUTERS
from meshline.console.visit import form_token
from meshline.workflow.registry import Registry
from tests.api.leads import leads
from tests.api.test_access import BODIES
from tests.console.site import PASSWORD, Site, site_at

pytestmark = pytest.mark.postgres

NAMES = {
    **dict.fromkeys(("run", "exception", "bulk"), "1"),
    "approval": "a",
    "task": "a",
    "workflow": "leads",
    "action": "retry",
    "user": "ada",
    "decision": "approved",
    "key": "0123456789ab",
    "view": "runs",
    "step": "s",
    "hook": "h",
    "owner": "user:ada",
    "wish": "pause",
    "cause": "0" * 12,
}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


def posts(routers: Any) -> list[APIRoute]:
    found = [route for router in routers for route in router.routes]
    return [r for r in found if isinstance(r, APIRoute) and r.methods == {"POST"}]


def filled(route: APIRoute) -> str:
    return route.path.format(**{name: NAMES.get(name, "x") for name in route.param_convertors})


async def test_a_form_is_taken_from_no_other_origin_and_without_a_cookie_from_nobody(
    site: Site,
) -> None:
    async with site.as_("ada", "admin") as ada, site.as_(None) as eve:
        token = re.findall(r'name="token" value="(\w+)"', await ada.open("/access"))[0]
        for route in posts(ROUTERS):
            for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
                answer = await ada.http.post(
                    filled(route), data={"token": token}, headers={"Origin": origin}
                )
                assert answer.status_code == 403, (route.path, origin)
        # What secret a server takes where the browser brings none along is known to everybody.
        for cookies in ({}, {"visitor": ""}, {"session": "", "visitor": ""}):
            for guess in ("-", "", "None"):
                for path in ("/login", "/logout", "/theme"):
                    sent = {"token": form_token(guess), "name": "ada", "password": PASSWORD}
                    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
                    answer = await eve.http.post(path, data=sent, headers={"Cookie": header})
                    assert answer.status_code == 400, (path, cookies, guess)
        assert "session" not in eve.http.cookies
        await ada.open("/runs")


async def test_passwords_that_are_tried_at_once_are_no_more_than_one_by_one(site: Site) -> None:
    await site.user("ada", "admin")
    async with site.as_(None) as eve:
        token = re.findall(r'name="token" value="(\w+)"', await eve.open("/login"))[0]
        sent = {"token": token, "name": "ada"}
        answers = await asyncio.gather(
            *(eve.http.post("/login", data=sent | {"password": f"no {n}"}) for n in range(40))
        )
        right = await eve.http.post("/login", data=sent | {"password": PASSWORD})
        nobody = [
            (await eve.http.post("/login", data=sent | {"name": "nobody", "password": "x"}))
            for _ in range(WRONG_MAX + 1)
        ]

    assert sorted(a.status_code for a in answers) == [401] * WRONG_MAX + [429] * 30
    assert right.status_code == 429, "closed for a while, whoever comes"
    # A name that nobody has is answered as one that somebody has.
    assert [a.status_code for a in nobody] == [401] * WRONG_MAX + [429]
    known = next(a for a in answers if a.status_code == 401)
    assert re.sub(r'value="\w+"', "", known.text) == re.sub(r'value="\w+"', "", nobody[0].text)


async def test_a_session_that_was_planted_is_not_the_one_that_begins_and_the_old_one_ends(
    site: Site,
) -> None:
    async with site.as_("ada", "admin") as ada:
        first = ada.http.cookies["session"]
        await ada.open("/login")
        ada.http.cookies.clear()
        ada.http.cookies.set("session", first)
        await ada.sign_in("ada", PASSWORD)
        second = next(
            c.value for c in ada.http.cookies.jar if c.value != first and c.name == "session"
        )

    assert await site.accounts.principal(first) is None
    assert await site.accounts.principal(second) is not None


async def test_what_no_text_can_hold_is_refused_and_no_mistake_of_ours(site: Site) -> None:
    _, secret = await site.keys.create("user:ada", ["admin"], made_by="user:test")
    deep = "[" * 50_000 + "]" * 50_000
    async with site.as_("ada", "admin") as ada:
        token = re.findall(r'name="token" value="(\w+)"', await ada.open("/access"))[0]
        for route in posts(ROUTERS):
            for evil in ("\x00", "\ud800", "[" * 5_000):
                form = {
                    **dict.fromkeys(
                        ("name", "actor", "owner", "text", "value", "payload", "source", "reason",
                         "message", "position", "workflows", "queues", "sources", "id", "page"),
                        evil,
                    ),
                    "role_admin": "on", "expires": "30", "overlap": "0", "token": token,
                }  # fmt: skip
                body = urlencode(form, errors="surrogatepass")
                if route.path == "/logout":
                    continue
                answer = await ada.http.post(
                    filled(route), content=body.encode(),
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )  # fmt: skip
                assert answer.status_code < 500, (route.path, evil[:5], answer.text[-600:])
        async with site.as_(None) as eve:
            begun = re.findall(r'name="token" value="(\w+)"', await eve.open("/login"))[0]
            for evil in ("\x00", "\ud800", "[" * 9_000):
                sent = urlencode(
                    {"token": begun, "name": evil, "password": evil}, errors="surrogatepass"
                )
                answer = await eve.http.post(
                    "/login", content=sent.encode(),
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )  # fmt: skip
                assert answer.status_code in (401, 422), answer.text
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        for route in posts(API_ROUTERS):
            bodies: list[bytes] = [
                deep.encode(),
                b'{"a": ' * 9_000 + b"1" + b"}" * 9_000,
                b"\xff",
                b"NaN",
            ]
            known = BODIES.get(route.name, {})
            for field in {*known, "reason"}:
                for bad in (b'"\\u0000"', b'"\\ud800"', b'"\\u202e"'):
                    others = [
                        f'"{name}": {json.dumps(value)}'.encode()
                        for name, value in known.items() if name != field
                    ]  # fmt: skip
                    bodies.append(
                        b"{" + b", ".join([*others, b'"%s": ' % field.encode() + bad]) + b"}"
                    )
            for body_sent in bodies:
                answer = await ada.http.post(filled(route), content=body_sent, headers=headers)
                assert answer.status_code < 500, (route.path, body_sent[:80], answer.text[-600:])


async def test_every_answer_tells_browsers_to_keep_guess_and_frame_nothing(site: Site) -> None:
    _, secret = await site.keys.create("user:ada", ["admin"], made_by="user:test")
    headers = {"Authorization": f"Bearer {secret}"}
    async with site.as_("ada", "admin") as ada:
        pages = ("/", "/access", "/audit", "/audit/export", "/nowhere", "/login")
        for path in (*pages, "/v1/runs", "/v1/keys", "/v1/nowhere", "/docs", "/openapi.json"):
            answer = await ada.http.get(path, headers=headers if path.startswith("/v1") else {})
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["cache-control"] == "no-store", path
            if answer.headers["content-type"].startswith("text/html"):
                assert answer.headers["x-frame-options"] == "DENY", path
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy and "unsafe" not in policy, path
                # Nothing comes from elsewhere: at this address it could act as who looks.
                assert not re.search(r'(src|href)="(https?:)?//', answer.text), path


async def test_a_name_cannot_write_into_the_log_of_a_server_or_turn_text_around(
    site: Site,
) -> None:
    async with site.as_("ada", "admin") as ada:
        for name in ("user:a\nb", "user:a\x1b[31m", "user:a\u202eb", "user:a\u200bb", "user:a b"):
            await ada.open("/access")
            wanted = {"actor": name, "role_viewer": "on", "reason": "x", "expires": ""}
            await ada.send("/access/keys", wanted, status=422)
            await ada.open("/access")
            await ada.send("/access/sessions/end", {"actor": name, "reason": "x"}, status=422)

    assert await site.keys.all() == []


def test_no_cell_of_a_file_is_a_formula() -> None:
    for begins in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"):
        assert neutral(f"{begins}cmd|' /C calc'!A0") == f"'{begins}cmd|' /C calc'!A0"
    assert neutral("a=1") == "a=1"


async def test_cookies_are_of_this_server_alone_and_over_tls_alone_and_a_sign_out_ends_them(
    site: Site,
) -> None:
    await site.user("ada", "admin")
    transport = httpx.ASGITransport(site.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as http:
        page = await http.get("/login")
        begun = re.findall(r'name="token" value="(\w+)"', page.text)[0]
        sent = {"token": begun, "name": "ada", "password": PASSWORD}
        answer = await http.post("/login", data=sent)
        secret = http.cookies["__Host-session"]
        home = await http.get("/")
        token = re.findall(r'name="token" value="(\w+)"', home.text)[0]
        themed = await http.post("/theme", data={"token": token, "theme": "dark"})
        out = await http.post("/logout", data={"token": token})

    said = [c for a in (page, answer, out) for c in a.headers.get_list("set-cookie")]
    names = [cookie.partition("=")[0] for cookie in said]
    assert set(names) == {"__Host-visitor", "__Host-session", "__Host-away"}
    for cookie in [*said, *themed.headers.get_list("set-cookie")]:
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "secure", "path=/"} <= parts, cookie
        assert {"samesite=lax", "samesite=strict"} & parts, cookie
        assert not any(part.startswith("domain") for part in parts), cookie
    assert any(c.startswith("__Host-visitor=") and "samesite=strict" in c.lower() for c in said)
    assert any(f"max-age={12 * 3600}" in c.lower() for c in said if c.startswith("__Host-session"))
    assert secret not in answer.text and await site.accounts.principal(secret) is None
