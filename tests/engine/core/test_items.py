"""Steps that are done for each item of a list: how they begin, fail, are joined and undone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from meshline.engine.core import nodes
from meshline.engine.core.items import item_name, parts_of, step_of
from meshline.engine.snapshots import dump_state, load_state
from meshline.events import facts
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest, crash, raises
from meshline.workflow import FailRun, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow

LIST = [10, 20, 30]


def fan_out(*, taken: Any = list[int], before: Any = None, **options: Any) -> Workflow:
    """``numbers`` gives a list, ``double`` is done for each, ``total`` takes the results."""
    wf = new_workflow()

    @wf.step
    def numbers(trigger: Order) -> list[int]:
        return LIST

    @wf.step(each="numbers", **options)
    def double(item: int, index: int, trigger: Order, idempotency_key: str) -> int:
        return 2 * item

    if before is not None:
        before(wf)

    def total(double):  # type: ignore[no-untyped-def]
        return Done(number=sum(number or 0 for number in double))

    total.__annotations__ = {"double": taken, "return": Done}
    wf.step(total)
    return wf


def joined(run: RunUnderTest) -> bool:
    return any(isinstance(fact, facts.StepJoined) for fact in run.history)


def node_names(run: RunUnderTest) -> list[str]:
    return list(run._test.state.runs[run.id].nodes)


def test_the_name_of_an_item_says_step_and_index() -> None:
    assert parts_of(item_name("double", 12)) == ("double", 12)
    assert step_of("double[12]") == step_of("double") == "double"


@pytest.mark.parametrize(
    "name", ["double", "double[]", "double[01]", "[0]", "double[1][2]", "a[٣]"]
)
def test_other_names_are_of_no_item(name: str) -> None:
    assert parts_of(name) is None
    assert step_of(name) == name


# -- the way through ---------------------------------------------------------------------------


def test_a_step_is_done_for_each_item_and_the_results_are_joined() -> None:
    test = WorkflowTest(fan_out())
    double = test.given("double", lambda item, index: item + index)

    run = test.start(Order())

    assert run.outcome == Done(number=63)
    assert run.steps == ["numbers", "double[0]", "double[1]", "double[2]", "total"]
    assert [(call["item"], call["index"]) for call in double.called] == [(10, 0), (20, 1), (30, 2)]
    keys = [call["idempotency_key"] for call in double.called]
    assert keys == [f"{run.id}/double[{index}]" for index in range(3)]


def test_all_items_begin_before_the_first_has_ended() -> None:
    run = WorkflowTest(fan_out()).start(Order())

    said = [type(fact) for fact in run.history]
    started = [n for n, kind in enumerate(said) if kind is facts.StepStarted][1:4]
    assert facts.StepSucceeded not in said[started[0] : started[2]]


def test_results_are_in_the_order_of_the_items() -> None:
    test = WorkflowTest(fan_out(outside=True))
    total = test.given("total", Done(number=1))
    run = test.start(Order())

    for index in (2, 0, 1):
        run.report(f"double[{index}]", index)

    assert total.called == [{"double": [0, 1, 2]}]


def test_an_empty_list_is_joined_at_once() -> None:
    test = WorkflowTest(fan_out())
    test.given("numbers", [])

    run = test.start(Order())

    assert run.outcome == Done(number=0)
    assert run.steps == ["numbers", "total"]


def test_the_join_repeats_nothing_and_the_items_leave_memory() -> None:
    test = WorkflowTest(fan_out(before=lambda wf: wf.sleep("nap", "1d")))
    run = test.start(Order())

    (join,) = [fact for fact in run.history if isinstance(fact, facts.StepJoined)]
    assert join == facts.StepJoined(step="double")
    assert sorted(node_names(run)) == ["double", "nap", "numbers", "total"]
    assert test.state.runs[run.id].nodes["double"].value == b"[20,40,60]"


def test_a_list_can_be_a_field_of_the_trigger_with_its_default() -> None:
    class Basket(BaseModel):
        lines: list[int] = [1, 2]

    class Bought(BaseModel):
        basket: Basket = Basket()

    wf = new_workflow(trigger=Bought)

    @wf.step(each="trigger.basket.lines")
    def double(item: int) -> int:
        return 2 * item

    @wf.step
    def total(double: list[int]) -> Done:
        return Done(number=sum(double))

    test = WorkflowTest(wf)
    assert test.start({}).outcome == Done(number=6)
    assert test.start({"basket": {"lines": [5]}}).outcome == Done(number=10)


def test_a_fan_out_over_the_results_of_another() -> None:
    def again(wf: Workflow) -> None:
        @wf.step(each="double")
        def label(item: int) -> str:
            return f"n{item}"

        @wf.step
        def labels(label: list[str]) -> str:
            return " ".join(label)

    run = WorkflowTest(fan_out(before=again)).start(Order())

    assert facts.StepSucceeded(step="labels", attempt=1, result="n20 n40 n60") in run.history


@pytest.mark.parametrize("options", [{"when": lambda trigger: trigger.number > 1}, {}])
def test_a_fan_out_is_skipped_whole(options: dict[str, Any]) -> None:
    wf = fan_out(taken=list[int] | None, **options)
    if not options:
        wf = new_workflow()

        @wf.step(when=lambda trigger: trigger.number > 1)
        def numbers(trigger: Order) -> list[int]:
            return LIST

        @wf.step(each=numbers)
        def double(item: int) -> int:
            return item

        @wf.step
        def total(double: list[int] | None) -> Done:
            return Done(number=len(double or ()))

    test = WorkflowTest(wf)
    test.given("total", Done(number=-1))

    run = test.start(Order())

    assert run.outcome == Done(number=-1)
    assert not any(isinstance(fact, facts.StepFannedOut) for fact in run.history)


# -- failing -----------------------------------------------------------------------------------


def test_an_item_that_fails_is_tried_again_alone() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=2)))
    test.given("double[1]", raises("busy"), 7)

    run = test.start(Order())
    assert (run.state, [(w.kind, w.about) for w in run.waits]) == ("waiting", [("retry", "double")])
    test.advance("1m")

    assert run.outcome == Done(number=20 + 7 + 60)
    assert run.steps.count("double[1]") == 2
    assert run.steps.count("double[0]") == 1


def test_an_item_that_is_held_can_be_tried_again() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=1)))
    test.given("double[1]", raises("broken"), 7)
    run = test.start(Order())
    assert (run.state, run.exception.kind, run.exception.about) == (
        "held", "step_failed", "double[1]",
    )  # fmt: skip
    assert run.problems == []

    run.exception.retry()

    assert run.outcome == Done(number=20 + 7 + 60)


def test_an_item_can_be_skipped_with_a_value_of_its_type() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=1)))
    test.given("double[1]", raises("broken"))
    run = test.start(Order())

    with pytest.raises(RequestRefused, match="invalid"):
        run.exception.skip([7])
    run.exception.skip(7)

    assert run.outcome == Done(number=20 + 7 + 60)


def test_an_item_that_is_skipped_without_a_value_is_null() -> None:
    test = WorkflowTest(fan_out(taken=list[int | None], retry=Retry(attempts=1)))
    test.given("double[1]", raises("broken"))
    total = test.given("total", Done(number=1))
    run = test.start(Order())

    run.exception.skip()

    assert run.has_ended
    assert total.called == [{"double": [20, None, 60]}]


def test_an_item_is_not_skipped_without_a_value_where_nobody_can_read_null() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=1)))
    test.given("double[1]", raises("broken"))
    run = test.start(Order())

    with pytest.raises(RequestRefused, match="'total' takes no null in 'double'"):
        run.exception.skip()

    assert run.state == "held"


def test_exceptions_of_all_items_have_one_cause() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=1)))
    test.given("double", raises("broken"))

    run = test.start(Order())

    assert len(run.exceptions) == 3
    assert len({opened.said.cause for opened in run.exceptions}) == 1


def test_items_that_wait_alike_are_one_wait_for_the_first_of_them() -> None:
    test = WorkflowTest(fan_out(retry=Retry(attempts=5)))
    test.given("double", raises("busy"))

    run = test.start(Order())

    (wait,) = run.waits
    scheduled = [fact for fact in run.history if isinstance(fact, facts.StepRetryScheduled)]
    assert wait.until == min(fact.at for fact in scheduled)
    assert len(scheduled) == 3


def test_an_item_can_fail_the_whole_run() -> None:
    test = WorkflowTest(fan_out())
    test.given("double[1]", FailRun("no such number"))

    run = test.start(Order())

    assert (run.state, run.reason) == ("failed", "no such number")
    assert run.problems == []


# -- limits ------------------------------------------------------------------------------------


def test_a_list_that_is_too_long_is_an_exception() -> None:
    test = WorkflowTest(fan_out(each_max=2))

    run = test.start(Order())

    assert (run.state, run.exception.kind) == ("held", "fan_out_too_wide")
    assert "at most 2 items in numbers for 'double', but it has 3" in run.exception.message
    assert run.problems == []
    run.exception.retry()
    assert run.exception.kind == "fan_out_too_wide"
    with pytest.raises(RequestRefused, match="no result of double"):
        run.exception.skip(5)
    run.exception.skip([5, 6])
    assert run.outcome == Done(number=11)


def test_what_is_no_list_after_all_is_an_exception() -> None:
    wf = new_workflow()

    @wf.step
    def numbers(trigger: Order) -> Any:
        return {"no": "list"}

    @wf.step(each="numbers")
    def double(item: int) -> int:
        return item

    @wf.step
    def total(double: list[int]) -> Done:
        return Done(number=0)

    run = WorkflowTest(wf).start(Order())

    assert (run.exception.kind, run.exception.about) == ("rule_failed", "double")
    assert 'numbers is no list: {"no":"list"}' in run.exception.message


def test_results_that_are_too_large_together_are_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "JOINED_BYTES_MAX", 5)
    run = WorkflowTest(fan_out()).start(Order())
    assert (run.state, run.exception.kind) == ("held", "fan_out_too_large")
    assert run.problems == []

    run.exception.skip([1])

    assert run.outcome == Done(number=1)


def test_as_many_items_as_there_is_room_for_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "ITEMS_UNDER_WAY_MAX", 2)
    test = WorkflowTest(fan_out(outside=True))
    test.given("numbers", [1, 2, 3, 4])

    run = test.start(Order())
    assert run.steps == ["numbers", "double[0]", "double[1]"]
    assert (run.state, [(w.kind, w.about) for w in run.waits]) == (
        "waiting", [("worker", "double")],
    )  # fmt: skip
    run.report("double[1]", 0)
    assert run.steps[-1] == "double[2]"
    run.report("double[0]", 0).report("double[2]", 0).report("double[3]", 0)

    assert joined(run)


# -- ending early ------------------------------------------------------------------------------


def undone(**options: Any) -> tuple[Workflow, list[Any]]:
    results: list[Any] = []

    def undo(result: list[int], trigger: Order) -> None:
        results.append(result)

    before = {"before": lambda wf: wf.message("go", after="double")}
    return fan_out(compensate=undo, **(before | options)), results


def test_a_joined_step_is_undone_with_the_list_of_its_results() -> None:
    wf, results = undone()
    run = WorkflowTest(wf).start(Order())

    run.cancel("enough")

    assert (run.state, results) == ("cancelled", [[20, 40, 60]])


def test_a_step_done_for_some_items_is_undone_with_what_there_is() -> None:
    wf, results = undone(outside=True, retry=Retry(attempts=1))
    test = WorkflowTest(wf)
    run = test.start(Order())
    run.report("double[2]", 60)
    run.report("double[0]", error="broken")

    run.cancel("enough")

    assert (run.state, results) == ("cancelled", [[60]])
    (how,) = [fact.how for fact in run.history if isinstance(fact, facts.ExceptionResolved)]
    assert how == "run_ended"
    assert run.problems == []


def test_a_step_done_for_no_item_is_not_undone() -> None:
    wf, results = undone(outside=True)
    run = WorkflowTest(wf).start(Order())

    run.cancel("enough")

    assert (run.state, results) == ("cancelled", [])


def test_the_outcome_of_an_item_that_comes_after_the_end_is_refused() -> None:
    wf, _ = undone(outside=True)
    run = WorkflowTest(wf).start(Order())
    run.report("double[0]", 1)
    run.pause()
    run.report("double[1]", 1)
    assert run.state == "paused"
    run.resume().cancel()

    with pytest.raises(RequestRefused, match="already_ended"):
        run.report("double[2]", 1, attempt=1)


def test_in_a_paused_run_items_end_but_are_not_joined() -> None:
    run = WorkflowTest(fan_out(outside=True)).start(Order())
    run.pause()
    for index in range(3):
        run.report(f"double[{index}]", index)
    assert not joined(run)
    assert run.problems == []

    run.resume()

    assert run.outcome == Done(number=3)


def test_in_a_paused_run_an_item_that_fails_is_to_be_tried_again() -> None:
    run = WorkflowTest(fan_out(outside=True)).start(Order())
    run.pause()

    run.report("double[1]", error="busy")

    assert isinstance(run.history[-1], facts.StepRetryScheduled)
    assert run.problems == []


def test_an_outside_item_that_nobody_reports_is_tried_again() -> None:
    test = WorkflowTest(fan_out(outside=True, timeout="10s"))
    run = test.start(Order())
    run.report("double[1]", 1)

    test.advance("30s")

    assert {fact.step for fact in run.history if isinstance(fact, facts.StepFailed)} == {
        "double[0]", "double[2]",
    }  # fmt: skip
    assert {fact.step for fact in run.history if isinstance(fact, facts.StepRetryScheduled)}


# -- crashes -----------------------------------------------------------------------------------


def test_after_a_crash_only_what_has_not_ended_is_done_again() -> None:
    test = WorkflowTest(fan_out())
    test.given("double[1]", crash, 40)

    run = test.start(Order())

    assert run.outcome == Done(number=120)
    again = [f.step for f in run.history if isinstance(f, facts.StepStarted) and f.attempt == 2]
    assert again == ["double[1]", "double[2]"]


def test_a_snapshot_keeps_what_is_fanned_out() -> None:
    test = WorkflowTest(fan_out(outside=True))
    run = test.start(Order())
    run.report("double[1]", 5)

    loaded = load_state(dump_state(test.state))

    assert loaded == test.state
    assert loaded.runs[run.id].nodes["double"].items == 3


@pytest.mark.parametrize("name", ["double[3]", "double[01]", "double[-1]", "double", "numbers[0]"])
def test_what_is_no_item_cannot_be_reported(name: str) -> None:
    run = WorkflowTest(fan_out(outside=True)).start(Order())

    with pytest.raises(RequestRefused):
        run.report(name, 1, attempt=1)


def test_the_story_says_that_a_step_fanned_out_and_was_joined() -> None:
    story = WorkflowTest(fan_out()).start(Order()).story()

    assert "double is to be done for each of 3 items" in story
    assert "double is done for all items" in story
