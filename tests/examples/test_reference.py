"""The reference is made from the code, and is what the code says now."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.tidy.source import REPOSITORY

ORDER = "run: python docs/generate_reference.py"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = REPOSITORY / "docs/generate_reference.py"
    spec = importlib.util.spec_from_file_location("generate_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("COLUMNS", str(module.WIDTH))
    return module


@pytest.mark.parametrize("page", ["cli", "errors", "violations"])
def test_a_page_is_what_the_code_says(page: str, generator: ModuleType) -> None:
    written = (REPOSITORY / f"docs/reference/{page}.md").read_text("utf-8")

    assert getattr(generator, f"{page}_page")() == written, ORDER
