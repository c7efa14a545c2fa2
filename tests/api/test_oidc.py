"""Tokens of an identity provider, with a provider in this process that also does evil."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshline.api.oidc import KeysAndTokens, OidcSettings, OidcTokens
from meshline.api.principals import Permission, Principal
from meshline.events.errors import LogUnavailable, SettingsInvalid
from meshline.projections.scope import Scope
from meshline.testing import ManualClock

ISSUER = "https://id.example"
NOW = datetime(2026, 11, 17, 14, 5, tzinfo=UTC)
SETTINGS = OidcSettings.model_validate(
    {
        "issuer": ISSUER,
        "audience": "meshline",
        "name_claim": "email",
        "keys_gap_s": 0,
        "grants": {
            "support": {"roles": ["operator"], "queues": ["team:support"]},
            "leads": {"roles": ["approver"], "queues": ["role:lead"]},
            "it": {"roles": ["admin"]},
        },
    }
)


class Provider:
    """Tells its keys, and signs with them; counts how often it is asked."""

    def __init__(self) -> None:
        self.secret = rsa.generate_private_key(65537, 2048)
        self.keys: dict[str, Any] = {"k1": self.secret}
        self.asked = 0
        self.is_up = True

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.is_up:
            raise httpx.ConnectError("down")
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        self.asked += 1
        listed = []
        for key_id, secret in self.keys.items():
            if isinstance(secret, ed25519.Ed25519PrivateKey):
                listed.append(
                    json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(secret.public_key()))
                    | {"kid": key_id}
                )
                continue
            is_rsa = isinstance(secret, rsa.RSAPrivateKey)
            algorithm: Any = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
            shown = json.loads(algorithm.to_jwk(secret.public_key()))
            listed.append(
                shown | {"kid": key_id, "use": "sig", "alg": "RS256" if is_rsa else "ES256"}
            )
        return httpx.Response(200, json={"keys": listed})

    def token(self, key_id: str = "k1", algorithm: str = "RS256", **changed: Any) -> str:
        claims = {
            "iss": ISSUER, "aud": "meshline", "email": "ada@example.org", "groups": ["support"],
            "iat": NOW - timedelta(minutes=1), "exp": NOW + timedelta(minutes=5),
        } | changed  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})


@pytest.fixture
def provider() -> Provider:
    return Provider()


def tokens_of(provider: Provider, **changed: Any) -> OidcTokens:
    settings = SETTINGS.model_copy(update=changed)
    return OidcTokens(settings, clock=ManualClock(NOW), transport=httpx.MockTransport(provider))


async def test_a_token_is_who_it_says_and_may_what_its_groups_are_granted(
    provider: Provider,
) -> None:
    tokens = tokens_of(provider)

    ada = await tokens.principal(provider.token(groups=["support", "leads", "others"]))
    it = await tokens.principal(provider.token(groups=["it", "support"]))
    nobody = await tokens.principal(provider.token(groups=[]))

    assert ada is not None and it is not None and nobody is not None
    assert ada.actor == ("user", "user:ada@example.org")
    assert ada.may(Permission.OPERATE) and ada.may(Permission.APPROVE)
    assert not ada.may(Permission.PUBLISH)
    assert ada.scope == Scope(None, frozenset({"team:support", "role:lead"}))
    assert it.scope is None
    assert nobody.permissions == frozenset()
    assert provider.asked == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"exp": NOW - timedelta(seconds=31)},
        {"nbf": NOW + timedelta(seconds=31)},
        {"iat": NOW + timedelta(seconds=31)},
        {"email": None},
        {"email": "a b"},
        {"email": 7},
        {"exp": None},
        {"groups": {"support": True}},
    ],
)
async def test_what_a_token_must_say_is_checked(provider: Provider, changed: Any) -> None:
    assert await tokens_of(provider).principal(provider.token(**changed)) is None


async def test_clocks_may_differ_a_little(provider: Provider) -> None:
    early = provider.token(iat=NOW + timedelta(seconds=29))
    late = provider.token(exp=NOW - timedelta(seconds=29))

    assert await tokens_of(provider).principal(early) is not None
    assert await tokens_of(provider).principal(late) is not None


async def test_a_token_cannot_choose_how_it_is_checked(provider: Provider) -> None:
    tokens = tokens_of(provider)
    public = provider.secret.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})
    header, body, _ = jwt.encode(claims, "k" * 64, "HS256", headers={"kid": "k1"}).split(".")
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = jwt.utils.base64url_encode(signature.sign(f"{header}.{body}".encode(), public))
    own = Provider().token()

    assert await tokens.principal(unsigned) is None
    assert await tokens.principal(f"{header}.{body}.{forged.decode()}") is None
    assert await tokens.principal(own) is None
    assert await tokens.principal(provider.token(algorithm="PS256")) is None
    assert await tokens.principal(provider.token()[:-4] + "AAAA") is None
    for rubbish in (None, "", "a.b.c", "x" * 20_000, "mlk_1"):
        assert await tokens.principal(rubbish) is None


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_what_is_critical_is_known_or_refused_and_a_key_may_name_no_algorithm(
    provider: Provider,
) -> None:
    tokens = tokens_of(provider)
    claims = jwt.decode(provider.token(), options={"verify_signature": False})

    def signed(secret: Any, algorithm: str, **headers: Any) -> str:
        return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": "k1"} | headers)

    assert await tokens.principal(signed(provider.secret, "RS256", x5t="a", own=1)) is not None
    assert await tokens.principal(signed(provider.secret, "RS256", crit=["own"], own=1)) is None
    provider.keys["k3"] = ed25519.Ed25519PrivateKey.generate()
    assert await tokens.principal(signed(provider.keys["k3"], "EdDSA", kid="k3")) is not None


async def test_keys_are_kept_changed_and_looked_for_now_and_then(provider: Provider) -> None:
    tokens = tokens_of(provider, keys_gap_s=3_600)
    await tokens.principal(provider.token())
    provider.keys["k2"] = ec.generate_private_key(ec.SECP256R1())
    new = provider.token("k2", "ES256")
    for _ in range(5):
        assert await tokens.principal(new) is None
    asked = provider.asked
    tokens = tokens_of(provider)
    known = await tokens.principal(new)
    provider.is_up = False
    still = await tokens.principal(provider.token())

    assert asked == 1, "a token with an unknown key may not make us ask each time"
    assert known is not None and still is not None
    with pytest.raises(LogUnavailable, match="does not tell its keys"):
        await tokens_of(provider).principal(provider.token())


async def test_keys_of_our_own_stay_keys(provider: Provider) -> None:
    class Keys:
        async def principal(self, credential: str | None) -> Principal | None:
            assert credential == "mlk_x"
            return None

    both = KeysAndTokens(Keys(), tokens_of(provider))

    assert await both.principal("mlk_x") is None
    assert await both.principal(provider.token()) is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("issuer = 1", "audience"),
        ("issuer = 'http://id.example'\naudience = 'm'\n[grants]", "https"),
        ("issuer = 'https://i'\naudience = 'm'\n[grants.a]\nroles = ['king']", "king"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "oidc.toml"
    path.write_text(text)

    with pytest.raises(SettingsInvalid, match=said):
        OidcSettings.read(path)
