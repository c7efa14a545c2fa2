"""Signing in with an identity provider: the code flow of OpenID Connect, with PKCE.

Nothing is kept here between the two steps. What the provider must bring back (state), what its
token must say (nonce) and what proves that the code is asked for by who began (verifier) are made
from one secret, which only the browser has, in a cookie of ten minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import quote

from authlib.oauth2 import ClientAuth, OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError

from meshline.api.oidc import ConsoleLogin, Granted, OidcSettings, OidcTokens, SignInRefused
from meshline.events.clock import Clock
from meshline.events.errors import LogUnavailable, SettingsInvalid

__all__ = ["OidcLogin"]

CODE_CHARACTERS_MAX = 4_000
_BASIC, _POST = "client_secret_basic", "client_secret_post"
_ISS_IS_SAID = "authorization_response_iss_parameter_supported"
_FORM = {
    "Accept": "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
}


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
        self._tokens = OidcTokens(settings, clock=clock)

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
        provider = await self._tokens.told()
        client = OAuth2Client(
            None,
            self._console.client_id,
            scope=[*dict.fromkeys(["openid", *self._console.scopes])],
            redirect_uri=back,
            code_challenge_method="S256",
        )
        address, _ = client.create_authorization_url(
            provider["authorization_endpoint"],
            state=_made(secret, "state"),
            nonce=_made(secret, "nonce"),
            code_verifier=_made(secret, "verifier"),
        )
        return str(address)

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
        provider = await self._tokens.told()
        # RFC 9207: a provider that says who it is does so always; without, it is another.
        who = None if provider.get(_ISS_IS_SAID) is True else self._issuer
        if said.get("iss", who) != self._issuer:
            raise SignInRefused("Another identity provider answered than was asked. Sign in again.")
        code = said.get("code", "")
        if not code or len(code) > CODE_CHARACTERS_MAX:
            raise SignInRefused(
                f"The identity provider let nobody in: {said.get('error', 'it says no code')[:100]}"
                ". Sign in again, or ask who runs it."
            )
        body = prepare_token_request(
            "authorization_code",
            redirect_uri=back,
            code=code,
            code_verifier=_made(secret, "verifier"),
        )
        address, headers, body = self._client(provider).prepare(
            "POST", provider["token_endpoint"], {**_FORM}, body
        )
        told = await self._tokens.exchanged(address, body, headers)
        granted = self._tokens.granted_to(await self._identity(told, _made(secret, "nonce")))
        if granted is None or not granted.roles:
            who = "You" if granted is None else granted.actor.id
            raise SignInRefused(
                f"{who}: known to the identity provider, but in no group that may do anything "
                "here. Ask an admin for a group that is granted a role."
            )
        return granted

    def _client(self, provider: dict[str, Any]) -> ClientAuth:
        client_id, secret = self._console.client_id, self._secret
        if secret is None:
            return ClientAuth(client_id, None, "none")
        taken = provider.get("token_endpoint_auth_methods_supported") or [_BASIC]
        if _BASIC not in taken and _POST in taken:
            return ClientAuth(client_id, secret, _POST)
        # RFC 6749, 2.3.1: both are encoded as in a form before they become a header, which the
        # library leaves to us.
        return ClientAuth(quote(client_id, safe=""), quote(secret, safe=""), _BASIC)

    async def _identity(self, told: Any, nonce: str) -> CodeIDToken:
        """Return what the token of identity says, once all about it was checked."""
        token = told.get("id_token") if isinstance(told, dict) else None
        try:
            signed = await self._tokens.signed(token) if isinstance(token, str) else None
            if signed is not None:
                client_id = self._console.client_id
                claims = CodeIDToken(
                    signed.claims,
                    signed.header,
                    {
                        "iss": {"essential": True, "value": self._issuer},
                        "aud": {"essential": True, "value": client_id},
                    },
                    {
                        "nonce": nonce,
                        "client_id": client_id,
                        "access_token": told.get("access_token"),
                    },
                )
                claims.validate(self._tokens.now_s, self._tokens.leeway_s)
                return claims
        except LogUnavailable as error:
            raise SignInRefused(error.message) from error
        except (JoseError, TypeError, ValueError):
            pass
        raise SignInRefused(
            "What the identity provider says of who you are can't be believed: expected a "
            f"token of {self._issuer} for {self._console.client_id}, and for this sign-in."
        )


def _made(secret: str, use: str) -> str:
    made = hmac.new(secret.encode(), f"meshline oidc {use}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


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
