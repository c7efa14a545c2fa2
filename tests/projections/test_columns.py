from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import pytest

from meshline.events.facts import Wait
from meshline.projections.columns import Json, columns_of, to_json
from meshline.projections.errors import ProjectionInvalid


class Row(NamedTuple):
    text: str
    number: int
    ratio: float
    flag: bool
    moment: datetime
    maybe: str | None
    state: Literal["open", "shut"]
    data: Json
    maybe_data: Json | None


def test_annotations_give_the_columns() -> None:
    columns = columns_of(Row)

    assert [(c.name, c.sql_type, c.nullable) for c in columns] == [
        ("text", "text", False),
        ("number", "bigint", False),
        ("ratio", "double precision", False),
        ("flag", "boolean", False),
        ("moment", "timestamptz", False),
        ("maybe", "text", True),
        ("state", "text", False),
        ("data", "jsonb", False),
        ("maybe_data", "jsonb", True),
    ]


def test_a_type_without_a_column_is_refused_with_its_name() -> None:
    class Nested(NamedTuple):
        tags: list[str]

    with pytest.raises(ProjectionInvalid, match=r"Nested.tags"):
        columns_of(Nested)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "a\x00b"),
        ("text", "\ud800"),
        ("text", None),
        ("text", 3),
        ("number", 2**63),
        ("number", True),
        ("number", "3"),
        ("flag", 1),
        ("moment", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("data", {"a": "\x00"}),
        ("data", {"a": ["\ud800"]}),
        ("data", object()),
    ],
)
def test_what_no_store_can_keep_is_found(name: str, value: Any) -> None:
    column = next(c for c in columns_of(Row) if c.name == name)

    assert column.problem(value, indexed=False) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", "Grüße \U0001f600"),
        ("number", -(2**63)),
        ("ratio", 1),
        ("maybe", None),
        ("data", {"a": [1, None, "\\u0000"]}),
        ("moment", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_can_be_kept_is_let_through(name: str, value: Any) -> None:
    column = next(c for c in columns_of(Row) if c.name == name)

    assert column.problem(value, indexed=False) is None


def test_an_indexed_text_must_fit_an_index() -> None:
    column = columns_of(Row)[0]

    assert column.problem("x" * 3_000, indexed=False) is None
    assert "index" in str(column.problem("x" * 3_000, indexed=True))


def test_models_and_times_become_plain_json() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    wait = Wait(kind="timer", about="nap", since=moment, owner="team:a")

    assert to_json((wait,)) == [
        {"kind": "timer", "about": "nap", "since": "2026-01-01T00:00:00Z", "owner": "team:a"}
    ]
