"""Every error has a code of its own, and shows it."""

from __future__ import annotations

import inspect
import re
from collections import Counter

from meshline.events import errors
from meshline.events.errors import MeshlineError

ERRORS = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, MeshlineError)
]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(error.code for error in ERRORS)

    assert [code for code, count in codes.items() if count > 1] == []
    assert all(re.fullmatch(r"ML\d{4}", code) for code in codes)


def test_every_error_is_public_and_says_what_it_means() -> None:
    assert sorted(error.__name__ for error in ERRORS) == sorted(errors.__all__)
    assert all(error.__doc__ for error in ERRORS)


def test_an_error_shows_its_code_and_its_message() -> None:
    assert str(errors.AppendRefused("It is too large.")) == "ML2006 It is too large."
    refusal = errors.PayloadRefused("too_large", "It is too large.")
    assert (str(refusal), refusal.reason) == ("ML1001 It is too large.", "too_large")
