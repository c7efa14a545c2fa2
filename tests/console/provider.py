"""A small identity provider on this machine: it lets in whom it is told to, and checks PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from meshline.cli.serve import listening

__all__ = ["CLIENT", "SECRET", "IdentityProvider", "providing"]

CLIENT, SECRET = "meshline-console", "s3cret & more"


@dataclass
class IdentityProvider:
    """``claims`` are of who signs in next; ``changed`` are lies in the next token."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    denies: bool = False
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
        }

    async def keys(self) -> Any:
        shown = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [shown | {"kid": "k1", "use": "sig", "alg": "RS256"}]}

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

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        made = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(made).decode().rstrip("=")
        kind, _, told = request.headers.get("authorization", "").partition(" ")
        client = unquote(base64.b64decode(told).decode()) if kind == "Basic" else ""
        is_good = (
            asked is not None
            and form["grant_type"] == "authorization_code"
            and proof == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
            and client == f"{CLIENT}:{SECRET}"
        )
        if not is_good or asked is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "1", "nonce": asked["nonce"],
            "iat": now, "exp": now + 60,
        } | self.claims | self.changed  # fmt: skip
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})
        return JSONResponse({"id_token": token, "access_token": "x", "token_type": "Bearer"})


@asynccontextmanager
async def providing() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider()
    async with listening(provider.app(), "127.0.0.1", 0) as address:
        provider.issuer = address
        yield provider
