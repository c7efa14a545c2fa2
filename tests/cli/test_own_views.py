"""Views of one's own on the command line: named, or in the environment."""

from __future__ import annotations

import pytest

from meshline.cli.own_views import VARIABLE, known_projections
from meshline.projections.built_in import BUILT_IN
from meshline.projections.errors import ProjectionInvalid


def test_they_stand_in_the_environment_or_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_projections() == BUILT_IN

    monkeypatch.setenv(
        VARIABLE, "examples.projections.breaches, examples.projections.time_to_owner"
    )
    both = [projection.name for projection in known_projections()[len(BUILT_IN) :]]
    named = known_projections(["examples.projections.breaches"])

    assert both == ["breaches", "time_to_owner"]
    assert [projection.name for projection in named[len(BUILT_IN) :]] == ["breaches"]


def test_what_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "nowhere.views")

    with pytest.raises(ProjectionInvalid, match=r"Cannot import 'nowhere\.views'"):
        known_projections()
