"""Reading functions: annotations as texts, types of an enclosing function, wrapped functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from meshline.workflow import DefinitionRefused, Workflow
from meshline.workflow.signatures import read_signature
from meshline.workflow.spec import StepNode

if TYPE_CHECKING:
    from decimal import Decimal


class Trigger(BaseModel):
    size: int


def workflow(outcome: Any) -> Workflow:
    return Workflow(
        "order", trigger=Trigger, source="web", owner="team:a", exceptions="queue:a",
        outcome=outcome,
    )  # fmt: skip


def test_types_of_the_function_around_it_are_known() -> None:
    class Made(BaseModel):
        id: str

    wf = workflow(Made)

    @wf.step
    def create(trigger: Trigger) -> Made:
        return Made(id=str(trigger.size))

    assert wf.spec.outcome_node == "create"


def test_types_of_the_module_may_be_defined_later() -> None:
    wf = workflow(int)

    @wf.step
    def find(trigger: Trigger) -> Later:
        return Later(name="")

    @wf.step
    def create(find: Later) -> int:
        return 1

    node = wf.spec.nodes["create"]
    assert isinstance(node, StepNode)
    assert node.parameters[0].adapter.validate_python({"name": "a"}) == Later(name="a")


class Later(BaseModel):
    name: str


def test_what_only_type_checkers_import_is_not_there() -> None:
    def create(trigger: Trigger) -> Decimal: ...  # type: ignore[empty-body]

    wf = workflow(int)
    wf.step(create)

    with pytest.raises(DefinitionRefused, match="names 'Decimal', which is not defined"):
        _ = wf.spec


def test_nodes_may_be_written_in_any_order() -> None:
    wf = workflow(int)

    @wf.step
    def create(find: str) -> int:
        return len(find)

    @wf.step
    def find(trigger: Trigger) -> str:
        return ""

    assert wf.spec.nodes["create"].needs == ("find",)


def test_a_wrapped_function_is_read_through_its_wrapper() -> None:
    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(**values: Any) -> Any:
            return function(**values)

        return call

    wf = workflow(int)

    @wf.step
    @timed
    def create(trigger: Trigger) -> int:
        return trigger.size

    node = wf.spec.nodes["create"]
    assert isinstance(node, StepNode)
    assert [parameter.name for parameter in node.parameters] == ["trigger"]
    assert node.call is not None
    assert node.call(trigger=Trigger(size=3)) == 3


def test_a_bound_method_is_a_step_without_its_self() -> None:
    class Shop:
        def create(self, trigger: Trigger) -> int:
            return trigger.size

    wf = workflow(int)
    wf.step(Shop().create)

    assert wf.spec.data["nodes"][0]["parameters"] == [{"name": "trigger", "optional": False}]


def test_none_by_default_is_optional() -> None:
    def step(
        a: int | None,
        b: int = None,  # type: ignore[assignment]  # noqa: RUF013
        c: Any = None,
        d: Any | None = None,
    ) -> None: ...

    signature = read_signature(step, "step", "step", {})

    assert [asked.optional for asked in signature.parameters] == [True] * 4
    assert [asked.annotation for asked in signature.parameters] == [int, int, Any, Any]
