"""Where a bar is shown."""

from __future__ import annotations

from io import StringIO

import pytest

from meshline.cli.output import Form, Output
from meshline.cli.progress import Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _with_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(stdout: StringIO, stderr: StringIO, *, beside_data: bool = False) -> bool:
    output = Output(Form.text, stdout, stderr)
    with Progress(output, "Rebuilding", None, beside_data=beside_data) as bar:
        bar.advance(3, total=100)
        is_shown = bar.is_shown
    assert ("Rebuilding" in stderr.getvalue()) == is_shown
    return is_shown


def test_a_person_at_a_terminal_sees_a_bar() -> None:
    assert shown(Terminal(), Terminal())
    assert shown(StringIO(), Terminal())


def test_a_file_has_none() -> None:
    assert not shown(Terminal(), StringIO())


def test_data_in_the_same_terminal_are_not_torn_apart() -> None:
    assert not shown(Terminal(), Terminal(), beside_data=True)
    assert shown(StringIO(), Terminal(), beside_data=True)


def test_words_are_said_with_and_without_a_bar() -> None:
    for stdout, stderr in ((Terminal(), Terminal()), (StringIO(), StringIO())):
        with Progress(Output(Form.text, stdout, stderr), "Rebuilding", 100) as bar:
            bar.say("Paused.")
        assert "Paused." in stderr.getvalue()
