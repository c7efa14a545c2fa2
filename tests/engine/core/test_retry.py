"""When a failed step is tried again, and when a person is asked instead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshline.engine.core.retry import delay_s, jitter_of
from meshline.events import facts
from meshline.testing import RequestRefused, WorkflowTest, raises
from meshline.workflow import FailRun, Retry, RetryLater
from meshline.workflow.spec import RetryPolicy
from tests.engine.core.workflows import Done, Order, new_workflow


class Unavailable(Exception):
    pass


class Hopeless(LookupError):
    pass


def one_step(**options: Any) -> WorkflowTest:
    wf = new_workflow()

    @wf.step(**options)
    def work(trigger: Order) -> Done:
        return Done(number=trigger.number)

    return WorkflowTest(wf)


def test_a_step_that_fails_is_tried_again_until_it_succeeds() -> None:
    test = one_step()
    work = test.given("work", Unavailable("1"), Unavailable("2"), Done(number=7))

    run = test.start(Order())
    assert run.state == "waiting"
    assert run.waits[0].kind == "retry"
    test.advance("1m")

    assert (run.state, run.outcome, len(work.called)) == ("succeeded", Done(number=7), 3)
    assert [fact.why for fact in run.history if isinstance(fact, facts.StepStarted)] == [
        "ready",
        "retry",
        "retry",
    ]


def test_exhausted_retries_hold_the_run_and_open_an_exception() -> None:
    test = one_step(retry=Retry(attempts=3))
    work = test.given("work", Unavailable("503"))

    run = test.start(Order())
    test.advance("1h")

    assert (run.state, len(work.called)) == ("held", 3)
    assert (run.exception.kind, run.exception.about) == ("step_failed", "work")
    assert run.exception.owner == run.exception.route == "queue:triage"
    assert "3 times: Unavailable: 503" in run.exception.message
    assert [(wait.kind, wait.about) for wait in run.waits] == [("exception", run.exception.id)]


def test_no_retry_comes_early() -> None:
    test = one_step(retry=Retry(attempts=5, initial="10s", backoff=1))
    work = test.given("work", Unavailable())
    run = test.start(Order())
    (wait,) = run.waits
    assert wait.until is not None

    test.advance(wait.until - test.now - timedelta(microseconds=1))
    assert len(work.called) == 1
    test.advance(timedelta(microseconds=1))

    assert len(work.called) == 2


def test_a_step_may_say_when_to_try_again() -> None:
    test = one_step()
    test.given("work", RetryLater("busy", after="30m"), Done(number=1))

    run = test.start(Order())

    assert run.waits[0].until == test.now + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("asked_s", "waited"), [(-5.0, timedelta(0)), (1e300, timedelta(days=366))]
)
def test_what_a_step_asks_for_has_limits(asked_s: float, waited: timedelta) -> None:
    error = Unavailable()
    error.retry_after_s = asked_s  # type: ignore[attr-defined]
    test = one_step()
    test.given("work", error, Done(number=1))

    run = test.start(Order())

    (scheduled,) = [f for f in run.history if isinstance(f, facts.StepRetryScheduled)]
    assert scheduled.at - test.now in (waited, timedelta(0))
    assert scheduled.delay_s == waited.total_seconds()


@pytest.mark.parametrize("named", [Hopeless, LookupError, "LookupError"])
def test_a_non_retryable_error_or_a_subclass_of_one_is_shown_at_once(named: Any) -> None:
    test = one_step(retry=Retry(non_retryable=[named]))
    work = test.given("work", Hopeless("no entry"))

    run = test.start(Order())

    assert (run.state, len(work.called)) == ("held", 1)


def test_the_time_for_all_tries_ends_them_before_their_number_does() -> None:
    test = one_step(
        retry=Retry(attempts=100, initial="100s", backoff=1), timeout="1s", total_timeout="5m"
    )
    work = test.given("work", Unavailable())

    run = test.start(Order())
    test.advance("1h")

    assert run.state == "held"
    assert 1 < len(work.called) < 100
    opened = next(e for e in test.facts(run.id) if isinstance(e.data, facts.ExceptionOpened))
    assert opened.time - test.facts(run.id)[0].time < timedelta(minutes=5)


def test_a_person_may_try_again_with_all_tries_anew() -> None:
    test = one_step(retry=Retry(attempts=2))
    work = test.given("work", *[Unavailable()] * 3, Done(number=1))
    run = test.start(Order())
    test.advance("1h")

    run.exception.retry("it is up again")
    assert run.exceptions == []
    test.advance("1h")

    assert (run.state, len(work.called)) == ("succeeded", 4)
    assert [fact.attempt for fact in run.history if isinstance(fact, facts.StepStarted)] == [
        1, 2, 3, 4,
    ]  # fmt: skip


def test_a_step_that_waits_for_its_retry_can_be_tried_at_once() -> None:
    test = one_step(retry=Retry(initial="100s", backoff=1))
    test.given("work", Unavailable(), Done(number=1))
    run = test.start(Order())

    run.retry()

    assert run.state == "succeeded"


def test_there_must_be_something_to_try_again() -> None:
    wf = new_workflow()
    wf.sleep("nap", "1d")

    @wf.step(after="nap")
    def work(trigger: Order) -> Done:
        return Done(number=1)

    run = WorkflowTest(wf).start(Order())

    with pytest.raises(RequestRefused, match="nothing_to_retry"):
        run.retry()


def test_a_step_may_fail_the_whole_run() -> None:
    test = one_step()
    test.given("work", FailRun("the customer is gone"))

    run = test.start(Order())

    assert (run.state, run.reason, run.exceptions) == ("failed", "the customer is gone", [])


def test_an_error_of_many_words_is_kept_short() -> None:
    test = one_step(retry=Retry(attempts=1))
    test.given("work", raises("x" * 100_000 + "\x00\ud800"))

    run = test.start(Order())

    assert run.state == "held"
    assert len(run.exception.message) <= 2_100


@given(
    failures=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
    backoff=st.floats(1, 100),
    maximum=st.floats(0, 1e6),
)
def test_no_wait_is_longer_than_the_policy_allows(
    failures: int, jitter: float, backoff: float, maximum: float
) -> None:
    policy = RetryPolicy(backoff=backoff, maximum_interval_s=maximum)

    assert 0 <= delay_s(policy, failures, jitter) <= maximum


def test_waits_are_spread_and_the_same_each_time() -> None:
    drawn = [jitter_of("run", "step", attempt) for attempt in range(1000)]

    assert drawn == [jitter_of("run", "step", attempt) for attempt in range(1000)]
    assert 0.45 < sum(drawn) / 1000 < 0.55
    assert 0 <= min(drawn) < 0.01 < 0.99 < max(drawn) < 1
