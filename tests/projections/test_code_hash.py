"""The hash of a projection's code: what changes it, and whose code it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshline.projections.code_hash import code_hash_of
from meshline.projections.loading import load_projections
from meshline.projections.projection import Projection

MODULE = "hashed_views"
CODE = '''\
"""{about}"""

from typing import NamedTuple

from meshline.events.facts import RunStarted
from meshline.projections.projection import Projection, by_run


class Row(NamedTuple):
    run_id: str
    points: int


points = Projection("points", version=1)
table = points.table("points", Row, key=["run_id"], keys=by_run)
EACH = {each}


@table.on(RunStarted)
def started(row, event):
    return Row(event.event.subject, EACH)
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    # What is written twice within a second would else be read from the bytes of the first.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path / f"{MODULE}.py"
    sys.modules.pop(MODULE, None)


def loaded(file: Path, *, each: int, about: str = "Points.") -> Projection:
    file.write_text(CODE.format(each=each, about=about), "utf-8")
    sys.modules.pop(MODULE, None)
    return load_projections([MODULE])[-1]


def test_a_constant_changes_it_and_words_for_people_do_not(file: Path) -> None:
    before = code_hash_of(loaded(file, each=10))

    assert code_hash_of(loaded(file, each=10, about="What each run is worth.")) == before
    assert code_hash_of(loaded(file, each=11)) != before


def test_code_that_runs_is_not_taken_for_what_its_file_says_by_now(file: Path) -> None:
    running = loaded(file, each=10)

    file.write_text(CODE.format(each=11, about="Points."), "utf-8")

    assert code_hash_of(running) != code_hash_of(loaded(file, each=11))
    assert code_hash_of(running) == code_hash_of(loaded(file, each=10))
