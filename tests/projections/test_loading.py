"""Projections of one's own: found, put beside the built-in ones, and refused where names clash."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import ProjectionInvalid
from meshline.projections.loading import beside_built_in, load_projections, projections_in
from meshline.projections.projection import Projection

QUICK = """
from typing import NamedTuple

from meshline.projections.projection import Projection

LIMIT = 0

class Count(NamedTuple):
    owner: str

projection = Projection("quick", version=1)
projection.table("quick", Count, key=["owner"])
"""


class CountRow(NamedTuple):
    owner: str
    runs: int


def declared(name: str, table: str) -> Projection:
    projection = Projection(name, version=1)
    projection.table(table, CountRow, key=["owner"])
    return projection


def test_a_modules_own_projections_are_found_once_and_the_built_in_ones_are_not() -> None:
    module = ModuleType("company_views")
    module.__dict__.update(mine=declared("mine", "mine"), runs=BUILT_IN[0], number=7)
    module.__dict__["again"] = module.__dict__["mine"]

    assert projections_in(module) == [module.__dict__["mine"]]
    assert beside_built_in(projections_in(module)) == (*BUILT_IN, module.__dict__["mine"])


def test_a_projection_without_a_table_is_refused() -> None:
    module = ModuleType("company_views")
    module.__dict__["empty"] = Projection("empty", version=1)

    with pytest.raises(ProjectionInvalid, match="'empty' has no table"):
        projections_in(module)


@pytest.mark.parametrize(("name", "table"), [("runs", "mine"), ("mine", "exception_groups")])
def test_a_name_that_is_taken_is_refused_and_both_are_named(name: str, table: str) -> None:
    with pytest.raises(ProjectionInvalid, match=r"is declared by <projection .* and by"):
        beside_built_in([declared(name, table)])


def test_a_module_is_imported_and_what_is_wrong_with_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong_views.py").write_text("import math\n\nmath.nothing\n")
    (tmp_path / "empty_views.py").write_text("")
    (tmp_path / "no_python.py").write_text("def x(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ProjectionInvalid, match=r"Cannot import 'wrong_views'.*line 3"):
        load_projections(["wrong_views"])
    with pytest.raises(ProjectionInvalid, match=r"invalid syntax \(no_python.py, line 1\)\. Exp"):
        load_projections(["no_python"])
    with pytest.raises(ProjectionInvalid, match="declares no projection"):
        load_projections(["empty_views"])
    with pytest.raises(ProjectionInvalid, match="No module named 'not_there'"):
        load_projections(["not_there"])
    sys.modules.pop("empty_views", None)


def test_a_module_that_changed_twice_in_a_second_is_what_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "quick_views.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for limit in ("100", "200"):
        file.write_text(QUICK.replace("LIMIT = 0", f"LIMIT = {limit}"))
        os.utime(file, (1_790_000_000, 1_790_000_000))

        load_projections(["quick_views"])

        loaded = sys.modules.pop("quick_views")
        assert int(limit) == loaded.LIMIT
