"""Steps that are done for each item of a list: what fits, what is refused, and what is data."""

# The steps here are never called.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.workflow import DefinitionRefused, StepContext, Workflow
from meshline.workflow.check import check
from meshline.workflow.spec import StepNode


class Line(BaseModel):
    sku: str


class Basket(BaseModel):
    lines: list[Line] = []
    notes: dict[str, Any] = {}
    perhaps: list[Line] | None = None


class Trigger(BaseModel):
    size: int = 1
    lines: list[Line] = []
    basket: Basket = Basket()
    other: Basket | None = None


class Price(BaseModel):
    cents: int


class Total(BaseModel):
    cents: int


async def lines(trigger: Trigger) -> list[Line]: ...


async def price(item: Line, index: int, trigger: Trigger) -> Price: ...


async def total(price: list[Price]) -> Total: ...


def workflow(
    *before: Callable[..., Any],
    each: Any = "lines",
    step: Callable[..., Any] = price,
    join: Callable[..., Any] = total,
    **options: Any,
) -> Workflow:
    wf = Workflow(
        "order", trigger=Trigger, source="web", owner="team:a", exceptions="queue:a",
        outcome=Total, due="1d",
    )  # fmt: skip
    for function in before or (lines,):
        wf.step(function)
    wf.step(each=each, **options)(step)
    wf.step(join)
    return wf


def refusal(define: Callable[[], Workflow]) -> str:
    with pytest.raises(DefinitionRefused) as refused:
        _ = define().spec
    return str(refused.value)


# -- what fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("each", ["lines", lines, "trigger.lines", "trigger.basket.lines"])
def test_a_list_is_named_by_a_step_or_by_a_field(each: Any) -> None:
    node = workflow(each=each).spec.nodes["price"]

    assert isinstance(node, StepNode)
    assert node.each is not None
    assert node.each.text == (each if isinstance(each, str) else "lines")
    assert node.needs == (("lines",) if node.each.node == "lines" else ())


def test_a_step_may_take_the_list_itself_too() -> None:
    async def price(item: Line, lines: list[Line] | None, ctx: StepContext) -> Price: ...

    node = workflow(step=price).spec.nodes["price"]

    assert (node.needs, node.wants) == (("lines",), ())


@pytest.mark.parametrize("returned", [list[Line], tuple[Line, ...], Sequence[Line], list, Any])
def test_sequences_and_what_nothing_is_known_of_are_lists(returned: Any) -> None:
    def lines(trigger: Trigger):  # type: ignore[no-untyped-def]
        ...

    lines.__annotations__["return"] = returned

    assert workflow(lines).spec.nodes["price"].needs == ("lines",)


def test_the_value_of_the_step_is_the_list_and_that_of_one_item_is_not() -> None:
    node = workflow().spec.nodes["price"]

    assert isinstance(node, StepNode)
    assert node.each is not None and node.result is not None
    assert node.result.validate_python([{"cents": 1}]) == [Price(cents=1)]
    assert node.each.result.validate_python({"cents": 1}) == Price(cents=1)


def test_a_compensation_takes_the_list() -> None:
    def refund(result: list[Price], price: list[Price], trigger: Trigger) -> None: ...

    assert workflow(compensate=refund).spec.nodes["price"].needs == ("lines",)


# -- what is refused ---------------------------------------------------------------------------


def test_an_unknown_list_is_refused_with_a_guess() -> None:
    assert "Did you mean 'lines'?" in refusal(lambda: workflow(each="line"))
    assert "Did you mean 'lines'?" in refusal(lambda: workflow(each="trigger.line"))


@pytest.mark.parametrize(
    ("each", "why"),
    [
        ("count", "step 'count'"),
        ("perhaps", "list[Line] | None"),
        ("trigger", "Did you mean each='trigger.lines'?"),
        ("trigger.size", "it is int"),
        ("trigger.basket.notes", "it is dict[str, Any]"),
        ("trigger.basket.notes.x", "has no field 'x'"),
        ("trigger.other.lines", "Basket | None has no field 'lines'"),
        ("trigger.basket.perhaps", "it is list[Line] | None"),
    ],
)
def test_what_is_no_list_is_refused(each: str, why: str) -> None:
    async def count(trigger: Trigger) -> int: ...

    async def perhaps(trigger: Trigger) -> list[Line] | None: ...

    message = refusal(lambda: workflow(lines, count, perhaps, each=each))

    assert f"is done for each of {each!r}" in message
    assert why in message


