"""Reading facts costs no client library, and the publisher is one import away."""

from __future__ import annotations

import subprocess
import sys

import pytest

import meshline.events


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(found.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import meshline.events.facts", "from meshline.events import BlockingPublisher, Publisher"],
)
def test_no_client_library_is_loaded_before_a_log_is_opened(statement: str) -> None:
    assert not loaded_by(statement) & {"aiokafka", "asyncpg"}


def test_facts_load_no_publisher() -> None:
    assert "meshline.events.publish" not in loaded_by("import meshline.events.facts")


def test_a_name_that_is_not_there_is_said_so() -> None:
    assert set(meshline.events.__all__) <= set(dir(meshline.events))
    with pytest.raises(AttributeError, match="has no attribute 'Publsher'"):
        _ = meshline.events.Publsher
