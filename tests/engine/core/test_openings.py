"""The cause of an exception: what differs from one to the next does not count, all else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.engine.core.causes import cause_of
from meshline.events.requests import StepError


def cause(message: str, error_type: str = "LookupError", about: str = "enrich") -> str:
    error = StepError(type=error_type, message=message)
    return cause_of("leads", about, "step_failed", error, "")


VARYING = st.one_of(
    st.integers(0, 10**12).map(str),
    st.uuids().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"[a-z]{1,8}[.]?[a-z]{1,8}@[a-z]{2,8}[.](org|com)", fullmatch=True),
    st.from_regex(r"'[a-zA-Z ]{0,20}'", fullmatch=True),
    st.from_regex(r"https://[a-z]{3,9}[.]org/[a-z]{1,5}/[0-9]{1,6}", fullmatch=True),
    st.from_regex(r"0x[0-9a-f]{4,12}", fullmatch=True),
    st.from_regex(r"(cus|ord)_[0-9][0-9A-Za-z]{9}", fullmatch=True),
    st.tuples(*[st.integers(0, 255)] * 4).map(lambda parts: ".".join(map(str, parts))),
)


@given(VARYING, VARYING)
def test_what_names_one_thing_or_moment_does_not_count(one: str, other: str) -> None:
    text = "no entry for {} in the register"

    assert cause(text.format(one)) == cause(text.format(other))


WORDS = st.lists(
    st.sampled_from(
        [
            "no",
            "entry",
            "for",
            "the",
            "register",
            "ledger",
            "closed",
            "refused",
            "time",
            "out",
            "of",
            "memory",
        ]
    ),
    min_size=1,
    max_size=6,
)


@given(WORDS, WORDS)
def test_other_words_are_another_cause(one: list[str], other: list[str]) -> None:
    same = cause(" ".join(one)) == cause(" ".join(other))

    assert same == (one == other)


@pytest.mark.parametrize(
    ("error_type", "about"), [("KeyError", "enrich"), ("LookupError", "route")]
)
def test_another_type_or_step_is_another_cause(error_type: str, about: str) -> None:
    assert cause("no entry") != cause("no entry", error_type, about)


def test_a_long_message_takes_no_longer() -> None:
    assert len(cause("a1-" * 5_000_000)) == 12
