"""Signatures of webhooks, against what the schemes publish as examples."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from meshline.api.signatures import sign_standard, verified

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_TIME = 1_614_265_330
STANDARD_BODY = b'{"test": 2432232314}'
# The example of the Standard Webhooks libraries.
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_TIME),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
# The example of GitHub's documentation.
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a"
    "37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
}
STRIPE_SECRET = "whsec_test_secret"
STRIPE_BODY = b'{"id":"evt_1","object":"event"}'


def stripe(secret: str = STRIPE_SECRET, time_s: int = STANDARD_TIME) -> dict[str, str]:
    """As Stripe's documentation says: hex of HMAC-SHA256 over time, a dot and the body."""
    signed = f"{time_s}.{STRIPE_BODY.decode()}"
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={time_s},v1={digest},v0=ffff"}


def found(scheme: Any, headers: Any, body: bytes, *secrets: str, late_s: float = 0) -> Any:
    return verified(scheme, headers, body, secrets, STANDARD_TIME + late_s, 300)


def test_the_published_examples_are_verified() -> None:
    standard = found("standard", STANDARD, STANDARD_BODY, STANDARD_SECRET)
    github = found("github", GITHUB, GITHUB_BODY, GITHUB_SECRET)

    assert standard.delivery == STANDARD["webhook-id"]
    assert github.delivery == GITHUB["x-github-delivery"]
    assert found("stripe", stripe(), STRIPE_BODY, STRIPE_SECRET) is not None
    assert (
        sign_standard(STANDARD_SECRET, STANDARD["webhook-id"], STANDARD_TIME, STANDARD_BODY)
        == (STANDARD["webhook-signature"])
    )


@pytest.mark.parametrize("late_s", [-301, 301, 3600])
def test_what_is_too_old_or_from_the_future_is_refused(late_s: float) -> None:
    assert found("standard", STANDARD, STANDARD_BODY, STANDARD_SECRET, late_s=late_s) is None
    assert found("stripe", stripe(), STRIPE_BODY, STRIPE_SECRET, late_s=late_s) is None


@pytest.mark.parametrize("late_s", [-300, 0, 300])
def test_clocks_may_differ_a_little(late_s: float) -> None:
    assert found("standard", STANDARD, STANDARD_BODY, STANDARD_SECRET, late_s=late_s)
    assert found("stripe", stripe(), STRIPE_BODY, STRIPE_SECRET, late_s=late_s)


def test_each_of_several_secrets_and_of_several_signatures_counts() -> None:
    old, new = "whsec_b2xk", STANDARD_SECRET
    other = sign_standard(old, STANDARD["webhook-id"], STANDARD_TIME, STANDARD_BODY)
    both = {**STANDARD, "webhook-signature": f"v1a,x {other} {STANDARD['webhook-signature']}"}

    assert found("standard", STANDARD, STANDARD_BODY, old, new)
    assert found("standard", both, STANDARD_BODY, new)
    assert found("github", GITHUB, GITHUB_BODY, "another", GITHUB_SECRET)
    assert found("stripe", stripe(), STRIPE_BODY, "another", STRIPE_SECRET)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330"},
        {"webhook-timestamp": str(STANDARD_TIME + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "-1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": ""},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,not base64"},
    ],
)
def test_what_was_changed_is_refused(changed: dict[str, str]) -> None:
    assert found("standard", STANDARD | changed, STANDARD_BODY, STANDARD_SECRET) is None


@pytest.mark.parametrize("scheme", ["standard", "github", "stripe"])
def test_another_body_another_secret_and_no_signature_are_refused(scheme: Any) -> None:
    headers = STANDARD | GITHUB | stripe()
    known = (STANDARD_SECRET, GITHUB_SECRET, STRIPE_SECRET)

    assert found(scheme, headers, b"{}", *known) is None
    assert found(scheme, headers, STANDARD_BODY, "whsec_AAAA") is None
    assert found(scheme, {}, STANDARD_BODY, *known) is None
