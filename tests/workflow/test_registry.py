"""Which definition a trigger starts, and which two may not stand beside each other."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from meshline.workflow import Registry, Workflow
from meshline.workflow.errors import RegistryConflict


class Form(BaseModel):
    size: int


class Call(BaseModel):
    number: str


def workflow(name: str = "lead", timeout: str = "10s", **changed: Any) -> Workflow:
    given: dict[str, Any] = {
        "trigger": Form, "source": "web", "owner": "team:a", "exceptions": "queue:a", "outcome": int
    }  # fmt: skip
    wf = Workflow(name, **(given | changed))

    @wf.step(timeout=timeout)
    def create(trigger: Any) -> int:
        return 1

    return wf


def test_the_newest_version_takes_new_triggers_and_the_others_stay_known() -> None:
    registry = Registry(workflow(version=2), workflow(version=1))

    started = registry.for_trigger("web", "Form")

    assert started is registry.newest("lead") is registry.spec("lead", 2)
    assert registry.spec("lead", 1) is not None
    assert [(spec.name, spec.version) for spec in registry] == [("lead", 1), ("lead", 2)]


def test_the_type_may_be_empty_where_the_source_starts_only_one() -> None:
    registry = Registry(workflow())
    assert registry.for_trigger("web", "") is registry.spec("lead", 1)

    registry.add(workflow("call", trigger=Call))

    assert registry.for_trigger("web", "") is None
    assert registry.for_trigger("web", "Call") is registry.newest("call")
    assert registry.trigger_types("web") == ("Call", "Form")


def test_what_nobody_knows_is_none() -> None:
    registry = Registry(workflow())

    assert registry.for_trigger("web", "Call") is None
    assert registry.for_trigger("phone", "") is None
    assert registry.spec("lead", 2) is None
    assert registry.newest("other") is None
    assert registry.trigger_types("phone") == ()


def test_the_same_definition_again_changes_nothing() -> None:
    registry = Registry(workflow())

    registry.add(workflow(), workflow().spec)

    assert len(registry) == 1


def test_two_definitions_of_one_version_are_refused_and_nothing_is_added() -> None:
    registry = Registry(workflow())

    with pytest.raises(RegistryConflict) as refused:
        registry.add(workflow("call", trigger=Call), workflow(timeout="20s"))

    assert "ML4102 Workflow 'lead' version 1 has two definitions" in str(refused.value)
    assert str(refused.value).endswith("Write version=2 in the changed one.")
    assert len(registry) == 1


def test_one_trigger_starts_one_workflow() -> None:
    registry = Registry(workflow())

    with pytest.raises(RegistryConflict) as refused:
        registry.add(workflow("other"))

    assert "'lead' and 'other' are both started by 'Form' from 'web'" in str(refused.value)
    assert registry.for_trigger("web", "Form") is registry.newest("lead")


def test_a_workflow_may_leave_its_trigger_to_another() -> None:
    registry = Registry(workflow(), workflow(version=2, trigger=Call), workflow("other"))

    assert registry.for_trigger("web", "Form") is registry.newest("other")
    assert registry.for_trigger("web", "Call") is registry.newest("lead")
