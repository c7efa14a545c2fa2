"""GUARANTEES.md: each promise names the tests that check it, and those tests are there."""

from __future__ import annotations

import re

import pytest

from meshline.events.violations import KINDS
from tests.tidy.source import REPOSITORY

PAGE = (REPOSITORY / "GUARANTEES.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", PAGE, re.M))
PROMISES = {title: text for title, text in SECTIONS.items() if title[0].isdigit()}
NAMED = re.compile(r"`(tests/[^`]*)::([^`]*)`")


def is_there(path: str, test: str) -> bool:
    file = REPOSITORY / path
    text = file.read_text("utf-8") if file.is_file() else ""
    return re.search(rf"^(async )?def {re.escape(test)}\(", text, re.M) is not None


@pytest.mark.parametrize(("path", "test"), NAMED.findall(PAGE))
def test_each_test_that_is_named_is_there(path: str, test: str) -> None:
    assert is_there(path, test)


def test_a_test_that_is_not_there_is_found() -> None:
    assert not is_there("tests/examples/test_guarantees.py", "test_nothing")
    assert not is_there("tests/none.py", "test_a_test_that_is_not_there_is_found")


@pytest.mark.parametrize("title", PROMISES)
def test_each_promise_names_what_checks_it(title: str) -> None:
    assert NAMED.findall(PROMISES[title])


def test_the_promises_are_the_invariants_that_the_checker_knows() -> None:
    numbers = {int(title.partition(".")[0]) for title in PROMISES}

    assert numbers == {kind.invariant for kind in KINDS.values()} == {*range(1, 9)}


def test_every_test_line_names_a_test() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("- `tests/")]

    assert len(lines) == len(NAMED.findall(PAGE)) > 30
    assert "What is not promised" in SECTIONS