def test_an_approval_is_no_list() -> None:
    def define() -> Workflow:
        wf = workflow(each="big_deal")
        wf.approval("big_deal", by="team:a")
        return wf

    assert "approval 'big_deal' is one decision" in refusal(define)


def test_a_sleep_is_no_list() -> None:
    def define() -> Workflow:
        wf = workflow(each="nap")
        wf.sleep("nap", "1s")
        return wf

    assert "sleep 'nap' has no value" in refusal(define)


def test_a_step_is_not_done_for_each_of_its_own_results() -> None:
    async def price(item: Price) -> Price: ...

    assert "price → price" in refusal(lambda: workflow(each="price", step=price))


def test_an_item_of_another_type_is_refused() -> None:
    async def price(item: Price) -> Price: ...

    message = refusal(lambda: workflow(step=price))

    assert "parameter 'item'" in message
    assert "is of type Price, but 'item' gives Line" in message


def test_an_index_is_a_number() -> None:
    async def price(item: Line, index: str) -> Price: ...

    assert "is of type str, but 'index' gives int" in refusal(lambda: workflow(step=price))


def test_who_takes_one_result_instead_of_the_list_is_refused() -> None:
    async def total(price: Price) -> Total: ...

    assert "gives list[Price]" in refusal(lambda: workflow(join=total))


@pytest.mark.parametrize("name", ["item", "index"])
def test_an_item_without_each_is_refused(name: str) -> None:
    def total(price: list[Price], item, index):  # type: ignore[no-untyped-def]
        ...

    total.__annotations__["return"] = Total
    assert "takes 'item': expected it in a step with each= alone" in refusal(
        lambda: workflow(join=total)
    )
    assert f"called {name!r}" in refusal(lambda: _with_node_called(name))


def _with_node_called(name: str) -> Workflow:
    wf = workflow()
    wf.sleep(name, "1s")
    return wf


def test_a_condition_is_asked_once_and_not_for_each_item() -> None:
    message = refusal(lambda: workflow(when=lambda item: item.sku == "a"))

    assert "The condition of step 'price'" in message
    assert "called once for all items" in message


@pytest.mark.parametrize("each", ["", 7, ["lines"]])
def test_what_names_no_list_is_refused(each: Any) -> None:
    assert f"has each={each!r}" in refusal(lambda: workflow(each=each))


@pytest.mark.parametrize("limit", [0, True, 5_001, "9"])
def test_a_limit_is_a_whole_number(limit: Any) -> None:
    assert f"each_max={limit!r}" in refusal(lambda: workflow(each_max=limit))


def test_a_limit_without_a_list_is_refused() -> None:
    def total(trigger: Trigger) -> Total: ...

    assert "no each=" in refusal(lambda: workflow(step=total, each=None, each_max=5))


def test_an_approval_cannot_be_done_for_each() -> None:
    with pytest.raises(TypeError, match="each"):
        workflow().approval("ok", by="team:a", each="lines")  # type: ignore[call-arg]


def test_the_list_of_an_approvals_form_is_no_list_in_every_case() -> None:
    def define() -> Workflow:
        wf = workflow(each="Chosen.form.lines")

        @wf.approval(by="team:a")
        class Chosen(BaseModel):
            lines: list[Line]

        return wf

    assert "one decision" in refusal(define)


# -- data --------------------------------------------------------------------------------------


def node_data(wf: Workflow) -> dict[str, Any]:
    return next(node for node in wf.spec.data["nodes"] if node["name"] == "price")


def test_the_list_and_its_limit_are_data() -> None:
    data = node_data(workflow(each="trigger.lines", each_max=7))

    assert data["each"] == {"of": "trigger.lines", "items_max": 7}
    assert data["gives"] == "list[Price]"


def test_the_list_and_its_limit_change_the_hash_and_their_absence_says_nothing() -> None:
    def total(trigger: Trigger) -> Total: ...

    made = [workflow(), workflow(each="trigger.lines"), workflow(each_max=7)]

    assert len({wf.spec.spec_hash for wf in made}) == 3
    assert "each" not in next(n for n in made[0].spec.data["nodes"] if n["name"] == "lines")


def test_a_list_that_a_step_is_done_for_is_used() -> None:
    assert [f.code for f in check(workflow().spec)] == []


def test_a_step_that_takes_no_item_is_found() -> None:
    async def price(trigger: Trigger) -> Price: ...

    found = [(f.severity, f.code, f.about) for f in check(workflow(step=price).spec)]

    assert ("warning", "item_unused", "price") in found
