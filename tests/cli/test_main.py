"""The first word of a command line, how commands end, and what is told of errors."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from meshline.cli.exits import MEANINGS, Exit
from meshline.cli.main import run
from meshline.cli.nouns import NOUNS

Captured = pytest.CaptureFixture[str]


def test_the_help_names_every_command(capsys: Captured) -> None:
    code = run(["--help"])

    text = capsys.readouterr().out
    assert code == Exit.OK
    assert [noun for noun in NOUNS if f"\n  {noun} " not in text] == []


def test_the_help_has_each_section_once(capsys: Captured) -> None:
    run(["--help"])

    sections = list(dict.fromkeys(noun.section for noun in NOUNS.values()))
    shown = [line.rstrip(":") for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if line in sections] == sections


def test_no_command_is_a_mistake_that_shows_the_help(capsys: Captured) -> None:
    assert run([]) == Exit.USAGE
    assert "Usage: meshline" in capsys.readouterr().out


@pytest.mark.parametrize("noun", NOUNS)
def test_every_command_has_help_with_examples(noun: str, capsys: Captured) -> None:
    code = run([noun, "--help"])

    assert code == Exit.OK
    assert f"Usage: meshline {noun}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        *(["run", name] for name in ("list", "show", "history", "watch", "cancel", "pause")),
        *(["run", name] for name in ("resume", "retry")),
        *(["owner", name] for name in ("list", "assign")),
        *(["exception", name] for name in ("list", "show", "groups", "acknowledge", "retry")),
        *(["exception", name] for name in ("skip", "assign", "resolve")),
        *(["approval", name] for name in ("list", "approve", "deny")),
        *(["trigger", name] for name in ("list", "show", "resubmit")),
        *(["log", name] for name in ("create", "info", "tail", "copy")),
        *(["message", "send"], ["view", "list"], ["workflow", "list"]),
        *([name] for name in ("demo", "dev", "worker", "projector", "publish", "feed")),
        *([name] for name in ("check", "doctor")),
    ],
    ids=" ".join,
)
def test_the_help_of_a_command_shows_how_it_is_typed(words: list[str], capsys: Captured) -> None:
    run([*words, "--help"])

    text = capsys.readouterr().out
    examples = text.partition("Examples:")[2]
    assert f"meshline {' '.join(words)}" in examples
    assert "--debug" in text


def test_a_wrong_command_says_which_one_was_meant(capsys: Captured) -> None:
    assert run(["exceptoin", "list"]) == Exit.USAGE
    assert "Did you mean `meshline exception`?" in capsys.readouterr().err


def test_a_wrong_option_is_a_mistake_of_usage(capsys: Captured) -> None:
    assert run(["run", "list", "--stat", "held"]) == Exit.USAGE
    assert "--stat" in capsys.readouterr().err


def test_help_of_a_command_may_be_asked_for_in_two_ways(capsys: Captured) -> None:
    run(["help", "publish"])
    first = capsys.readouterr().out
    run(["publish", "--help"])

    assert capsys.readouterr().out == first


def test_every_exit_code_is_explained(capsys: Captured) -> None:
    assert run(["help", "exit-codes"]) == Exit.OK

    text = capsys.readouterr().out
    assert set(MEANINGS) == set(Exit)
    assert all(f"{code:>5}  " in text for code in Exit)


def test_an_error_of_meshline_is_told_without_a_traceback(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MESHLINE_LOG", raising=False)

    code = run(["run", "list"])

    words = capsys.readouterr().err
    assert code == Exit.UNREACHABLE
    assert words.startswith("meshline: ML3003 There are no views here")
    assert "Traceback" not in words


def test_debug_shows_where_an_error_arose(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run(["run", "list", "--debug"])

    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_address_is_a_mistake_of_usage(capsys: Captured) -> None:
    assert run(["log", "info", "--log", "ftp://nowhere"]) == Exit.USAGE
    assert "ML3001" in capsys.readouterr().err


def test_a_log_that_is_not_there_is_told_apart_from_one_that_is_wrong(capsys: Captured) -> None:
    assert run(["log", "info", "--log", "memory://not-there"]) == Exit.UNREACHABLE
    assert "ML2001" in capsys.readouterr().err


def test_a_mistake_of_ours_is_told_as_one(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meshline.cli import main

    def broken(name: str) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("importlib.import_module", broken)

    assert main.run(["check", "x"]) == Exit.FAILED
    assert "a mistake in Meshline: ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "list", "--state", "hold"],
        ["run", "watch", "shop/1", "--until", "hold"],
        ["exception", "list", "--state", "hold"],
        ["approval", "list", "--state", "hold"],
        ["trigger", "list", "--status", "hold"],
    ],
)
def test_a_state_that_there_is_not_is_refused_and_not_searched_for(
    words: list[str], capsys: Captured
) -> None:
    assert run(words) == Exit.USAGE
    assert "'hold' is none: expected one of" in capsys.readouterr().err


def test_the_library_for_kafka_says_nothing_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("aiokafka"), "handlers", [])

    run(["check", "nowhere.py", "--debug"])
    assert logging.getLogger("aiokafka").handlers == []
    run(["check", "nowhere.py"])
    assert [type(each) for each in logging.getLogger("aiokafka").handlers] == [logging.NullHandler]
