"""Text that can be kept: cleaned, and looked through for U+0000."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.events.text import cleaned, holds_nul

any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_cleaned_text_can_be_kept_and_is_clean(text: str) -> None:
    result = cleaned(text, 100)

    result.encode()
    assert "\x00" not in result
    assert len(result) <= 100
    assert cleaned(result, 100) == result


def test_what_is_clean_stays_and_what_is_not_is_replaced() -> None:
    assert cleaned("Zürich 😀", 100) == "Zürich 😀"
    assert cleaned("a\x00b\udce9", 100) == "a\ufffdb\ufffd"
    assert cleaned("\ud83d\ude00", 100) == "😀"
    assert cleaned("x" * 11, 10) == "x" * 9 + "…"


@given(any_text, st.booleans())
def test_a_nul_is_found_exactly_where_there_is_one(text: str, ascii_only: bool) -> None:
    raw = json.dumps({"a": text}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    assert holds_nul(raw) == ("\x00" in text)


@pytest.mark.parametrize("backslashes", range(1, 9))
def test_a_backslash_before_may_make_it_text(backslashes: int) -> None:
    raw = b'"' + b"\\" * backslashes + b'u0000"'

    assert holds_nul(raw) == ("\x00" in json.loads(raw))
