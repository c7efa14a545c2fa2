"""What is asked of a run: each request is carried out, or refused with a reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from meshline.events import facts
from meshline.events.ids import run_id_of
from meshline.events.requests import (
    CancelRequested,
    ExceptionActionRequested,
    MessageReceived,
    PauseRequested,
    RefusalReported,
)
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import FailRun, Retry, Workflow
from tests.engine.core.workflows import Done, Order, new_workflow


def orders(**options: Any) -> Workflow:
    """Two steps with a sleep between them; the first can be undone."""
    wf = new_workflow()

    def release(result: int) -> None: ...

    @wf.step(compensate=release, **options)
    def reserve(trigger: Order) -> int:
        return trigger.number

    wf.sleep("nap", "1d", after="reserve")

    @wf.step(after="nap")
    def ship(reserve: int) -> Done:
        return Done(number=reserve)

    return wf


def held() -> tuple[WorkflowTest, RunUnderTest]:
    test = WorkflowTest(orders(retry=Retry(attempts=1)))
    test.given("reserve", OSError("full"), 7)
    return test, test.start(Order())


def test_a_note_is_kept_whether_the_run_is_open_or_has_ended_and_changes_nothing() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())
    before = test.state.runs[run.id].copy()

    run.note("they called", by="user:ada")
    assert test.state.runs[run.id] == before
    test.advance("1d")
    run.note("all is well", by="user:bob")

    assert [f.text for f in run.history if isinstance(f, facts.RunNoted)] == [
        "they called",
        "all is well",
    ]
    assert run.id not in test.state.runs
    assert "a note: all is well" in run.story()
    with pytest.raises(RequestRefused, match="a note needs words"):
        run.note("  ")


# -- exceptions --------------------------------------------------------------------------------


def test_skipping_a_step_with_a_value_goes_on_with_it() -> None:
    test, run = held()

    run.exception.skip(3, "counted by hand")
    test.advance("1d")

    assert run.outcome == Done(number=3)
    assert run.steps == ["reserve", "ship"]


def test_skipping_a_step_without_a_value_skips_what_needs_it() -> None:
    test, run = held()

    run.exception.skip()
    test.advance("1d")

    skips = {f.step: f.why for f in run.history if isinstance(f, facts.StepSkipped)}
    assert skips == {"reserve": "operator", "ship": "upstream"}
    assert run.exception.kind == "outcome_missing"


def test_a_value_that_is_no_result_of_the_step_is_refused() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match=r"invalid.*reserve"):
        run.exception.skip("many")

    assert run.state == "held"


def test_retrying_an_exception_begins_the_step_again() -> None:
    _, run = held()

    run.exception.retry()

    assert (run.steps, run.exceptions) == (["reserve", "reserve"], [])


def test_an_exception_can_be_acknowledged_and_given_to_somebody() -> None:
    _, run = held()

    run.exception.acknowledge("I look at it")
    run.exception.assign("user:ada")

    assert (run.exception.acknowledged, run.exception.owner) == (True, "user:ada")
    assert run.waits[0].owner == "user:ada"
    assert run.problems == []


def test_work_on_an_exception_is_started_and_holds_the_step_as_before() -> None:
    _, run = held()

    run.exception.start("I ask the supplier")

    assert run.exception.acknowledged
    assert (run.state, run.steps, run.problems) == ("held", ["reserve"], [])


def test_an_exception_needs_an_owner_that_can_own() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match="not_a_principal"):
        run.exception.assign("somebody")


def test_an_exception_that_holds_a_step_is_not_resolved_by_saying_so() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match=r"blocking.*holds reserve"):
        run.exception.resolve()


def test_an_exception_that_holds_nothing_is_resolved_by_saying_so() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order(), id="a")
    with pytest.raises(RequestRefused, match="conflict"):
        test.start(Order(number=2), id="a")

    with pytest.raises(RequestRefused, match="nothing_to_retry"):
        run.exception.retry()
    with pytest.raises(RequestRefused, match="nothing_to_skip"):
        run.exception.skip()
    run.exception.resolve("they know")

    assert run.exceptions == []


def test_an_exception_that_is_not_open_is_refused() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match="unknown_exception"):
        run.ask(ExceptionActionRequested(exception_id="ex-0", action="retry"))


def test_after_the_end_nothing_is_tried_again_or_skipped() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order(), id="a")
    with pytest.raises(RequestRefused, match="conflict"):
        test.start(Order(number=2), id="a")
    test.advance("1d")

    assert run.state == "succeeded"
    for action in ("retry", "skip"):
        with pytest.raises(RequestRefused, match="already_ended"):
            run.exception._act(action, "")
    run.exception.resolve()
    assert run.exceptions == []


# -- owners ------------------------------------------------------------------------------------


def test_a_run_can_be_handed_over() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    run.hand_to("user:ada", "she knows them")

    assert (run.owner, run.waits[0].owner) == ("user:ada", "user:ada")
    with pytest.raises(RequestRefused, match="not_a_principal"):
        run.hand_to("somebody")


# -- cancelling --------------------------------------------------------------------------------


def test_a_cancelled_run_is_undone_in_reverse_order() -> None:
    wf = new_workflow()

    def undo_first(result: int) -> None: ...
    def undo_second(result: int) -> None: ...

    @wf.step(compensate=undo_first)
    def first(trigger: Order) -> int:
        return 1

    @wf.step(compensate=undo_second)
    def second(first: int) -> int:
        return 2

    wf.sleep("nap", "1d", after="second")

    @wf.step(after="nap")
    def third(trigger: Order) -> Done:
        return Done(number=3)

    test = WorkflowTest(wf)
    undo = test.given("undo:second", None)
    run = test.start(Order())

    run.cancel("on second thoughts")

    assert run.steps == ["first", "second", "undo:second", "undo:first"]
    assert (run.state, run.reason) == ("cancelled", "on second thoughts")
    assert undo.called == [{"result": 2}]
    test.advance("2d")
    assert run.history[-1] == facts.RunCancelled(reason="on second thoughts")


def test_a_run_with_nothing_to_undo_is_cancelled_at_once() -> None:
    _, run = held()

    run.cancel()

    assert (run.state, run.exceptions) == ("cancelled", [])
    resolved = [fact.how for fact in run.history if isinstance(fact, facts.ExceptionResolved)]
    assert resolved == ["run_ended"]


def test_a_step_that_cannot_be_undone_holds_the_run_until_a_person_helps() -> None:
    test = WorkflowTest(orders(retry=Retry(attempts=1)))
    test.given("undo:reserve", OSError("stuck"))
    run = test.start(Order())

    run.cancel()
    assert (run.state, run.exception.about) == ("held", "undo:reserve")
    with pytest.raises(RequestRefused, match="already_cancelling"):
        run.cancel()
    run.exception.skip()

    assert run.state == "cancelled"


def test_a_failed_run_is_undone_too() -> None:
    test = WorkflowTest(orders())
    test.given("ship", FailRun("the customer is gone"))
    run = test.start(Order())
    test.advance("1d")

    assert run.steps == ["reserve", "ship", "undo:reserve"]
    assert (run.state, run.reason) == ("failed", "the customer is gone")


def test_a_denial_that_leads_to_undoing_closes_what_held_other_branches() -> None:
    wf = new_workflow()

    def release(result: int) -> None: ...

    @wf.step(compensate=release, retry=Retry(attempts=1))
    def reserve(trigger: Order) -> int:
        return 1

    @wf.step(retry=Retry(attempts=1))
    def weigh(trigger: Order) -> Done:
        raise OSError("broken")

    wf.approval("deal", by="role:lead")
    test = WorkflowTest(wf)
    test.given("undo:reserve", OSError("stuck"))
    run = test.start(Order())
    assert run.exception.about == "weigh"

    run.deny("deal", "too dear")

    assert run.exception.about == "undo:reserve"
    resolved = [fact.how for fact in run.history if isinstance(fact, facts.ExceptionResolved)]
    assert resolved == ["run_ended"]


def test_nothing_after_the_end_changes_a_run() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())
    test.advance("1d")
    before = run.history

    for asked in (run.cancel, run.pause, run.resume, run.retry):
        with pytest.raises(RequestRefused, match="already_ended"):
            asked()

    assert run.history[: len(before)] == before
    assert {type(fact) for fact in run.history[len(before) :]} == {facts.RequestRejected}
    assert run.outcome == Done(number=1)


def test_a_run_that_nobody_knows_is_not_silently_ignored() -> None:
    test = WorkflowTest(orders())

    with pytest.raises(RequestRefused, match=r"unknown_run.*no run 'nobody'"):
        test.ask("nobody", CancelRequested())


# -- pausing -----------------------------------------------------------------------------------


def test_a_paused_run_begins_nothing_until_it_is_resumed() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    run.pause("inventory")
    test.advance("2d")
    assert run.state == "paused"
    assert [(w.kind, w.about, w.owner) for w in run.waits] == [("task", "resume", "team:orders")]
    run.resume()

    assert run.state == "succeeded"


def test_a_pause_may_end_by_itself() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    run.pause(for_="3d")
    test.advance("2d")
    assert (run.state, run.waits[0].kind) == ("paused", "timer")
    test.advance("1d")

    assert run.state == "succeeded"


def test_a_pause_until_a_moment_that_has_passed_is_over_at_once() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())

    run.ask(PauseRequested(until=test.now - timedelta(hours=1)))

    assert run.state == "waiting"


def test_pausing_and_resuming_count_once() -> None:
    run = WorkflowTest(orders()).start(Order())

    with pytest.raises(RequestRefused, match=r"not_paused.*is waiting"):
        run.resume()
    run.pause()
    with pytest.raises(RequestRefused, match="already_paused"):
        run.pause()


def test_in_a_paused_run_nothing_is_tried_again() -> None:
    test = WorkflowTest(orders(retry=Retry(initial="100s", backoff=1)))
    test.given("reserve", OSError(), 7)
    run = test.start(Order())
    run.pause()

    with pytest.raises(RequestRefused, match="paused"):
        run.retry()
    test.advance("1d")
    assert run.steps == ["reserve"]
    run.resume()

    assert run.steps == ["reserve", "reserve"]


def test_a_paused_run_can_be_cancelled_and_is_undone() -> None:
    run = WorkflowTest(orders()).start(Order())
    run.pause()

    run.cancel()

    assert (run.state, run.steps) == ("cancelled", ["reserve", "undo:reserve"])


def test_what_comes_in_while_a_run_is_paused_counts() -> None:
    wf = new_workflow()
    wf.message("paid")

    @wf.step(outside=True, retry=Retry(attempts=1))
    def weigh(trigger: Order) -> Done:
        raise NotImplementedError

    run = WorkflowTest(wf).start(Order())
    run.pause()

    run.send("paid")
    run.report("weigh", error="Broken")
    assert (run.state, run.exception.about) == ("paused", "weigh")
    run.exception.skip({"number": 1})
    assert run.state == "paused"
    run.resume()

    assert run.outcome == Done(number=1)


def test_a_paused_run_whose_step_fails_the_run_ends_when_it_is_resumed() -> None:
    wf = new_workflow()

    @wf.step(outside=True)
    def weigh(trigger: Order) -> Done:
        raise NotImplementedError

    run = WorkflowTest(wf).start(Order())
    run.pause()

    run.report("weigh", error="FailRun")
    assert (run.state, run.problems) == ("paused", [])
    run.resume()

    assert run.state == "failed"


def test_a_paused_run_that_is_late_says_so() -> None:
    wf = new_workflow(due="2d")
    wf.sleep("nap", "1h")

    @wf.step(after="nap")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run = test.start(Order())
    run.pause()

    test.advance("3d")

    assert (run.state, run.exception.kind) == ("paused", "overdue")


# -- poison ------------------------------------------------------------------------------------


def test_a_request_that_no_log_could_answer_is_refused_and_hurts_nobody() -> None:
    wf = new_workflow()
    wf.message("paid")

    @wf.step(after="paid")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    test = WorkflowTest(wf)
    run, other = test.start(Order()), test.start(Order())

    # Past every gate: something else wrote to the topic.
    poison = MessageReceived(name="paid", payload={"text": "NUL"})
    with pytest.raises(RequestRefused, match="undecidable"):
        ask_raw(test, run, poison)

    other.send("paid")
    assert (run.state, other.state) == ("waiting", "succeeded")


def ask_raw(test: WorkflowTest, run: RunUnderTest, data: MessageReceived) -> None:
    """Append a request with a character that ``encode`` would not write."""
    append = test._append

    def changed(entries: Any) -> int:
        entries = [e._replace(value=e.value.replace(b'"NUL"', b'"\\u0000"')) for e in entries]
        return append(entries)

    test._append = changed  # type: ignore[method-assign]
    try:
        run.ask(data)
    finally:
        test._append = append  # type: ignore[method-assign]


def test_run_ids_follow_from_triggers() -> None:
    run = WorkflowTest(orders()).start(Order(), id="a")

    assert run.id == run_id_of("shop.orders", "a")


def test_what_a_server_turned_away_stands_in_the_history_and_changes_nothing() -> None:
    test = WorkflowTest(orders())
    run = test.start(Order())
    waits = run.waits

    report = RefusalReported(
        request=CancelRequested.TYPE, code="ML6002", reason="She may not.", times=3
    )
    for run_id in (run.id, run_id_of("shop", "of no run")):
        with pytest.raises(RequestRefused, match="3 times alike"):
            test.ask(run_id, report, by="user:eve")

        said = test.facts(run_id)[-1]
        assert isinstance(said.data, facts.RequestRejected)
        assert (said.data.request, said.data.code) == (CancelRequested.TYPE, "ML6002")
        assert said.actor == ("user", "user:eve")
    assert run.waits == waits
