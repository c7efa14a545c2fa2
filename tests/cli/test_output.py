"""Data in the form that was asked for, words beside it."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
import pytest

from meshline.cli.output import Form, Output
from meshline.cli.tables import Column
from meshline.events.envelope import Position
from meshline.events.publish import Answer


class Row(NamedTuple):
    name: str
    at: datetime
    position: Position


ROWS = [
    Row("a", datetime(2026, 1, 1, tzinfo=UTC), Position(0, 1)),
    Row("b", datetime(2026, 1, 2, tzinfo=UTC), Position(0, 2)),
]
COLUMNS = (Column("name", lambda row: row.name),)


def output(form: Form) -> Output:
    return Output(form, io.StringIO(), io.StringIO())


def data(out: Output) -> str:
    assert isinstance(out.stdout, io.StringIO)
    return out.stdout.getvalue()


def words(out: Output) -> str:
    assert isinstance(out.stderr, io.StringIO)
    return out.stderr.getvalue()


def test_text_is_a_table() -> None:
    out = output(Form.text)

    out.rows(ROWS, COLUMNS)

    assert data(out) == "name\na\nb\n"


def test_json_is_one_array_with_the_names_of_all_fields() -> None:
    out = output(Form.json)

    out.rows(ROWS, COLUMNS)

    found = orjson.loads(data(out))
    assert found[0] == {
        "name": "a",
        "at": "2026-01-01T00:00:00Z",
        "position": {"partition": 0, "offset": 1},
    }
    assert len(found) == 2


def test_jsonl_is_one_object_a_line() -> None:
    out = output(Form.jsonl)

    out.rows(ROWS, COLUMNS)

    assert [orjson.loads(line)["name"] for line in data(out).splitlines()] == ["a", "b"]


@pytest.mark.parametrize(("form", "expected"), [(Form.json, "[]\n"), (Form.jsonl, "")])
def test_an_empty_list_is_data_for_programs(form: Form, expected: str) -> None:
    out = output(form)

    out.rows([], COLUMNS, empty="Nothing here.")

    assert (data(out), words(out)) == (expected, "")


def test_an_empty_list_is_words_for_people() -> None:
    out = output(Form.text)

    out.rows([], COLUMNS, empty="Nothing here.")

    assert (data(out), words(out)) == ("", "Nothing here.\n")


def test_one_thing_is_one_object() -> None:
    out = output(Form.json)
    answer = Answer("accepted", "web", "1", "run", Position(1, 2))

    out.thing(answer, lambda: "never")

    assert orjson.loads(data(out))["position"] == {"partition": 1, "offset": 2}


def test_a_stream_that_breaks_off_is_still_json() -> None:
    out = output(Form.json)

    with pytest.raises(KeyboardInterrupt), out.stream() as emit:
        emit({"a": 1})
        raise KeyboardInterrupt

    assert orjson.loads(data(out)) == [{"a": 1}]


EVIL = "a\x1b[31mred\x1b]0;title\x07\x1b[2J\u202eb\x9b1A"


def test_what_comes_from_outside_moves_no_cursor_and_turns_no_words_around() -> None:
    out = output(Form.text)

    out.rows([Row(EVIL, datetime(2026, 1, 1, tzinfo=UTC), Position(0, 1))], COLUMNS)
    out.thing(EVIL, lambda: EVIL)
    with out.stream() as emit:
        emit(EVIL, EVIL)
    out.say(EVIL)

    shown = data(out) + words(out)
    assert not set("\x07\u202e\x9b") & set(shown)
    assert "\x1b]" not in shown and "\x1b[2J" not in shown
    assert "⟨U+001B⟩]0;title⟨U+0007⟩" in shown
    # In a table nothing of it is ours; elsewhere styles may be, and pass.
    assert "\x1b" not in data(out).splitlines()[1]
