"""The page about testing a workflow runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-a-workflow.md"


def test_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    module = ModuleType("test_a_workflow")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        code = compile("\n" * line + block[1], str(PAGE), "exec")
        exec(code, module.__dict__)

    assert len(blocks) >= 8
