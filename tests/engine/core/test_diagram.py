"""The page about the life of a run is the table of transitions, for people."""

from __future__ import annotations

from pathlib import Path

from meshline.engine.core.diagram import transitions_page
from meshline.engine.core.transitions import TRANSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "transitions.md"


def test_the_page_in_the_docs_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == transitions_page(), (
        "run: python docs/generate_transitions.py"
    )


def test_the_page_names_every_fact_of_the_table() -> None:
    page = transitions_page()

    assert all(f"`{fact.__name__}`" in page for _, fact in TRANSITIONS)
    assert "accepted --> running: RunStarted" in page
