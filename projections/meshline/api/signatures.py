"""Signatures of webhooks: who sent a body, and when, in three schemes.

Pure: the time is handed in. Compared is in constant time, against each of several secrets, so that
a secret can be changed while both are in use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

__all__ = ["SCHEMES", "Scheme", "Signed", "sign_standard", "verified"]

Scheme = Literal["standard", "github", "stripe"]

SIGNATURES_MAX = 20
"""Signatures of one request that are looked at."""

Secrets = Sequence[str]

_SECONDS = re.compile(r"[0-9]{1,12}")


class Signed(NamedTuple):
    """Args:
    delivery: the sender's id of this delivery, where the scheme has one.
    """

    delivery: str | None


def verified(
    scheme: Scheme,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now_s: float,
    tolerance_s: float,
) -> Signed | None:
    """Return what a request says of itself, if one of the secrets signed it; None if none did.

    Args:
        headers: by their names in small letters.
        tolerance_s: so far its time may be from now, where the scheme has a time.
    """
    return SCHEMES[scheme](headers, body, secrets, now_s, tolerance_s)


def sign_standard(secret: str, delivery: str, time_s: int, body: bytes) -> str:
    """Return the header ``webhook-signature`` of Standard Webhooks."""
    digest = _hmac(_standard_key(secret), f"{delivery}.{time_s}.".encode() + body)
    return "v1," + base64.b64encode(digest).decode()


def _standard(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now_s: float,
    tolerance_s: float,
) -> Signed | None:
    """https://github.com/standard-webhooks/standard-webhooks: over id, time and body."""
    delivery, time = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not delivery or "." in delivery or not _is_now(time, now_s, tolerance_s):
        return None
    given = [
        _decoded(text.removeprefix("v1,"))
        for text in headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]
        if text.startswith("v1,")
    ]
    signed = f"{delivery}.{time}.".encode() + body
    keys = [_standard_key(secret) for secret in secrets]
    return Signed(delivery) if _one_fits(given, [_hmac(key, signed) for key in keys]) else None


def _github(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now_s: float,
    tolerance_s: float,
) -> Signed | None:
    """GitHub signs the body alone: its scheme has no time, and the delivery's id is not signed."""
    text = headers.get("x-hub-signature-256", "")
    given = [_from_hex(text.removeprefix("sha256="))] if text.startswith("sha256=") else []
    expected = [_hmac(secret.encode(), body) for secret in secrets]
    return Signed(headers.get("x-github-delivery")) if _one_fits(given, expected) else None


def _stripe(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now_s: float,
    tolerance_s: float,
) -> Signed | None:
    """Stripe signs time and body; the event's id is in the body."""
    parts = [part.partition("=") for part in headers.get("stripe-signature", "").split(",")]
    times = [value for name, _, value in parts if name.strip() == "t"]
    if len(times) != 1 or not _is_now(times[0], now_s, tolerance_s):
        return None
    found = [_from_hex(value) for name, _, value in parts if name.strip() == "v1"]
    signed = f"{times[0]}.".encode() + body
    expected = [_hmac(secret.encode(), signed) for secret in secrets]
    return Signed(None) if _one_fits(found[:SIGNATURES_MAX], expected) else None


Verify = Callable[[Mapping[str, str], bytes, Sequence[str], float, float], Signed | None]
SCHEMES: dict[Scheme, Verify] = {"standard": _standard, "github": _github, "stripe": _stripe}


def _is_now(time: str, now_s: float, tolerance_s: float) -> bool:
    return _SECONDS.fullmatch(time) is not None and abs(now_s - int(time)) <= tolerance_s


def _one_fits(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    # Each pair is compared, whatever fits first: how long it takes tells nothing.
    return any(list(_compared(given, expected)))


def _compared(given: Sequence[bytes], expected: Sequence[bytes]) -> Iterator[bool]:
    for left in given:
        for right in expected:
            yield hmac.compare_digest(left, right)


def _hmac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, hashlib.sha256)


def _standard_key(secret: str) -> bytes:
    return _decoded(secret.removeprefix("whsec_")) or secret.encode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
