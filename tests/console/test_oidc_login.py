"""Signing in with an identity provider on this machine, and what can be tried against it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.responses import JSONResponse, RedirectResponse, Response

from meshline.api.oidc import OidcSettings
from meshline.api.principals import Permission
from meshline.console.oidc_login import OidcLogin
from meshline.events.errors import SettingsInvalid
from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.api.refunds import REFUNDS, refunds
from tests.console.provider import ACCESS, CLIENT, SECRET, IdentityProvider, providing
from tests.console.site import Browser, Site, site_at
from tests.console.test_app import ADA, begun

pytestmark = pytest.mark.postgres

GRANTS = {
    "support": {"roles": ["operator"], "workflows": ["refunds"]},
    "it": {"roles": ["admin"]},
}


@dataclass
class Door:
    """A console, a provider, and the way from one to the other."""

    site: Site
    provider: IdentityProvider

    async def go(self, browser: Browser, path: str = "/login/oidc?then=/runs") -> str:
        """Go to the provider, be let in or not, and return the address that leads back."""
        asked = await browser.http.get(path)
        assert asked.status_code == 303, asked.text
        async with httpx.AsyncClient() as http:
            told = await http.get(asked.headers["location"])
        assert told.headers["location"].startswith("http://localhost/login/oidc/callback?")
        return told.headers["location"].removeprefix("http://localhost")

    async def signs_in(self, browser: Browser, **claims: Any) -> httpx.Response:
        self.provider.claims = claims
        return await browser.http.get(await self.go(browser))


@pytest.fixture
async def door(postgres_address: str, tmp_path: Path) -> AsyncIterator[Door]:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    async with providing() as provider:
        settings = OidcSettings.model_validate(
            {
                "issuer": provider.issuer, "audience": "meshline", "name_claim": "email",
                "grants": GRANTS, "keys_gap_s": 0,
                "console": {
                    "client_id": CLIENT, "client_secret_file": tmp_path / "secret",
                    "name": "Example ID",
                },
            }
        )  # fmt: skip
        login = OidcLogin(settings)
        async with site_at(postgres_address, Registry(leads, refunds), login=login) as site:
            yield Door(site, provider)
        await login.aclose()


async def test_whom_the_provider_knows_is_signed_in_with_what_their_groups_are_granted(
    door: Door,
) -> None:
    async with door.site.as_(None) as ada:
        assert "Sign in with Example ID" in await ada.open("/login?then=/runs")
        answer = await door.signs_in(ada, email="ada@example.org", groups=["it"])
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
        assert "HttpOnly" in answer.headers["set-cookie"]
        page = await ada.open("/runs")
        session = await door.site.accounts.principal(ada.http.cookies["session"])

    assert "user:ada@example.org" in page
    assert session is not None and session.permissions == frozenset(Permission)
    assert session.scope is None


async def test_they_see_what_is_of_their_workflows_and_queues_and_nothing_else(
    door: Door,
) -> None:
    lead = await begun(door.site, "F-1", ADA, "waiting")
    answer = await door.site.publisher.publish(REFUNDS, {"order": "7"}, trigger_id="R-1")
    async with door.site.as_(None) as sue:
        await door.signs_in(sue, email="sue@example.org", groups=["support"])
        await sees_refunds_alone(sue, answer.run_id, lead)


async def test_a_user_of_our_own_can_have_such_limits_too(door: Door) -> None:
    lead = await begun(door.site, "F-1", ADA, "waiting")
    answer = await door.site.publisher.publish(REFUNDS, {"order": "7"}, trigger_id="R-1")
    await door.site.user("lou", "admin", queues=["team:support", "queue:support"])
    async with door.site.as_("lou") as lou:
        await sees_refunds_alone(lou, answer.run_id, lead)
        await lou.open("/access", status=403)


async def sees_refunds_alone(browser: Browser, own: str, other: str) -> None:
    for _ in range(200):
        if own in await browser.open("/runs"):
            break
    assert own in browser.page
    for path in ("/", "/runs", "/exceptions", "/approvals", "/triggers", "/workflows", "/owners"):
        page = await browser.open(path)
        assert other[:8] not in page and "enterprise" not in page, path
        assert SOURCE not in page, path
    await browser.open(f"/runs/{own}")
    await browser.open(f"/runs/{other}", status=404)
    await browser.open("/workflows/leads", status=404)
    await browser.http.post(f"/runs/{other}/cancel", data={"token": "x"})
    await browser.open("/views")


LIES: tuple[dict[str, Any], ...] = (
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "meshline"},
    {"iss": "https://evil.example"},
    {"aud": [CLIENT, "another"]},
    {"aud": [CLIENT, "another"], "azp": "another"},
    {"azp": "another"},
    {"aud": "another", "azp": CLIENT},
    {"sub": None},
    {"exp": 1},
    {"exp": None},
    {"exp": True},
    {"exp": "tomorrow"},
    {"iat": 9_999_999_999},
    {"nbf": 9_999_999_999},
    {"at_hash": "of another access token"},
    {"at_hash": 7},
    {"email": None},
    {"email_verified": False},
    {"email": "eve\x1b[2J@example.org"},
    {"email": "eve\u202e@example.org"},
    {"groups": ["others"]},
    {"groups": []},
)


async def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(door: Door) -> None:
    async with door.site.as_(None) as eve:
        for changed in LIES:
            door.provider.changed = changed
            answer = await door.signs_in(eve, email="eve@example.org", groups=["it"])
            assert answer.status_code == 403, changed
            assert "session" not in eve.http.cookies, changed
        await eve.open("/login")
        door.provider.changed = {}
        answer = await door.signs_in(eve, email="eve@example.org", groups=["it"])

    assert answer.status_code == 303, "only the lies were refused"


async def test_what_a_provider_may_say_besides_is_taken(door: Door) -> None:
    half = hashlib.sha256(ACCESS.encode()).digest()[:16]
    door.provider.changed = {
        "aud": [CLIENT, "another"], "azp": CLIENT, "amr": ["pwd"], "auth_time": 1,
        "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
    }  # fmt: skip
    async with door.site.as_(None) as ada:
        answer = await door.signs_in(ada, email="ada@example.org", groups=["it"])

    assert answer.status_code == 303


async def test_a_token_that_the_provider_did_not_sign_so_lets_nobody_in(door: Door) -> None:
    provider, own = door.provider, rsa.generate_private_key(65537, 2048)
    public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signed(claims: dict[str, Any], key: Any, algorithm: str, key_id: str = "k1") -> str:
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id})

    def with_the_public_key(claims: dict[str, Any]) -> str:
        head, body, _ = signed(claims, "k" * 64, "HS256").split(".")
        signature = hmac.digest(public, f"{head}.{body}".encode(), "sha256")
        return f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    forgeries: dict[str, Callable[[dict[str, Any]], str]] = {
        "unsigned": lambda claims: signed(claims, "", "none"),
        "the public key as a secret": with_the_public_key,
        "another algorithm": lambda claims: signed(claims, provider.key, "PS256"),
        "another key": lambda claims: signed(claims, own, "RS256"),
        "a key that nobody knows": lambda claims: signed(claims, own, "RS256", "k9"),
        "cut off": lambda claims: signed(claims, provider.key, "RS256").rpartition(".")[0] + ".",
    }
    async with door.site.as_(None) as eve:
        for how, forgery in forgeries.items():
            provider.forged = forgery
            answer = await door.signs_in(eve, email="eve@example.org", groups=["it"])
            assert answer.status_code == 403, how
            assert "can&#39;t be believed" in answer.text, how


async def test_keys_that_change_while_somebody_is_away_are_found(door: Door) -> None:
    async with door.site.as_(None) as bob, door.site.as_(None) as ada:
        first = await door.signs_in(bob, email="bob@example.org", groups=["it"])
        back = await door.go(ada)
        door.provider.rotate()
        second = await ada.http.get(back)

    assert (first.status_code, second.status_code) == (303, 303)


async def test_the_console_says_who_it_is_as_the_provider_takes_it(door: Door) -> None:
    door.provider.method = "client_secret_post"
    async with door.site.as_(None) as ada:
        answer = await door.signs_in(ada, email="ada@example.org", groups=["it"])

    assert answer.status_code == 303


async def test_a_stolen_code_is_good_for_nobody_else(door: Door) -> None:
    """The code of one sign-in, put into the answer to another: the proof does not fit."""
    door.provider.claims = {"email": "ada@example.org", "groups": ["it"]}
    async with door.site.as_(None) as ada, door.site.as_(None) as eve:
        adas = parse_qs(urlsplit(await door.go(ada)).query)
        eves = parse_qs(urlsplit(await door.go(eve)).query)
        mixed = {"code": adas["code"][0], "state": eves["state"][0], "iss": eves["iss"][0]}
        answer = await eve.http.get("/login/oidc/callback", params=mixed)

    assert answer.status_code == 403 and "session" not in eve.http.cookies


async def test_who_answers_must_be_who_was_asked(door: Door) -> None:
    """RFC 9207: where the provider says who it is, an answer that does not is another's."""
    door.provider.claims = {"email": "ada@example.org", "groups": ["it"]}
    async with door.site.as_(None) as ada:
        back = await door.go(ada)
        said = parse_qs(urlsplit(back).query)
        without = f"/login/oidc/callback?code={said['code'][0]}&state={said['state'][0]}"
        refused = await ada.http.get(without)
        door.provider.says_who = False
        taken = await ada.http.get(without)

    assert refused.status_code == 403 and "Another identity provider" in refused.text
    assert taken.status_code == 303


