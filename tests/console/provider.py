"""A small identity provider on this machine: it lets in whom it is told to, and checks PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from meshline.cli.serve import listening

__all__ = ["ACCESS", "CLIENT", "SECRET", "IdentityProvider", "providing"]

CLIENT, SECRET, ACCESS = "meshline-console", "s3cret & mo%re:", "an access token"


@dataclass
class IdentityProvider:
    """``claims`` are of who signs in next; ``changed`` are lies in the next token.

    ``forged`` makes another token of what the next one says; ``fails`` is what the token endpoint
    answers instead.
    """

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    denies: bool = False
    says_who: bool = True
    method: str = "client_secret_basic"
    key_id: str = "k1"
    forged: Callable[[dict[str, Any]], str] | None = None
    fails: Response | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/.well-known/openid-configuration")(self.configuration)
        app.get("/authorize")(self.authorize)
        app.post("/token")(self.token)
        app.get("/keys")(self.keys)
        return app

    async def configuration(self) -> Any:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "token_endpoint_auth_methods_supported": [self.method],
            "authorization_response_iss_parameter_supported": self.says_who,
        }

    async def keys(self) -> Any:
        shown = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [shown | {"kid": self.key_id, "use": "sig", "alg": "RS256"}]}

    def rotate(self) -> None:
        self.key, self.key_id = rsa.generate_private_key(65537, 2048), "k2"

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == CLIENT and "openid" in asked["scope"].split()
        back = {"state": asked["state"], "iss": self.issuer}
        if self.denies:
            back["error"] = "access_denied"
        else:
            back["code"] = secrets.token_urlsafe(16)
            self.codes[back["code"]] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    def is_client(self, request: Request, form: dict[str, str]) -> bool:
        """Whether it is the console that asks, in the way that was agreed on."""
        said = request.headers.get("authorization", "")
        if self.method == "client_secret_post":
            return not said and (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
        both = f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}"
        return said == f"Basic {base64.b64encode(both.encode()).decode()}"

    async def token(self, request: Request) -> Response:
        if self.fails is not None:
            return self.fails
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        made = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(made).decode().rstrip("=")
        is_good = (
            asked is not None
            and form["grant_type"] == "authorization_code"
            and proof == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
            and self.is_client(request, form)
        )
        if not is_good or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "1", "nonce": asked["nonce"],
            "iat": now, "exp": now + 60,
        } | self.claims | self.changed  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.forged is not None:
            token = self.forged(claims)
        else:
            token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.key_id})
        return JSONResponse({"id_token": token, "access_token": ACCESS, "token_type": "Bearer"})


@asynccontextmanager
async def providing() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider()
    async with listening(provider.app(), "127.0.0.1", 0) as address:
        provider.issuer = address
        yield provider
