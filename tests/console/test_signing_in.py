"""Where a sign-in leads, and how often it can be tried."""

from __future__ import annotations

import pytest

from meshline.console.signing_in import FAILURES_MAX, NAMES_MAX, Failures, inside


@pytest.mark.parametrize("path", ["/", "/runs?state=held", "/runs/1#e4"])
def test_a_page_of_ours_is_where_it_leads(path: str) -> None:
    assert inside(path) == path


@pytest.mark.parametrize(
    "path", ["", "runs", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nB: c"]
)
def test_anything_else_is_the_first_page(path: str) -> None:
    assert inside(path) == "/"


async def test_one_name_is_closed_and_no_other() -> None:
    failures = Failures()
    for _ in range(FAILURES_MAX):
        assert failures.may_try("ada")

    assert not failures.may_try("ada")
    assert failures.may_try("bob")
    failures.forget("ada")
    assert failures.may_try("ada")


async def test_whatever_names_are_tried_a_closed_one_stays_closed_and_few_are_remembered() -> None:
    failures = Failures()
    while failures.may_try("ada"):
        pass
    for number in range(NAMES_MAX * 2):
        assert failures.may_try(f"name-{number}")

    assert not failures.may_try("ada")
    assert len(failures._at) == NAMES_MAX
