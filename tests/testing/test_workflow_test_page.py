"""The pages about testing a workflow run as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"


@pytest.mark.parametrize(
    ("page", "blocks_min"), [("test-a-workflow.md", 8), ("simulate-faults.md", 5)]
)
def test_a_page_runs(page: str, blocks_min: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PAGES / page
    text = file.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        code = compile("\n" * line + block[1], str(file), "exec")
        exec(code, module.__dict__)

    assert len(blocks) >= blocks_min
