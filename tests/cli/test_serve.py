"""``meshline serve`` and ``meshline key``: what they refuse, and what a key is worth."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from meshline.cli.errors import AddressInUse
from meshline.cli.exits import Exit
from meshline.cli.main import run
from meshline.cli.serve import listening


async def pong(scope: dict[str, str], receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"pong"})  # type: ignore[operator]


async def test_it_answers_where_it_says_until_the_context_ends() -> None:
    async with (
        listening(pong, "127.0.0.1", 0) as address,
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(address)).text == "pong"

    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{port}.*--port"):
            async with listening(pong, "127.0.0.1", port):
                pass


def test_an_address_for_others_needs_a_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["serve", "--host", "0.0.0.0", "--home", str(tmp_path)]) == Exit.USAGE

    assert "--host-name" in capsys.readouterr().err


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "ada", "--role", "viewer"], "user:NAME or service:NAME"),
        (["create", "user:ada", "--role", "king"], "source, worker, viewer"),
        (["revoke", "0123456789ab"], "meshline key list"),
    ],
)
def test_what_is_no_key_is_refused(
    words: list[str], said: str, postgres_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["key", *words, "--views", postgres_address])

    assert code in (Exit.USAGE, Exit.NOT_FOUND)
    assert said in capsys.readouterr().err


@pytest.mark.postgres
def test_a_key_is_shown_once_and_can_be_revoked(
    postgres_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--views", postgres_address]
    assert run(["key", "create", "user:ada", "--role", "viewer", *where]) == Exit.OK
    key = capsys.readouterr().out.strip()
    key_id, secret = key.split("_", 2)[1:]

    assert run(["key", "list", *where]) == Exit.OK
    listed = capsys.readouterr().out
    assert run(["key", "revoke", key_id, *where]) == Exit.OK
    assert run(["key", "list", *where]) == Exit.OK

    assert key_id in listed
    assert secret not in listed
    assert "good" in listed
    assert "revoked" in capsys.readouterr().out
