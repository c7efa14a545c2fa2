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
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.jwt import JWTClaimsRegistry, Token
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meshline.api.keys import scope_of
from meshline.api.principals import ROLES, Authenticator, Principal, permissions_of
from meshline.events.clock import Clock, SystemClock
from meshline.events.envelope import Actor
from meshline.events.errors import LogUnavailable, MeshlineError, SettingsInvalid

__all__ = [
    "ConsoleLogin", "Granted", "KeysAndTokens", "OidcSettings", "OidcTokens", "SignInRefused",
    "is_private",
]  # fmt: skip

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""Signatures with a public key. Never `none`, and never HMAC, for which the public key would do."""

KEY_KINDS = ("RSA", "EC", "OKP")

TOKEN_CHARACTERS_MAX = 16_000
KEYS_BYTES_MAX = 1_000_000
_NAME = re.compile(r"[^\s:]\S{0,190}")
_NOT = (False, "false")


class Grant(BaseModel):
    """What who has the claim's value may do; see ``meshline key create``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: list[str]
    sources: list[str] | None = None
    workflows: list[str] | None = None
    queues: list[str] | None = None


class ConsoleLogin(BaseModel):
    """How people sign in to the console with the provider.

    Args:
        client_id: of the console, registered with the provider for ``…/login/oidc/callback``.
        client_secret_file: where its secret stands alone, seen from the file; None: it has none.
        scopes: so much is asked for; ``openid`` is always.
        name: of the provider, on the button.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: str
    client_secret_file: Path | None = None
    scopes: list[str] = ["profile", "email"]
    name: str = "single sign-on"


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
    console: None: nobody signs in to the console so.
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
    console: ConsoleLogin | None = None

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
        console = settings.console
        if console is not None and console.client_secret_file is not None:
            file = path.parent / console.client_secret_file
            here = console.model_copy(update={"client_secret_file": file})
            settings = settings.model_copy(update={"console": here})
        if not is_private(settings.issuer):
            raise SettingsInvalid(
                f"The issuer is {settings.issuer!r}: expected https://…, so that its keys are its "
                "own. Correct the file."
            )
        return settings


def is_private(address: str) -> bool:
    """Return whether nobody on the way can read along, or answer in its place."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    )


class Granted(NamedTuple):
    """Who somebody is, and what their groups are granted together; see ``Grant``."""

    actor: Actor
    roles: list[str]
    sources: frozenset[str] | None
    workflows: list[str] | None
    queues: list[str] | None


