"""Which types take which."""

# Types that are made while the test runs cannot be written with `|`.
# ruff: noqa: UP007, UP045

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from meshline.workflow.accepts import MISSING, accepts, type_text, without_none


class Animal(BaseModel):
    name: str


class Dog(Animal):
    good: bool = True


class Plant(BaseModel):
    name: str


@dataclass
class Stone:
    weight: int


class Row(TypedDict):
    name: str


class Named(Protocol):
    name: str


T = TypeVar("T")
Key = NewType("Key", str)
Small = Annotated[int, Field(lt=10)]


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (Animal, Animal), (Animal, Dog), (Any, Animal), (Animal, Any), (MISSING, Dog),
        (Dog, MISSING), (Animal | None, Dog), (Animal | None, None), (Union[Dog, Plant], Plant),
        (float, int), (int, bool), (str, Key), (Key, str), (Small, int), (list[Animal], list[Dog]),
        (Sequence[Animal], list[Dog]), (list, list[int]), (dict[str, Any], Animal),
        (Animal, dict[str, Any]), (Stone, dict), (Named, Animal), (Row, dict), (T, Animal),
        (str, Literal["a", "b"]), (Literal["a", "b"], Literal["a"]), (object, Stone),
        (tuple[int, ...], tuple[int, ...]), (Optional[int], int), (Dog | Plant, Plant | Dog),
    ],
)  # fmt: skip
def test_taken(taken: Any, given: Any) -> None:
    assert accepts(taken, given)


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (Dog, Animal), (Plant, Animal), (Animal, None), (Animal, Dog | None), (int, str),
        (int, float), (str, bytes), (list[Plant], list[Dog]), (Dog, Dog | Plant), (Stone, Animal),
        (Literal["a"], Literal["a", "b"]), (Literal["a"], str), (int, Literal["a"]),
        (list[int], set[int]), (None, int),
    ],
)  # fmt: skip
def test_not_taken(taken: Any, given: Any) -> None:
    assert not accepts(taken, given)


PLAIN = st.sampled_from([int, str, bool, Animal, Dog, Plant, Stone, None])
TYPES = st.recursive(
    PLAIN,
    lambda inner: st.builds(list.__class_getitem__, inner) | st.builds(Optional.__getitem__, inner),
)


@given(TYPES)
def test_every_type_takes_itself_and_is_taken_with_none(annotation: Any) -> None:
    assert accepts(annotation, annotation)
    assert accepts(Optional[annotation], annotation)


@given(TYPES)
def test_none_is_taken_off_and_nothing_else(annotation: Any) -> None:
    bare, had_none = without_none(Optional[annotation])

    assert had_none
    assert accepts(Optional[bare], annotation)


def test_what_is_annotated_stays_so_without_its_none() -> None:
    assert without_none(Optional[Small]) == (Small, True)
    assert without_none(Small) == (Small, False)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (Animal, "Animal"), (Animal | None, "Animal | None"), (list[Dog], "list[Dog]"),
        (dict[str, int], "dict[str, int]"), (None, "None"), (MISSING, "Any"), (Any, "Any"),
        (Small, "int"), (Literal["a"], "Literal['a']"), (tuple[int, ...], "tuple[int, ...]"),
    ],
)  # fmt: skip
def test_types_are_written_as_authors_write_them(annotation: Any, text: str) -> None:
    assert type_text(annotation) == text
