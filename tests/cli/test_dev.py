"""``meshline dev``: which addresses it works with, and what it says to type."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from meshline.cli.dev import _example, _place
from meshline.cli.place import EMBEDDED, HOME, Given, Runtime
from meshline.workflow.loading import load_app
from tests.tidy.source import REPOSITORY


def given(**flags: str | None) -> Given:
    return Given.read(flags.get("log"), flags.get("views"), None, {})


def test_without_addresses_all_is_in_the_folder() -> None:
    place = _place(given())

    assert (place.home, place.named_log, place.named_views) == (HOME, EMBEDDED, EMBEDDED)


def test_views_of_a_log_in_kafka_are_in_the_folder() -> None:
    place = _place(given(log="kafka://broker:9092/dev"))

    assert (place.named_log, place.named_views) == ("kafka://broker:9092/dev", EMBEDDED)


def test_views_of_a_log_in_postgresql_are_beside_it() -> None:
    assert _place(given(log="postgresql://db/x")).named_views == "postgresql://db/x"


def test_what_the_folder_remembers_is_not_taken_for_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Runtime("kafka://broker:9092/dev", "postgresql://views", "x.py", os.getpid()).write(HOME)

    assert _place(given()).named_log == EMBEDDED


def test_an_example_has_every_field_that_a_trigger_needs() -> None:
    [spec] = load_app(str(REPOSITORY / "examples/lead_intake.py"))

    assert set(orjson.loads(_example(spec))) == {"form_id", "email", "name", "company", "country"}
