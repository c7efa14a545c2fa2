from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events.pointers import pointer_to, steps_of


@pytest.mark.parametrize(
    ("pointer", "steps"),
    [
        ("", []), ("/", [""]), ("/a/0", ["a", "0"]), ("/a~1b", ["a/b"]), ("/m~0n", ["m~n"]),
        ("/~01", ["~1"]),
    ],
)  # fmt: skip
def test_a_pointer_leads_by_the_steps_of_the_standard(pointer: str, steps: list[str]) -> None:
    assert steps_of(pointer) == steps
    assert pointer_to(steps) == pointer


@given(st.lists(st.text()))
def test_whatever_names_there_are_a_pointer_leads_back_to_them(steps: list[str]) -> None:
    assert steps_of(pointer_to(steps)) == steps


def test_what_is_no_pointer_is_said() -> None:
    with pytest.raises(ValueError, match="'company' is no JSON pointer"):
        steps_of("company")
