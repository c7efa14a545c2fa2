"""Keys and users from the command line: the same over a server as where they are kept."""

from __future__ import annotations

import asyncio
import getpass
import io
import json
from collections.abc import AsyncIterator

import pytest

from meshline.cli.exits import Exit
from meshline.cli.serve import listening
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed
from tests.api.leads import leads
from tests.cli.test_call_server import Terminal

pytestmark = pytest.mark.postgres
WHY = ("--reason", "the new shop")


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


async def test_over_a_server_and_where_they_are_kept_it_is_the_same_and_the_audit_has_it(
    meshline: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    postgres_address: str,
) -> None:  # fmt: skip
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:olga", "operator") as olga,
        meshline.as_("user:sue", "viewer") as sue,
    ):
        key = ada.http.headers["Authorization"].removeprefix("Bearer ")
        olgas = olga.http.headers["Authorization"].removeprefix("Bearer ")
        sues = sue.http.headers["Authorization"].removeprefix("Bearer ")
        terminal = Terminal(capsys, monkeypatch, address, key, postgres_address)

        async def does(*words: str) -> str:
            code, out, err = await terminal.over_the_server(*words)
            assert code == Exit.OK, f"{words}: {out}{err}"
            return out

        wanted = ("service:crm", "--role", "source", "--source", "web.forms")
        made = json.loads(await does("key", "create", *wanted, *WHY, "--output", "json"))
        crm = await meshline.keys.principal(made["key"])
        new = (await does("key", "rotate", made["id"], "--overlap", "0s", *WHY)).split("_")[1]
        listed = await does("key", "list")
        password = (await does("user", "create", "sue", "--role", "operator", *WHY)).strip()
        token = await meshline.accounts.sign_in("sue", password)
        sessions = await does("user", "sessions")
        await does("user", "change", "sue", "--role", "viewer", "--queue", "team:emea", *WHY)
        users = await does("user", "list")
        await does("user", "sign-out", "user:sue", *WHY)
        gone = await meshline.accounts.principal(token)
        await does("user", "password", "sue", *WHY)
        given = await meshline.accounts.set_password("sue")
        typed = io.TextIOWrapper(io.BytesIO(f"{given}\nstaple, correct again\n".encode()))
        monkeypatch.setattr("sys.stdin", typed)
        own = await terminal.over_the_server("user", "password", key=sues)
        changed = await meshline.accounts.sign_in("sue", "staple, correct again")
        nothing = await terminal.over_the_server("user", "password", key=sues)
        here = await terminal.where_it_is("user", "password")
        await does("user", "remove", "sue", *WHY)
        revoked = await terminal.where_it_is("key", "revoke", new, "--reason", "lost")

        refused = await terminal.over_the_server("key", "list", key=olgas)
        silent = await terminal.over_the_server("user", "remove", "sue")
        missing = await terminal.over_the_server("user", "remove", "sue", *WHY)
        audit: list[dict[str, str]] = []
        async with asyncio.timeout(90):
            while len(audit) < 9:
                await asyncio.sleep(0.05)
                audit = (await ada.get("/v1/audit", action="access.change"))["items"]

    assert refused[0] == Exit.REFUSED and "access.manage" in refused[2]
    assert silent[0] == Exit.USAGE and "--reason" in silent[2]
    assert missing[0] == Exit.NOT_FOUND
    assert revoked[0] == Exit.OK
    assert crm is not None and crm.sources == frozenset(["web.forms"])
    assert made["id"] in listed and new in listed and "user:sue" in sessions
    assert "team:emea" in users and gone is None
    key_after = await meshline.keys.one(new)
    assert key_after.revoked_for == "lost"
    assert [e["what"] for e in audit[::-1]] == [
        "create key", "rotate key", "create user", "change user", "end sessions",
        "change password", "change password", "remove user", "revoke key",
    ]  # fmt: skip
    assert {e["actor"] for e in audit[1:]} == {"user:ada", "user:sue"}
    assert own[0] == Exit.OK and "sue has another password" in own[2] and changed is not None
    assert nothing[0] == Exit.USAGE and "no line" in nothing[2]
    assert here[0] == Exit.USAGE and "--server" in here[2]
    assert audit[0]["actor"] == f"user:{getpass.getuser()}" == key_after.revoked_by
