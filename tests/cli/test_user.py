"""``meshline user``: who signs in to the console."""

from __future__ import annotations

import pytest

from meshline.cli.exits import Exit
from meshline.cli.main import run

pytestmark = pytest.mark.postgres


def test_a_password_is_shown_once_and_a_user_can_be_removed(
    postgres_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--views", postgres_address]
    assert run(["user", "create", "ada", "--role", "operator", "--role", "approver", *where]) == 0
    first = capsys.readouterr().out.strip()
    assert run(["user", "password", "ada", *where]) == Exit.OK
    second = capsys.readouterr().out.strip()

    assert run(["user", "list", *where]) == Exit.OK
    listed = capsys.readouterr().out
    assert run(["user", "remove", "ada", *where]) == Exit.OK
    assert run(["user", "list", *where]) == Exit.OK
    after = capsys.readouterr().out

    assert len(first) >= 16 and first != second
    assert "ada" in listed and "operator, approver" in listed
    assert first not in listed and second not in listed
    assert "ada" not in after


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "Ada B", "--role", "viewer"], Exit.USAGE, "lower-case letters"),
        (["create", "ada", "--role", "king"], Exit.USAGE, "viewer, auditor"),
        (["password", "nobody"], Exit.NOT_FOUND, "meshline user list"),
        (["remove", "nobody"], Exit.NOT_FOUND, "meshline user list"),
    ],
)
def test_what_is_no_user_is_refused(
    words: list[str], code: Exit, said: str, postgres_address: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(["user", *words, "--views", postgres_address]) == code
    assert said in capsys.readouterr().err
