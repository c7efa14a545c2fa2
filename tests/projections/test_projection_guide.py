"""The code in the room's guide runs."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

from meshline.events.facts import RunSucceeded
from tests.projections.given import rows_after
from tests.projections.test_runs_view import STARTED

GUIDE = Path(__file__).resolve().parents[2] / "projections/README.md"


async def test_a_projection_of_ones_own_works_as_the_guide_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    module = types.ModuleType("guide")
    sys.modules["guide"] = module
    exec(compile(code, "guide", "exec"), module.__dict__)

    (row,) = await rows_after(module.table, STARTED, RunSucceeded())

    assert (row.source, row.seconds) == ("web.forms", 60.0)
