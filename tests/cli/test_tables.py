"""Tables: aligned and whole in a pipe, wrapped in a terminal."""

from __future__ import annotations

import io

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


def test_a_terminal_gets_colours_and_wrapped_texts(monkeypatch: object) -> None:
    stream = Terminal()

    write_table(stream, (*COLUMNS, Column("text", lambda row: "word " * 100)), ROWS)

    lines = stream.getvalue().splitlines()
    assert len(lines) > len(ROWS) + 1
    assert sum(line.count("word") for line in lines) == 200


def test_every_state_of_a_run_has_a_look() -> None:
    from meshline.engine.core.state import ENDED, OPEN

    assert {*OPEN, *ENDED} <= set(STATE_STYLES)
