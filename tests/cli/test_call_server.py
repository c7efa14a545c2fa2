"""The command line over a server: the same commands, and the same output, as where the log is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshline.cli.exits import Exit
from meshline.cli.main import run as type_in
from meshline.cli.serve import listening
from meshline.workflow.registry import Registry
from tests.api.installation import Installation, installed
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}
NOBODY = ADA | {"company": "Nobody", "employees": 3}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


class Terminal:
    """Types a command line twice: over the server, and where the log and the views are."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
        server: str, key: str, local: str,
    ) -> None:  # fmt: skip
        self._capsys, self._patch = capsys, monkeypatch
        self._server, self._key, self._local = server, key, local

    async def over_the_server(self, *words: str, key: str | None = None) -> tuple[int, str, str]:
        self._patch.setenv("MESHLINE_SERVER", self._server)
        self._patch.setenv("MESHLINE_KEY", key or self._key)
        return await self._typed(*words)

    async def where_it_is(self, *words: str) -> tuple[int, str, str]:
        self._patch.delenv("MESHLINE_SERVER", raising=False)
        return await self._typed(*words, "--log", self._local)

    async def _typed(self, *words: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = await asyncio.to_thread(type_in, list(words))
        said = self._capsys.readouterr()
        return code, said.out, said.err


async def test_each_command_says_over_a_server_what_it_says_where_the_log_is(
    meshline: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    postgres_address: str,
) -> None:  # fmt: skip
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
    ):
        key = ada.http.headers["Authorization"].removeprefix("Bearer ")
        terminal = Terminal(capsys, monkeypatch, address, key, postgres_address)
        typed = terminal.over_the_server

        async def does(*words: str, code: int = Exit.OK) -> str:
            found, out, err = await typed(*words)
            assert found == code, f"{words}: {out}{err}"
            return out

        await does("publish", SOURCE, json.dumps(ADA), "--id", "F-1")
        again = await does("publish", SOURCE, json.dumps(ADA), "--id", "F-1")
        rejected = await does("publish", SOURCE, "{}", "--id", "F-2", code=Exit.REFUSED)
        await does("publish", SOURCE, json.dumps(NOBODY), "--id", "F-3")
        run, held = f"{SOURCE}/F-1", f"{SOURCE}/F-3"
        await does("run", "watch", run, "--until", "waiting")
        await does("run", "watch", held, "--until", "held")
        await does("approval", "claim", run)
        away = ("owner", "away", "user:ada", "--until", "2d", "--substitute", "user:bob")
        assert "accepted" in await does(*away)
        looks: list[list[str]] = [
            ["run", "list"],
            ["run", "list", "--state", "held"],
            ["run", "show", run],
            ["run", "history", run, "--full"],
            ["exception", "list"],
            ["exception", "groups"],
            ["approval", "list"],
            ["task", "list"],
            ["task", "show", run],
            ["owner", "list"],
            ["owner", "absences"],
            ["work", "list", "--user", "user:bob"],
            ["work", "people"],
            ["work", "queues"],
            ["trigger", "list", "--status", "rejected"],
            ["workflow", "list"],
            ["run", "list", "--as-of", "2100-01-01"],
            ["run", "show", held, "--as-of", "2100-01-01"],
        ]
        for look in looks:
            there = await typed(*look, "-o", "json")
            here = await terminal.where_it_is(*look, "-o", "json")
            assert there == here, look
            assert json.loads(there[1]), look
        [exception] = json.loads(await does("exception", "list", "-o", "json"))
        await does("exception", "assign", "user:bob", exception["exception_id"])
        await does("exception", "skip", exception["exception_id"], "--value", '"By hand"')
        await does("owner", "assign", run, "user:eve", "--reason", "on leave")
        assert "user:ada has it" in await does("work", "list")
        await does("approval", "comment", run, "--text", "looks good")
        await does("approval", "approve", run)
        assert "accepted" in await does("owner", "back", "user:ada")
        await does("run", "watch", run, "--until", "succeeded")
        await does("approval", "deny", run, "big_deal", "--reason", "late", code=Exit.REFUSED)
        await does("run", "show", "ffff", code=Exit.NOT_FOUND)
        assert "history" in await does("view", "list")
        told = await typed("run", "list", key="mlk_0123456789ab_" + "x" * 43)
        as_other = await typed("run", "cancel", run, "--as", "user:boss")
        of_the_log = await typed("log", "info")

    assert "repeated" in again
    assert "rejected" in rejected
    assert told[0] == Exit.USAGE
    assert "ML6001" in told[2]
    assert as_other[0] == Exit.USAGE
    assert "the key that says who" in as_other[2]
    assert of_the_log[0] == Exit.USAGE


def test_a_server_without_a_key_or_that_is_not_there_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    nowhere = ["run", "list", "--server", "http://127.0.0.1:9"]
    monkeypatch.delenv("MESHLINE_KEY", raising=False)
    assert type_in(nowhere) == Exit.USAGE
    assert "MESHLINE_KEY" in capsys.readouterr().err

    (tmp_path / "key").write_text("mlk_x\n")
    monkeypatch.setenv("MESHLINE_KEY_FILE", str(tmp_path / "key"))
    assert type_in(nowhere) == Exit.UNREACHABLE
    assert "did not answer in 5 tries" in capsys.readouterr().err