async def test_what_is_no_token_lets_nobody_in_and_is_told(door: Door) -> None:
    for fails in (
        Response("no", 500), Response("<html>", 200), JSONResponse(["x"]), JSONResponse({"a": 1}),
        JSONResponse({"id_token": 7}), RedirectResponse("http://127.0.0.1:1/", 307),
    ):  # fmt: skip
        door.provider.fails = fails
        async with door.site.as_(None) as ada:
            answer = await door.signs_in(ada, email="ada@example.org", groups=["it"])
        assert answer.status_code == 403
        assert 'role="alert"' in answer.text and "identity provider" in answer.text
        assert "session" not in answer.headers.get("set-cookie", "")


async def test_an_answer_counts_in_the_browser_that_asked_and_once(door: Door) -> None:
    door.provider.claims = {"email": "eve@example.org", "groups": ["it"]}
    async with door.site.as_(None) as eve, door.site.as_(None) as ada:
        back = await door.go(eve)
        fresh = await ada.http.get(back)
        await door.go(ada)
        other = await ada.http.get(back)
        state = parse_qs(urlsplit(back).query)["state"][0]
        wrong = await eve.http.get(f"/login/oidc/callback?code=guessed&state={state}")
        elsewhere = await eve.http.get(back + "&iss=https://evil.example")
        right = await eve.http.get(back)
        again = await eve.http.get(back)

    # Each code is good once, and the cookie that began it is gone then.
    assert [a.status_code for a in (fresh, other, wrong, elsewhere, right, again)] == [
        403, 403, 403, 403, 303, 403,
    ]  # fmt: skip
    assert "to no sign-in that this browser began" in fresh.text