class SignInRefused(MeshlineError):
    """The identity provider did not say who it is, or nothing that can be taken."""

    code = "ML6104"


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
        self._keys: dict[str, Key] = {}
        self._known_until_s = 0.0
        self._asked_at_s = float("-inf")
        self._asking = asyncio.Lock()
        self._told: tuple[float, dict[str, Any]] | None = None

    async def aclose(self) -> None:
        await self._http.aclose()

    async def principal(self, credential: str | None) -> Principal | None:
        """Return whose token it is; None where anything about it is not as it must be.

        Raises:
            LogUnavailable: the provider does not tell its keys, and none are known.
        """
        claims = await self.claims_of(credential)
        granted = None if claims is None else self.granted_to(claims)
        if granted is None:
            return None
        return Principal(
            granted.actor,
            permissions_of(granted.roles),
            sources=granted.sources,
            scope=scope_of(granted.workflows, granted.queues),
            credential=f"token {granted.actor.id}",
        )

    async def claims_of(self, credential: str | None) -> Mapping[str, Any] | None:
        """Return what a token says, once all about it was checked; see ``principal``."""
        token = await self.signed(credential)
        if token is None:
            return None
        settings = self._settings
        expected: dict[str, Any] = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.audience},
            **{name: {"essential": True} for name in ("exp", "iat", settings.name_claim)},
        }
        try:
            JWTClaimsRegistry(self.now_s, self.leeway_s, **expected).validate(token.claims)
        except JoseError:
            return None
        return token.claims

    async def signed(self, credential: str | None) -> Token | None:
        """Return a token whose signature is the provider's; what it says is still to be checked.

        Raises:
            LogUnavailable: the provider does not tell its keys, and none are known.
        """
        if not credential or len(credential) > TOKEN_CHARACTERS_MAX or credential.count(".") != 2:
            return None
        # Headers that providers add are no harm; what is marked critical is still looked at.
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            key_id = (
                extract_compact(credential.encode(), registry=registry).headers().get("kid", "")
            )
            key = await self._key(key_id) if isinstance(key_id, str) else None
            # The key says for what algorithm it is, if it says so: a token can't choose another.
            return None if key is None else jwt.decode(credential, key, registry=registry)
        except (JoseError, ValueError):
            return None

    @property
    def now_s(self) -> int:
        return int(self._clock.now().timestamp())

    @property
    def leeway_s(self) -> int:
        return int(self._settings.leeway_s)

    def granted_to(self, claims: Mapping[str, Any]) -> Granted | None:
        """Return what the claims are worth here; None where they name nobody."""
        settings = self._settings
        name = claims.get(settings.name_claim)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.isprintable():
            return None
        if settings.name_claim == "email" and claims.get("email_verified") in _NOT:
            # Anybody can say this of themselves: the provider has not looked.
            return None
        groups = claims.get(settings.groups_claim, ())
        listed = [groups] if isinstance(groups, str) else groups
        if not isinstance(listed, list | tuple):
            return None
        grants = [settings.grants[g] for g in listed if isinstance(g, str) and g in settings.grants]
        return Granted(
            Actor(settings.kind, f"{settings.kind}:{name}"),
            sorted({role for grant in grants for role in grant.roles}),
            _all_of(grant.sources for grant in grants),
            _listed(_all_of(grant.workflows for grant in grants)),
            _listed(_all_of(grant.queues for grant in grants)),
        )

    async def _key(self, key_id: str) -> Key | None:
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

    async def _fetched(self) -> dict[str, Key]:
        said = await self.configuration()
        listed = (await self._read(said["jwks_uri"]))["keys"]
        found: dict[str, Key] = {}
        for each in listed:
            if each.get("use", "sig") != "sig" or each.get("kty") not in KEY_KINDS:
                continue
            try:
                found[each.get("kid", "")] = JWKRegistry.import_key(each)
            except (JoseError, ValueError):
                continue  # Of a curve that is not taken here, or broken.
        return found

    async def configuration(self) -> dict[str, Any]:
        """Return what the provider says of itself.

        Raises:
            httpx.HTTPError, ValueError: it says nothing, or nothing that can be.
        """
        issuer = self._settings.issuer
        said = await self._read(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise ValueError("the provider calls itself otherwise")
        return said

    async def told(self) -> dict[str, Any]:
        """As ``configuration``, for people; not asked for at every click.

        Raises:
            SignInRefused: the provider does not tell it, or addresses that anybody can answer at.
        """
        now_s = asyncio.get_running_loop().time()
        if self._told is not None and self._told[0] > now_s:
            return self._told[1]
        try:
            said = await self.configuration()
            for name in ("authorization_endpoint", "token_endpoint"):
                if not isinstance(said.get(name), str) or not is_private(said[name]):
                    raise ValueError(f"its {name} is no https address")
        except (httpx.HTTPError, ValueError) as error:
            raise _silent(self._settings.issuer, error) from error
        self._told = (now_s + self._settings.keys_gap_s, said)
        return said

    async def exchanged(self, address: str, body: str, headers: Mapping[str, str]) -> Any:
        """Return what the provider gives for a code; all of it is still to be checked.

        Raises:
            SignInRefused: the code is good for nothing, or the provider does not answer.
        """
        try:
            answer = await self._http.post(address, content=body, headers=headers)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _silent(self._settings.issuer, error) from error

    async def _read(self, address: str) -> dict[str, Any]:
        answer = await self._http.get(address)
        answer.raise_for_status()
        if len(answer.content) > KEYS_BYTES_MAX:
            raise ValueError("the provider says too much")
        content: dict[str, Any] = answer.json()
        return content


def _silent(issuer: str, error: Exception) -> SignInRefused:
    said: Any = error
    if isinstance(error, httpx.HTTPStatusError):
        said = f"it answered {error.response.status_code}"
    return SignInRefused(
        f"The identity provider {issuer} did not tell who you are ({type(error).__name__}: "
        f"{said}). Sign in again in a moment; if it stays so, ask who runs it."
    )


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
