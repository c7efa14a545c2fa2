"""Who is let in, changed over HTTP: what comes back once, what is kept, and what the audit says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshline.api.admissions import Admissions
from meshline.api.problems import Denied, TooMany
from meshline.api.wrong_passwords import WRONG_MAX
from meshline.events.envelope import Actor
from meshline.events.errors import LogUnavailable
from meshline.events.people_requests import AccessChangeRequested
from meshline.projections.admitted import Granting
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed
from tests.api.leads import leads

pytestmark = pytest.mark.postgres
WHY = {"reason": "the new shop"}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


async def audited(ada: Client, count: int, **query: Any) -> list[dict[str, Any]]:
    """Return what the audit says of access, the oldest first, as soon as it says so much."""
    async with asyncio.timeout(90):
        while True:
            found = (await ada.get("/v1/audit", action="access.change", **query))["items"]
            if len(found) >= count and all(e["led_to"] or e["refusal"] for e in found):
                return list(found[::-1])
            await asyncio.sleep(0.05)


async def test_a_key_is_made_rotated_and_revoked_and_the_audit_says_by_whom_and_why(
    meshline: Installation,
) -> None:
    until = datetime.now(UTC) + timedelta(days=90)
    async with meshline.as_("user:ada", "admin") as ada:
        wanted = {
            "actor": "service:crm", "roles": ["source"], "sources": ["web.forms"],
            "expires_at": until.isoformat(), **WHY,
        }  # fmt: skip
        made = await ada.post("/v1/keys", wanted, status=201)
        crm = await meshline.keys.principal(made["key"])
        rotated = await ada.post(f"/v1/keys/{made['id']}/rotate", WHY | {"overlap_s": 0}, 201)
        await ada.post(f"/v1/keys/{rotated['id']}/revoke", {"reason": "lost"}, 200)
        listed = (await ada.get("/v1/keys"))["items"]
        said = await audited(ada, 3)

    assert (
        crm is not None
        and crm.actor.id == "service:crm"
        and crm.sources == frozenset(["web.forms"])
    )
    assert await meshline.keys.principal(made["key"]) is None
    assert await meshline.keys.principal(rotated["key"]) is None
    assert [(k["id"], k["made_by"]) for k in listed[:2]] == [
        (rotated["id"], "user:ada"), (made["id"], "user:ada"),
    ]  # fmt: skip
    assert (listed[0]["revoked_by"], listed[0]["revoked_for"]) == ("user:ada", "lost")
    assert [(e["what"], e["actor"], e["reason"]) for e in said] == [
        ("create key", "user:ada", "the new shop"),
        ("rotate key", "user:ada", "the new shop"),
        ("revoke key", "user:ada", "lost"),
    ]
    assert said[0]["about"] == (
        f"mlk_{made['id']} of service:crm as source; publishes for web.forms; "
        f"until {until:%Y-%m-%d %H:%M} UTC"
    )
    secrets = [made["key"].split("_", 2)[2], rotated["key"].split("_", 2)[2]]
    assert not any(secret in str((listed, said)) for secret in secrets)


async def test_a_user_is_made_narrowed_and_removed_and_who_is_signed_in_follows_at_once(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        made = await ada.post(
            "/v1/users", {"name": "sue", "roles": ["operator", "auditor"], **WHY}, status=201
        )
        token = await meshline.accounts.sign_in("sue", made["password"])
        sessions = (await ada.get("/v1/sessions"))["items"]
        narrowed = {"roles": ["viewer"], "queues": ["team:support"], **WHY}
        await ada.post("/v1/users/sue/change", narrowed, status=200)
        after = await meshline.accounts.principal(token)
        ended = await ada.post("/v1/sessions/end", {"actor": "user:sue", **WHY}, status=200)
        gone = await meshline.accounts.principal(token)
        changed = await ada.post("/v1/users/sue/password", WHY, status=200)
        old = await meshline.accounts.sign_in("sue", made["password"])
        new = await meshline.accounts.sign_in("sue", changed["password"])
        await ada.post("/v1/users/sue/remove", WHY, status=200)
        listed = (await ada.get("/v1/users"))["items"]
        said = await audited(ada, 5)

    assert [(s["actor"], s["roles"]) for s in sessions] == [("user:sue", ["operator", "auditor"])]
    assert after is not None and after.scope is not None
    assert after.permissions == {"view.read"}
    assert ended == {"sessions": 1} and gone is None
    assert old is None and new is not None
    assert await meshline.accounts.principal(new) is None
    assert listed == []
    assert [e["what"] for e in said] == [
        "create user", "change user", "end sessions", "change password", "remove user",
    ]  # fmt: skip
    assert said[1]["about"] == "user:sue as viewer; sees team:support"
    assert made["password"] not in str(said) and changed["password"] not in str(said)


OLD, NEW = "correct horse battery", "staple, correct again"


async def test_everybody_changes_their_own_password_by_the_old_one(meshline: Installation) -> None:
    for name in ("sue", "bob"):
        await meshline.accounts.create(name, ["viewer"], made_by="user:test", password=OLD)
    sues = await meshline.accounts.sign_in("sue", OLD)
    bobs = await meshline.accounts.sign_in("bob", OLD)
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:sue", "viewer", queues=["team:support"]) as sue,
    ):
        wrong = await sue.post("/v1/account/password", {"old": NEW, "new": NEW + "!"}, status=403)
        still = await meshline.accounts.principal(sues)
        changed = await sue.post("/v1/account/password", {"old": OLD, "new": NEW}, status=200)
        said = await audited(ada, 2)

    assert "Nothing was changed" in wrong["detail"] and still is not None
    assert changed == {"name": "sue"}
    assert await meshline.accounts.principal(sues) is None
    assert await meshline.accounts.principal(bobs) is not None
    assert await meshline.accounts.sign_in("sue", OLD) is None
    assert await meshline.accounts.sign_in("sue", NEW) is not None
    done, refused = sorted(said, key=lambda e: e["status"] == "refused")
    assert (done["what"], done["about"], done["actor"]) == (
        "change password", "user:sue", "user:sue",
    )  # fmt: skip
    assert (refused["actor"], refused["code"]) == ("user:sue", "ML6002")
    assert OLD not in str(said) and NEW not in str(said)


async def test_a_password_of_ones_own_is_tried_as_often_as_at_the_sign_in(
    meshline: Installation,
) -> None:
    await meshline.accounts.create("sue", ["viewer"], made_by="user:test", password=OLD)
    async with meshline.as_("user:sue", "viewer") as sue:
        for number in range(WRONG_MAX):
            if number % 2:
                assert await meshline.accounts.sign_in("sue", "wrong") is None
            else:
                tried = {"old": "wrong", "new": NEW}
                await sue.post("/v1/account/password", tried, status=403)
        answer = await sue.http.post("/v1/account/password", json={"old": OLD, "new": NEW})

    assert answer.status_code == 429 and answer.headers["Retry-After"] == "900"
    with pytest.raises(TooMany):
        await meshline.accounts.sign_in("sue", NEW)


async def test_no_password_of_ones_own_where_there_is_none_or_it_cannot_be(
    meshline: Installation,
) -> None:
    await meshline.accounts.create("sue", ["viewer"], made_by="user:test", password=OLD)
    token = await meshline.accounts.sign_in("sue", OLD)
    async with (
        meshline.as_("user:sue", "viewer") as sue,
        meshline.as_("user:eve", "admin") as eve,
        meshline.as_("service:sue", "source") as service,
    ):
        for body, said in (
            ({"old": OLD, "new": "short"}, "5 characters: expected 12"),
            ({"old": OLD, "new": OLD}, "expected another"),
            ({"old": OLD, "new": "x" * 201}, "200"),
        ):
            refused = await sue.post("/v1/account/password", body, status=422)
            assert said in refused["detail"]
        for nobody in (eve, service):
            tried = {"old": OLD, "new": NEW}
            assert "no password here" in str(await nobody.post("/v1/account/password", tried, 404))

    assert await meshline.accounts.principal(token) is not None
    assert await meshline.accounts.sign_in("sue", OLD) is not None


async def test_a_password_that_came_between_is_not_overwritten(meshline: Installation) -> None:
    await meshline.accounts.create("sue", ["viewer"], made_by="user:test", password=OLD)

    async def tell(by: Actor, asked: AccessChangeRequested) -> None:
        await meshline.accounts.set_password("sue", "what the admin gave")

    admissions = Admissions(meshline.keys, meshline.accounts, tell)
    with pytest.raises(Denied):
        await admissions.change_own_password(OLD, NEW, by=Actor("user", "user:sue"))

    assert await meshline.accounts.sign_in("sue", "what the admin gave") is not None


async def test_what_is_refused_is_in_the_audit_too_and_nothing_is_done(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:olga", "operator", "auditor") as olga,
        meshline.as_("user:lou", "admin", queues=["team:support"]) as lou,
    ):
        wanted = {"actor": "user:olga", "roles": ["admin"], **WHY}
        await olga.post("/v1/keys", wanted, status=403)
        await lou.post("/v1/users", {"name": "eve", "roles": ["admin"], **WHY}, status=403)
        await olga.get("/v1/keys", status=403)
        said = await audited(ada, 2)
        await olga.get("/v1/runs/access/reasons", status=404)
        await ada.get("/v1/runs/access/history", status=404)
        keys = (await ada.get("/v1/keys"))["items"]

    assert sorted((e["actor"], e["code"]) for e in said) == [
        ("user:lou", "ML6002"), ("user:olga", "ML6002"),
    ]  # fmt: skip
    assert len(keys) == 3 and await meshline.accounts.all() == []


WRONG: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("/v1/keys", {"actor": "crm", "roles": ["source"], **WHY}, 422, "user:NAME"),
    ("/v1/keys", {"actor": "user:a\u202eda", "roles": ["source"], **WHY}, 422, "user:NAME"),
    ("/v1/keys", {"actor": "user:ada", "roles": ["king"], **WHY}, 422, "expected some of"),
    ("/v1/keys", {"actor": "user:ada", "roles": [], **WHY}, 422, "none"),
    ("/v1/keys", {"actor": "user:ada", "roles": ["viewer"], "queues": ["\n"], **WHY}, 422, "q"),
    ("/v1/keys", {"actor": "user:ada", "roles": ["viewer"]}, 422, "reason"),
    (
        "/v1/keys",
        {"actor": "user:ada", "roles": ["viewer"], "made_by": "user:eve", **WHY},
        422,
        "made_by",
    ),
    (
        "/v1/keys",
        {"actor": "user:a", "roles": ["viewer"], "expires_at": "2020-01-01T00:00:00Z", **WHY},
        422,
        "over",
    ),
    ("/v1/keys/none/rotate", WHY, 404, "meshline key list"),
    ("/v1/keys/none/revoke", WHY, 404, "meshline key list"),
    ("/v1/users", {"name": "Ada B", "roles": ["viewer"], **WHY}, 422, "lower-case"),
    ("/v1/users/none/change", {"roles": ["viewer"], **WHY}, 404, "meshline user list"),
    ("/v1/users/none/password", WHY, 404, "meshline user list"),
    ("/v1/users/none/remove", WHY, 404, "meshline user list"),
    ("/v1/sessions/end", {"actor": "everybody", **WHY}, 422, "user:NAME"),
)


async def test_what_cannot_be_is_told_and_not_done(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        for path, body, status, said in WRONG:
            answer = await ada.http.post(path, json=body)
            assert answer.status_code == status, (path, body, answer.text)
            assert said in answer.text, (path, body)
        assert len((await ada.get("/v1/keys"))["items"]) == 1
        assert (await ada.get("/v1/users"))["items"] == []
        assert (await ada.get("/v1/audit", action="access.change"))["items"] == []


async def test_an_admin_shuts_others_out_and_not_themselves(meshline: Installation) -> None:
    await meshline.accounts.create("ada", ["admin"], made_by="user:test")
    async with meshline.as_("user:ada", "admin") as ada:
        for path, body in (
            ("/v1/users/ada/remove", WHY),
            ("/v1/users/ada/change", WHY | {"roles": ["viewer"]}),
            ("/v1/users/ada/change", WHY | {"roles": ["admin"], "queues": ["team:a"]}),
        ):
            refused = await ada.post(path, body, status=422)
            assert "shut yourself out" in refused["detail"]
        await ada.post("/v1/users/ada/change", WHY | {"roles": ["admin", "viewer"]}, status=200)

    assert [user.roles for user in await meshline.accounts.all()] == [["admin", "viewer"]]


async def test_without_a_log_nobody_is_let_in_and_everybody_can_be_shut_out(
    meshline: Installation,
) -> None:
    async def tell(by: Actor, asked: AccessChangeRequested) -> None:
        raise LogUnavailable("The log does not answer.")

    ada = Actor("user", "user:ada")
    admissions = Admissions(meshline.keys, meshline.accounts, tell)
    key, secret = await meshline.keys.create("service:crm", ["source"], made_by="user:test")
    await meshline.accounts.create("bob", ["viewer"], made_by="user:test", password=OLD)

    with pytest.raises(LogUnavailable):
        await admissions.create_key("service:crm", Granting(["source"]), by=ada)
    with pytest.raises(LogUnavailable):
        await admissions.rotate_key(key.id, by=ada)
    with pytest.raises(LogUnavailable):
        await admissions.create_user("eve", Granting(["viewer"]), by=ada)
    with pytest.raises(LogUnavailable):
        await admissions.change_user("bob", Granting(["admin"]), by=ada)
    with pytest.raises(LogUnavailable):
        await admissions.change_own_password(OLD, NEW, by=Actor("user", "user:bob"))
    still = await meshline.keys.principal(secret)
    await admissions.revoke_key(key.id, by=ada, reason="stolen")
    await admissions.remove_user("bob", by=ada, reason="left")

    assert still is not None
    assert await meshline.keys.principal(secret) is None
    assert len(await meshline.keys.all()) == 1 and await meshline.accounts.all() == []
