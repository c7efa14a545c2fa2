"""Where a sign-in leads."""

from __future__ import annotations

import pytest

from meshline.console.signing_in import inside


@pytest.mark.parametrize("path", ["/", "/runs?state=held", "/runs/1#e4"])
def test_a_page_of_ours_is_where_it_leads(path: str) -> None:
    assert inside(path) == path


@pytest.mark.parametrize(
    "path", ["", "runs", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nB: c"]
)
def test_anything_else_is_the_first_page(path: str) -> None:
    assert inside(path) == "/"
