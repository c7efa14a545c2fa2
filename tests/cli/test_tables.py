"""Tables: aligned and whole in a pipe, wrapped in a terminal."""

from __future__ import annotations

import io
import re

import pytest

from meshline.cli.tables import STATE_STYLES, Column, plain_table, write_table

COLUMNS = (
    Column("name", lambda row: row[0]),
    Column("count", lambda row: str(row[1]), right=True),
    Column("state", lambda row: row[2], stateful=True),
)
ROWS = [("a", 1, "held"), ("a longer one", 200, "ok")]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_and_lines_do_not_end_in_spaces() -> None:
    assert plain_table(COLUMNS, ROWS) == (
        "name          count  state\na                 1  held\na longer one    200  ok\n"
    )


def test_a_pipe_gets_long_texts_whole_and_on_one_line() -> None:
    text = "word " * 100 + "\nsecond line"

    table = plain_table((Column("text", lambda row: row),), [text])

    assert table.splitlines()[1] == " ".join(text.split())


def test_an_indent_stands_before_every_line() -> None:
    stream = io.StringIO()

    write_table(stream, COLUMNS, ROWS, indent=2)

    assert all(line.startswith("  ") for line in stream.getvalue().splitlines())


def shown_in(width: int, monkeypatch: pytest.MonkeyPatch, *more: Column) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    write_table(stream, (*COLUMNS, *more), ROWS)
    return stream.getvalue().splitlines()


def test_a_terminal_gets_one_line_a_row_however_long_a_text_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown_in(60, monkeypatch, Column("text", lambda row: "word " * 100))

    plain = [re.sub(r"\033\[[0-9;]*m", "", line) for line in lines]
    assert len(plain) == 1 + len(ROWS)
    assert all(len(line) <= 60 for line in plain)
    assert plain[1].endswith("…")


def test_what_people_copy_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown_in(
        30,
        monkeypatch,
        Column("id", lambda row: "1f0c2a9b-0000-5000-8000-000000000001", whole=True),
    )

    assert "1f0c2a9b-0000-5000-8000-000000000001" in lines[1]


def test_a_terminal_gets_colours_unless_they_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "\033[1;31mheld\033[0m" in shown_in(80, monkeypatch)[1]

    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    write_table(stream, COLUMNS, ROWS)
    assert "\033" not in stream.getvalue()


def test_wide_characters_take_two_places() -> None:
    table = plain_table(COLUMNS, [("日本", 1, "ok"), ("abcd", 1, "ok")])

    assert table.splitlines()[1] == "日本      1  ok"
    assert table.splitlines()[2] == "abcd      1  ok"


def test_every_state_of_a_run_has_a_look() -> None:
    from meshline.engine.core.state import ENDED, OPEN

    assert {*OPEN, *ENDED} <= set(STATE_STYLES)
