"""Corrections: a part of a JSON value becomes another, and what that changed is told."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from meshline.events.corrections import (
    CHANGES_MAX,
    Change,
    Correction,
    changed,
    corrected,
    correction_typed,
)
from meshline.events.corrections import differences as differences_of
from tests.events.strategies import json_values

ORDER = {"company": "Acme", "lines": [{"amount": 1}, {"amount": 2}], "a/b": {"~": None}}


def put(path: str, value: Any, into: Any = ORDER) -> Any:
    return corrected(into, [Correction(of="trigger", path=path, value=value)])


def test_a_part_of_a_value_becomes_another_and_the_rest_stays() -> None:
    before = orjson.dumps(ORDER)

    assert put("/company", "Bolt") == ORDER | {"company": "Bolt"}
    assert put("/lines/1/amount", 7)["lines"] == [{"amount": 1}, {"amount": 7}]
    assert put("/a~1b/~0", True)["a/b"] == {"~": True}
    assert put("/new", [1]) == ORDER | {"new": [1]}
    assert put("", 5) == 5
    assert orjson.dumps(ORDER) == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("company", "no JSON pointer"),
        ("/no/such", "nothing at 'no'"),
        ("/lines/2", "expected an index below 2"),
        ("/lines/-", "expected an index below 2"),
        ("/lines/01/amount", "expected an index below 2"),
        ("/company/name", "has no parts"),
    ],
)
def test_a_place_that_is_not_there_is_named(path: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        put(path, 1)


@pytest.mark.parametrize(
    ("text", "of", "path", "value"),
    [
        ('trigger/company="Acme"', "trigger", "/company", "Acme"),
        ("enrich/lines/0/amount=12", "enrich", "/lines/0/amount", 12),
        (' trigger = {"a": "x=y"}', "trigger", "", {"a": "x=y"}),
    ],
)
def test_a_correction_is_typed_as_a_place_and_a_value(
    text: str, of: str, path: str, value: Any
) -> None:
    assert correction_typed(text) == Correction(of=of, path=path, value=value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trigger/company", "expected PLACE=JSON"),
        ("=1", "expected PLACE=JSON"),
        ("/company=1", "expected PLACE=JSON"),
        ("trigger/company=Acme", "'Acme' is no JSON"),
    ],
)
def test_what_is_typed_wrongly_says_what_is_expected(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        correction_typed(text)


def test_what_differs_is_told_place_by_place() -> None:
    after = {"company": "Bolt", "lines": [{"amount": 1}, {"amount": 3}], "new": {"x": 1}}

    assert differences_of(ORDER, after) == (
        Change(path="/a~1b", what="removed", before={"~": None}),
        Change(path="/company", what="changed", before="Acme", after="Bolt"),
        Change(path="/lines/1/amount", what="changed", before=2, after=3),
        Change(path="/new", what="added", after={"x": 1}),
    )


def test_true_is_not_one_and_one_is_not_a_fraction() -> None:
    assert differences_of([1, True, 1], [True, 1, 1.0]) != ()
    assert [change.path for change in differences_of([1, True, 1], [True, 1, 1.0])] == [
        "/0",
        "/1",
        "/2",
    ]
    assert differences_of({"a": [True]}, {"a": [True]}) == ()


def test_what_differs_in_very_many_places_is_told_as_a_whole() -> None:
    before, after = list(range(CHANGES_MAX + 1)), list(range(1, CHANGES_MAX + 2))

    assert differences_of(before, after) == (
        Change(path="", what="changed", before=before, after=after),
    )


@given(json_values, json_values)
def test_the_differences_make_one_value_the_other(before: Any, after: Any) -> None:
    made = changed(before, differences_of(before, after))

    assert orjson.dumps(made, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        after, option=orjson.OPT_SORT_KEYS
    )


@given(json_values, json_values, json_values)
def test_changes_that_do_not_fit_are_left_out(one: Any, two: Any, other: Any) -> None:
    changed(other, differences_of(one, two))
