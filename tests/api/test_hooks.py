"""Webhooks: a signed delivery is a trigger once, and nobody else gets in by this door."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshline.api.signatures import sign_standard
from meshline.api.webhooks import Webhook, Webhooks
from meshline.cli.exits import Exit
from meshline.cli.main import run
from meshline.events.errors import SettingsInvalid
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed, reaches
from tests.api.refunds import REFUNDS, refunds

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"order": "77"}'
BROKEN = b'{"order": "\xff"}'


@pytest.fixture
def webhooks(tmp_path: Path) -> Webhooks:
    found = Webhooks(tmp_path / "webhooks.toml")
    found.create("shop", Webhook(scheme="standard", source=REFUNDS, secrets=[SECRET]))
    return found


@pytest.fixture
async def meshline(postgres_address: str, webhooks: Webhooks) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(refunds), webhooks=webhooks) as installation:
        yield installation


def signed(delivery: str, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    now = int(time.time())
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(secret, delivery, now, body),
    }


async def send(
    client: httpx.AsyncClient, headers: Any, body: bytes = BODY, hook: str = "shop"
) -> httpx.Response:
    return await client.post(f"/v1/hooks/{hook}", content=body, headers=headers)


@pytest.mark.postgres
async def test_a_signed_delivery_is_a_run_and_again_the_same_run(meshline: Installation) -> None:
    async with meshline.as_(None) as nobody, meshline.as_("user:ada", "admin") as ada:
        first = await send(nobody.http, signed("msg_1"))
        again = await send(nobody.http, signed("msg_1"))
        broken = await send(nobody.http, signed("msg_2", BROKEN), BROKEN)
        run_id = first.json()["run_id"]
        await reaches(ada, run_id, "waiting")
        await meshline.until_seen("history")
        history = (await ada.get(f"/v1/runs/{run_id}/history"))["items"]

    assert (first.status_code, first.json()["status"]) == (202, "appended")
    assert again.json()["run_id"] == run_id
    assert (broken.status_code, broken.json()["status"]) == (202, "rejected")
    received = [e for e in history if e["type"] == "meshline.trigger.received.v1"]
    assert {e["actor"] for e in received} == {"service:webhook-shop"}
    assert received[0]["data"]["trigger_id"] == "msg_1"


@pytest.mark.postgres
async def test_who_has_no_secret_gets_no_further_and_a_changed_file_counts_at_once(
    meshline: Installation, webhooks: Webhooks
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        before = sum((await meshline.log.ends()).values())
        other, large = "whsec_b3RoZXI=", b"x" * 200_001
        refused = [
            await send(ada.http, signed("msg_1", secret=other)),
            await send(ada.http, signed("msg_1"), b'{"order": "78"}'),
            await send(ada.http, signed("msg_1"), hook="shops"),
            await send(ada.http, {"Content-Type": "application/json"}),
        ]
        wrong_type = await send(ada.http, signed("msg_1") | {"Content-Type": "text/plain"})
        too_large = await send(ada.http, signed("msg_1", large), large)
        await meshline.services.refusals.aclose()
        kept = sum((await meshline.log.ends()).values()) - before
        webhooks.rotate("shop", other)
        rotated = [await send(ada.http, signed("msg_3", secret=s)) for s in (SECRET, other)]
        webhooks.remove("shop")
        removed = await send(ada.http, signed("msg_4"))

    assert [answer.status_code for answer in refused] == [401] * 4
    assert (wrong_type.status_code, too_large.status_code) == (415, 413)
    # Those that claim an id of a known webhook are told, together or apart, and answered.
    assert 0 < kept <= 4
    assert [answer.status_code for answer in rotated] == [202, 202]
    assert removed.status_code == 401


def test_the_file_is_for_its_owner_alone_and_says_what_is_wrong(webhooks: Webhooks) -> None:
    path = webhooks.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert Webhooks(path).all() == webhooks.all()

    path.chmod(0o640)
    with pytest.raises(SettingsInvalid, match="chmod 600"):
        webhooks.all()
    path.chmod(0o600)
    path.write_text("[webhooks.shop]\nscheme = 'md5'\nsource = 's'\nsecrets = ['hidden']")
    with pytest.raises(SettingsInvalid, match=r"shop\.scheme") as told:
        Webhooks(path).all()
    assert "hidden" not in str(told.value)


def test_a_webhook_is_made_listed_and_removed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = ["--home", str(tmp_path)]

    assert run(["webhook", "create", "issues", "--source", "gh", "--scheme", "github", *home]) == 0
    secret = capsys.readouterr().out.strip()
    assert run(["webhook", "list", *home]) == Exit.OK
    listed = capsys.readouterr().out
    assert run(["webhook", "create", "issues", "--source", "gh", *home]) == Exit.USAGE
    assert run(["webhook", "rotate", "issues", *home]) == Exit.OK
    assert run(["webhook", "remove", "issues", *home]) == Exit.OK
    assert run(["webhook", "remove", "issues", *home]) == Exit.NOT_FOUND

    assert len(secret) == 64
    assert secret not in listed
    assert "github" in listed
