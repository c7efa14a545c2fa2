"""What becomes of a trigger: a run, a repeat or a refusal; never silence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from meshline.events import facts
from meshline.events.requests import TriggerReceived
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import Registry
from tests.engine.core.workflows import Done, Order, new_workflow


class Line(BaseModel):
    count: int = Field(gt=0)


class Basket(BaseModel):
    lines: list[Line]
    coupon: str = ""

    @field_validator("coupon")
    @classmethod
    def _known(cls, coupon: str) -> str:
        if coupon == "boom":
            raise ZeroDivisionError("in the author's validator")
        return coupon


def shop(trigger: Any = Order, **changed: Any) -> WorkflowTest:
    wf = new_workflow(trigger=trigger, **changed)
    wf.sleep("nap", "1d")

    @wf.step(after="nap")
    def work() -> Done:
        return Done(number=1)

    return WorkflowTest(wf)


def rejected(test: WorkflowTest, run_id: str) -> list[facts.TriggerRejected]:
    return [e.data for e in test.facts(run_id) if isinstance(e.data, facts.TriggerRejected)]


def test_a_trigger_becomes_a_run_with_the_five_answers() -> None:
    run = shop(due="2d").start(Order())

    accepted, started = run.history[:2]
    assert isinstance(accepted, facts.TriggerAccepted)
    assert isinstance(started, facts.RunStarted)
    assert (started.source, started.trigger_type) == ("shop.orders", "Order")
    assert (started.owner, started.exception_route) == ("team:orders", "queue:triage")
    assert (started.expected_outcome, started.workflow, started.version) == ("Done", "orders", 1)


def test_the_same_trigger_again_is_the_same_run() -> None:
    test = shop()
    run = test.start(Order(), id="a")

    again = test.start(Order(), id="a")

    assert again.id == run.id
    assert isinstance(run.history[-1], facts.TriggerDeduplicated)
    assert sum(isinstance(fact, facts.RunStarted) for fact in run.history) == 1


def test_a_trigger_that_comes_again_after_the_end_is_known() -> None:
    test = shop()
    run = test.start(Order(), id="a")
    test.advance("1d")

    test.start(Order(), id="a")

    assert run.state == "succeeded"
    assert isinstance(run.history[-1], facts.TriggerDeduplicated)


def test_the_same_id_with_another_payload_is_an_exception_once_while_it_is_open() -> None:
    test = shop()
    run = test.start(Order(), id="a")

    for number in (2, 3):
        with pytest.raises(RequestRefused, match="conflict"):
            test.start(Order(number=number), id="a")

    assert (run.exception.kind, run.exception.about) == ("trigger_conflict", "a")
    assert run.exception.owner == "queue:triage"
    test.advance("1d")
    assert run.state == "succeeded"


def test_a_conflict_with_a_run_that_has_ended_is_an_exception_with_an_id_of_its_own() -> None:
    test = shop()
    run = test.start(Order(), id="a")
    test.advance("1d")

    ids = []
    for number in (2, 3):
        with pytest.raises(RequestRefused, match="conflict"):
            test.start(Order(number=number), id="a")
        ids.append(run.exception.id)
        assert (run.state, run.exception.owner) == ("succeeded", "queue:triage")
        run.exception.resolve()
        assert run.exceptions == []

    assert len(set(ids)) == 2


def test_an_invalid_payload_is_rejected_field_by_field() -> None:
    test = shop(Basket)

    with pytest.raises(RequestRefused, match=r"invalid: The payload is no Basket: /lines/1/count"):
        test.start({"lines": [{"count": 1}, {"count": 0}, {}]}, id="a")

    (fact,) = rejected(test, RunUnderTest(test, _run_id("a")).id)
    assert [problem.pointer for problem in fact.problems] == ["/lines/1/count", "/lines/2/count"]


def test_a_validator_that_raises_anything_rejects_the_payload() -> None:
    test = shop(Basket)

    with pytest.raises(RequestRefused, match="ZeroDivisionError"):
        test.start({"lines": [], "coupon": "boom"})


def test_a_payload_with_a_thousand_problems_names_some_of_them() -> None:
    test = shop(Basket)

    with pytest.raises(RequestRefused):
        test.start({"lines": [{}] * 1000}, id="a")

    (fact,) = rejected(test, _run_id("a"))
    assert len(fact.problems) == 50


def test_what_was_rejected_may_come_again_and_be_right() -> None:
    test = shop()
    with pytest.raises(RequestRefused, match="invalid"):
        test.start({"number": "one"}, id="a")

    assert test.start({"number": 1}, id="a").state == "waiting"


def test_an_unreadable_payload_is_kept_and_rejected() -> None:
    test = shop()

    with pytest.raises(RequestRefused, match="unreadable: nul_character"):
        test.start({"number": "\x00"})


@pytest.mark.parametrize(
    ("source", "trigger_type"), [("nowhere", "Order"), ("shop.orders", "Basket"), ("nowhere", "")]
)
def test_a_trigger_that_starts_nothing_says_so(source: str, trigger_type: str) -> None:
    test = shop()

    with pytest.raises(RequestRefused, match=f"unknown_source.*'{source}'"):
        test.start(Order(), source=source, trigger_type=trigger_type)


def test_a_source_that_starts_one_workflow_need_not_name_the_type() -> None:
    run = shop().start(Order(), source="shop.orders", trigger_type="")

    assert run.state == "waiting"


def test_the_newest_version_takes_new_triggers_and_runs_stay_on_theirs() -> None:
    def version(number: int) -> Any:
        wf = new_workflow(version=number)
        wf.sleep("nap", "1d")

        @wf.step(after="nap")
        def work() -> Done:
            return Done(number=number)

        return wf

    first, second = version(1), version(2)
    test = WorkflowTest(first)
    old = test.start(Order())
    test.replace(first, second)
    new = test.start(Order())
    test.advance("1d")

    assert (old.outcome, new.outcome) == (Done(number=1), Done(number=2))


def test_several_requests_at_once_are_each_answered() -> None:
    test = shop()
    run_id = _run_id("a")

    for _ in range(3):
        test.ask(run_id, TriggerReceived(source="shop.orders", trigger_id="a", payload={}))

    assert len(test.state.runs) == 1
    assert test.state.pending == {}


def _run_id(trigger_id: str) -> str:
    from meshline.events.ids import run_id_of

    return run_id_of("shop.orders", trigger_id)


def test_a_registry_can_be_given_as_it_is() -> None:
    wf = new_workflow()

    @wf.step
    def work() -> Done:
        return Done(number=1)

    assert WorkflowTest(Registry(wf)).start(Order()).outcome == Done(number=1)