async def test_without_the_cookie_nobody_can_be_led_in_whatever_the_state(door: Door) -> None:
    from meshline.console.oidc_login import _made

    async with door.site.as_(None) as ada:
        answer = await ada.http.get(f"/login/oidc/callback?code=x&state={_made('', 'state')}")

    assert answer.status_code == 403
    assert "to no sign-in that this browser began" in answer.text


async def test_a_provider_that_denies_or_is_silent_is_told_on_the_sign_in_page(
    door: Door,
) -> None:
    async with door.site.as_(None) as ada:
        door.provider.denies = True
        denied = await ada.http.get(await door.go(ada))
        door.provider.issuer = "http://127.0.0.1:1"
        silent = await ada.http.get("/login/oidc")

    assert denied.status_code == 403 and "access_denied" in denied.text
    assert silent.status_code == 503 and "did not tell who you are" in silent.text


async def test_the_way_back_leads_to_no_other_server(door: Door) -> None:
    door.provider.claims = {"email": "ada@example.org", "groups": ["it"]}
    async with door.site.as_(None) as ada:
        back = await door.go(ada, "/login/oidc?then=//evil.example")
        answer = await ada.http.get(back)

    assert answer.headers["location"] == "/"


async def test_where_there_is_no_provider_there_is_no_way_to_it(postgres_address: str) -> None:
    async with site_at(postgres_address, Registry(leads)) as site, site.as_(None) as ada:
        assert "/login/oidc" not in await ada.open("/login")
        await ada.open("/login/oidc", status=404)


def test_a_secret_that_is_not_there_and_an_issuer_that_anybody_can_be_are_told(
    tmp_path: Path,
) -> None:
    said = 'issuer = "{}"\naudience = "a"\n[grants]\n[console]\nclient_id = "c"\n'
    file = tmp_path / "oidc.toml"
    file.write_text(said.format("https://id") + 'client_secret_file = "secret"\n')
    with pytest.raises(SettingsInvalid, match="client_secret_file"):
        OidcLogin(OidcSettings.read(file))
    (tmp_path / "secret").write_text("x")
    OidcLogin(OidcSettings.read(file))
    file.write_text(said.format("http://localhost.evil.example"))
    with pytest.raises(SettingsInvalid, match="https"):
        OidcSettings.read(file)
