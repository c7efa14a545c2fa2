"""Signing in with an identity provider: the code flow of OpenID Connect, with PKCE.

Nothing is kept here between the two steps. What the provider must bring back (state), what its
token must say (nonce) and what proves that the code is asked for by who began (verifier) are made
from one secret, which only the browser has, in a cookie of ten minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import urlencode

from meshline.api.oidc import ConsoleLogin, Granted, OidcSettings, OidcTokens, SignInRefused
from meshline.events.clock import Clock
from meshline.events.errors import SettingsInvalid

__all__ = ["OidcLogin"]

CODE_CHARACTERS_MAX = 4_000


class OidcLogin:
    """Args:
    settings: with ``console``.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        clock: Clock | None = None,
    ) -> None:
        assert settings.console is not None, "nobody is to sign in so"
        self._console: ConsoleLogin = settings.console
        self._issuer = settings.issuer
        self._secret = _secret_of(self._console)
        # A token that says who signed in is for the console; those of the API are for the API.
        own = settings.model_copy(update={"audience": self._console.client_id})
        self._tokens = OidcTokens(own, clock=clock)

    @property
    def name(self) -> str:
        return self._console.name

    async def aclose(self) -> None:
        await self._tokens.aclose()

    async def address(self, secret: str, back: str) -> str:
        """Return where the browser goes, to come back to ``back``.

        Raises:
            SignInRefused: the provider does not answer.
        """
        scopes = dict.fromkeys(["openid", *self._console.scopes])
        asked = {
            "response_type": "code",
            "client_id": self._console.client_id,
            "redirect_uri": back,
            "scope": " ".join(scopes),
            "state": _made(secret, "state"),
            "nonce": _made(secret, "nonce"),
            "code_challenge": _challenge(_made(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        address = await self._tokens.endpoint("authorization_endpoint")
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    async def granted(self, secret: str, back: str, said: dict[str, str]) -> Granted:
        """Return who came back, and what they are granted.

        Args:
            said: the query that the provider sent the browser back with.
        Raises:
            SignInRefused: it is not the answer to what this browser began, or names nobody.
        """
        state = _made(secret, "state").encode()
        if not secret or not hmac.compare_digest(said.get("state", "").encode(), state):
            raise SignInRefused(
                "This answer of the identity provider is to no sign-in that this browser began, or "
                "to one that is too old. Sign in again."
            )
        if said.get("iss", self._issuer) != self._issuer:
            raise SignInRefused("Another identity provider answered than was asked. Sign in again.")
        code = said.get("code", "")
        if not code or len(code) > CODE_CHARACTERS_MAX:
            raise SignInRefused(
                f"The identity provider let nobody in: {said.get('error', 'it says no code')[:100]}"
                ". Sign in again, or ask who runs it."
            )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": _made(secret, "verifier"),
        }
        token = await self._tokens.exchanged(form, self._console.client_id, self._secret)
        claims = await self._tokens.claims_of(token)
        if claims is None or not hmac.compare_digest(
            str(claims.get("nonce", "")).encode(), _made(secret, "nonce").encode()
        ):
            raise SignInRefused(
                "What the identity provider says of who you are can't be believed: expected a "
                f"token of {self._issuer} for {self._console.client_id}, and for this sign-in."
            )
        granted = self._tokens.granted_to(claims)
        if granted is None or not granted.roles:
            who = "You" if granted is None else granted.actor.id
            raise SignInRefused(
                f"{who}: known to the identity provider, but in no group that may do anything "
                "here. Ask an admin for a group that is granted a role."
            )
        return granted


def _made(secret: str, use: str) -> str:
    made = hmac.new(secret.encode(), f"meshline oidc {use}".encode(), hashlib.sha256).digest()
    return _text(made)


def _challenge(verifier: str) -> str:
    """Source: RFC 7636, 4.2."""
    return _text(hashlib.sha256(verifier.encode()).digest())


def _text(some: bytes) -> str:
    return base64.urlsafe_b64encode(some).decode().rstrip("=")


def _secret_of(console: ConsoleLogin) -> str | None:
    if console.client_secret_file is None:
        return None
    try:
        return console.client_secret_file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsInvalid(
            f"Cannot read client_secret_file ({error}): expected a file with the secret of "
            f"{console.client_id!r}, and nothing else. Make it, readable for this user alone."
        ) from error
