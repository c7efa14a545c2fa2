"""The catalogue is closed and complete, and what was released never changes."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

from meshline.events import facts, people_requests, requests
from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.facts import Fact
from meshline.events.facts.people import AboutApproval
from meshline.events.requests import Request

SCHEMAS = Path(__file__).parents[1] / "histories" / "schemas.json"

WHAT_TO_DO = f"""
An event's schema differs from {SCHEMAS.name}. What was written with it must be read for ever.

- Its version was released: take the change back. A new meaning is a new version: keep the old
  class's form in upcast.py, raise VERSION, and add the new one to the file.
- It was never released (or only a docstring or a default changed, so that all that was written is
  still read in the same way): write the file again, and look at the difference before you commit:
      WRITE_SCHEMAS=1 python -m pytest tests/events/test_catalogue.py
"""


def every_class() -> list[type[Fact] | type[Request]]:
    modules = [requests, people_requests, facts]
    for found in pkgutil.iter_modules(facts.__path__, f"{facts.__name__}."):
        modules.append(importlib.import_module(found.name))
    members = [member for module in modules for member in vars(module).values()]
    classes = {member for member in members if isinstance(member, type)} - {
        Fact,
        Request,
        AboutApproval,
    }
    return [member for member in classes if issubclass(member, Fact | Request)]


def schema_of(data_type: type[Fact] | type[Request]) -> dict[str, Any]:
    """The schema without what is only words."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: bare(v)
                for k, v in value.items()
                if not (k in ("title", "description") and isinstance(v, str))
            }
        return [bare(v) for v in value] if isinstance(value, list) else value

    result: dict[str, Any] = bare(data_type.model_json_schema())
    return result


def test_every_class_is_in_the_catalogue_once() -> None:
    assert sorted(map(type_name, every_class())) == sorted(CATALOGUE)
    assert all(type_name(data_type) == name for name, data_type in CATALOGUE.items())


def test_every_class_is_public() -> None:
    for data_type in every_class():
        homes = (requests, people_requests) if issubclass(data_type, Request) else (facts,)
        assert any(data_type.__name__ in home.__all__ for home in homes)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_type_says_subject_and_what_happened(name: str) -> None:
    assert re.fullmatch(r"meshline(\.[a-z]+){2,3}\.v\d+", name)
    words = CATALOGUE[name].TYPE.split(".")[1:]

    # `run.compensation.started` is CompensationStarted: the subject may be narrowed.
    in_class = re.findall("[A-Z][a-z]+", CATALOGUE[name].__name__)
    assert [word.lower() for word in in_class] in (words, words[1:])


PARTICIPLES = re.compile(r"(ed|edOut|Set|Begun|Held|Sent)$")
# What a run is, not what it became: it lasts.
STATES = {"RunWaiting"}


@pytest.mark.parametrize("data_type", CATALOGUE.values(), ids=lambda c: c.__name__)
def test_a_name_is_a_past_participle(data_type: type[Fact] | type[Request]) -> None:
    name = data_type.__name__

    assert PARTICIPLES.search(name) or name in STATES


def test_what_was_released_never_changes() -> None:
    current = {name: schema_of(data_type) for name, data_type in sorted(CATALOGUE.items())}
    if os.environ.get("WRITE_SCHEMAS"):
        SCHEMAS.write_text(json.dumps(current, indent=1, sort_keys=True) + "\n", "utf-8")
    recorded = json.loads(SCHEMAS.read_text("utf-8"))

    changed = [
        name for name in sorted({*current, *recorded}) if current.get(name) != recorded.get(name)
    ]
    assert changed == [], WHAT_TO_DO


def test_a_changed_field_is_found() -> None:
    class Changed(facts.StepStarted):
        more: int | None = None

    assert schema_of(Changed) != schema_of(facts.StepStarted)
