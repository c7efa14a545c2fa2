"""Tokens of an identity provider (OpenID Connect), beside the API's own keys.

What a token says is believed only after its signature, issuer, audience and times were checked,
with algorithms that are fixed here. What its claims are worth stands in a file of ours: a token
can't name a role of Meshline by itself.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshline.api.keys import scope_of
from meshline.api.principals import ROLES, Authenticator, Principal, permissions_of
from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor
from meshline.events.errors import LogUnavailable, SettingsInvalid

__all__ = ["KeysAndTokens", "OidcSettings", "OidcTokens"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""Signatures with a public key. Never `none`, and never HMAC, for which the public key would do."""

TOKEN_CHARACTERS_MAX = 16_000
KEYS_BYTES_MAX = 1_000_000
_NAME = re.compile(r"[^\s:]\S{0,190}")


class Grant(BaseModel):
    """What who has the claim's value may do; see ``meshline key create``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: list[str]
    sources: list[str] | None = None
    workflows: list[str] | None = None
    queues: list[str] | None = None


class OidcSettings(BaseModel):
    """Args:
    issuer: as the tokens say it, and where ``/.well-known/openid-configuration`` is.
    audience: must be among those that a token is for.
    name_claim: whose value names the actor; what must never be given to somebody else.
    groups_claim: a value, or a list of them, that ``grants`` knows.
    kind: of actors: people, or services.
    leeway_s: so far the provider's clock may be from ours.
    keys_for_s: so long its keys are taken as known.
    keys_gap_s: at least so long between two looks for a key that is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    audience: str
    name_claim: str = "sub"
    groups_claim: str = "groups"
    kind: Literal["user", "service"] = "user"
    grants: dict[str, Grant]
    leeway_s: float = Field(30.0, ge=0, le=300)
    keys_for_s: float = Field(3_600.0, gt=0)
    keys_gap_s: float = Field(30.0, ge=0)

    @staticmethod
    def read(path: Path) -> OidcSettings:
        """Read a TOML file.

        Raises:
            SettingsInvalid: it is none, or grants a role that there is not.
        """
        try:
            settings = OidcSettings.model_validate(tomllib.loads(path.read_text("utf-8")))
        except (OSError, ValueError, ValidationError) as error:
            raise SettingsInvalid(
                f"Cannot read {str(path)!r}: {error}. Expected issuer, audience and [grants.GROUP] "
                "with roles. Correct the file."
            ) from error
        unknown = {role for grant in settings.grants.values() for role in grant.roles} - set(ROLES)
        if unknown:
            raise SettingsInvalid(
                f"{str(path)!r} grants {', '.join(sorted(unknown))}: expected some of "
                f"{', '.join(ROLES)}. Correct the file."
            )
        if not settings.issuer.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise SettingsInvalid(
                f"The issuer is {settings.issuer!r}: expected https://…, so that its keys are its "
                "own. Correct the file."
            )
        return settings


class OidcTokens:
    """Tells from a token who it is; an ``Authenticator``.

    Args:
        transport: for tests: a provider in this process.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._http = httpx.AsyncClient(timeout=10, transport=transport)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._known_until_s = 0.0
        self._asked_at_s = float("-inf")
        self._asking = asyncio.Lock()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def principal(self, credential: str | None) -> Principal | None:
        """Return whose token it is; None where anything about it is not as it must be.

        Raises:
            LogUnavailable: the provider does not tell its keys, and none are known.
        """
        if not credential or len(credential) > TOKEN_CHARACTERS_MAX or credential.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(credential)
        except jwt.InvalidTokenError:
            return None
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if algorithm not in ALGORITHMS or not isinstance(key_id, str):
            return None
        key = await self._key(key_id)
        # A key is for one algorithm: a token can't choose another for it.
        if key is None or key.algorithm_name != algorithm:
            return None
        claims = self._claims(credential, key, algorithm)
        return None if claims is None else self._principal_of(claims)

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any] | None:
        settings, now_s = self._settings, self._clock.now().timestamp()
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[algorithm], audience=settings.audience,
                issuer=settings.issuer,
                options={
                    "require": ["exp", "iat", "iss", "aud", settings.name_claim],
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                },
            )  # fmt: skip
            # The times against our clock, which tests can turn.
            starts_s = max(float(claims["iat"]), float(claims.get("nbf", 0)))
            ends_s = float(claims["exp"])
        except (jwt.InvalidTokenError, TypeError, ValueError):
            return None
        is_now = starts_s - settings.leeway_s <= now_s < ends_s + settings.leeway_s
        return claims if is_now else None

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal | None:
        settings = self._settings
        name = claims.get(settings.name_claim)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        groups = claims.get(settings.groups_claim, ())
        listed = [groups] if isinstance(groups, str) else groups
        if not isinstance(listed, list | tuple):
            return None
        grants = [settings.grants[g] for g in listed if isinstance(g, str) and g in settings.grants]
        actor = f"{settings.kind}:{name}"
        return Principal(
            Actor(settings.kind, actor),
            permissions_of(role for grant in grants for role in grant.roles),
            sources=_all_of(grant.sources for grant in grants),
            scope=scope_of(
                _listed(_all_of(grant.workflows for grant in grants)),
                _listed(_all_of(grant.queues for grant in grants)),
            ),
            credential=f"token {actor}",
        )

    async def _key(self, key_id: str) -> jwt.PyJWK | None:
        """Return the provider's key; one that is not known is looked for, but not all the time."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            is_old = loop.time() >= self._known_until_s
            may_ask = loop.time() >= self._asked_at_s + self._settings.keys_gap_s
            if (is_old or key_id not in self._keys) and may_ask:
                self._asked_at_s = loop.time()
                try:
                    self._keys = await self._fetched()
                    self._known_until_s = loop.time() + self._settings.keys_for_s
                except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                    if not self._keys:
                        raise LogUnavailable(
                            f"The identity provider {self._settings.issuer} does not tell its keys:"
                            f" {type(error).__name__}. Try again."
                        ) from error
            return self._keys.get(key_id)

    async def _fetched(self) -> dict[str, jwt.PyJWK]:
        issuer = self._settings.issuer
        said = await self._read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise ValueError("the provider calls itself otherwise")
        listed = (await self._read(said["jwks_uri"]))["keys"]
        found: dict[str, jwt.PyJWK] = {}
        for each in listed:
            if each.get("use", "sig") != "sig":
                continue
            try:
                found[each.get("kid", "")] = jwt.PyJWK(each)
            except jwt.PyJWTError:
                continue  # Of a kind that is not taken here.
        return found

    async def _read(self, address: str) -> dict[str, Any]:
        answer = await self._http.get(address)
        answer.raise_for_status()
        if len(answer.content) > KEYS_BYTES_MAX:
            raise ValueError("the provider says too much")
        content: dict[str, Any] = answer.json()
        return content


class KeysAndTokens:
    """Our own keys, and tokens of a provider: each is known by its form; an ``Authenticator``."""

    def __init__(self, keys: Authenticator, tokens: OidcTokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def principal(self, credential: str | None) -> Principal | None:
        if credential is not None and credential.startswith("mlk_"):
            return await self._keys.principal(credential)
        return await self._tokens.principal(credential)


def _all_of(parts: Iterable[list[str] | None]) -> frozenset[str] | None:
    """Return all that the grants give together; None, which is everything, if one gives that."""
    found: set[str] = set()
    for part in parts:
        if part is None:
            return None
        found.update(part)
    return frozenset(found)


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
