"""The auditor raises at facts that count and must not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshline.events import facts
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.facts import Fact
from meshline.events.log.protocol import LogRecord
from meshline.events.requests import StepError
from meshline.testing.auditor import Auditor, HistoryWrong
from meshline.testing.random_workflows import Payload
from meshline.workflow import Registry, Workflow

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def registry() -> Registry:
    wf = Workflow(
        "w", trigger=Payload, source="s", owner="team:a", exceptions="queue:q", outcome=int
    )
    wf.sleep("nap", "1h")

    @wf.step
    def work(trigger: Payload) -> int:
        return 1

    return Registry(wf)


class Book:
    """A log that is written by hand."""

    def __init__(self) -> None:
        self.auditor = Auditor(registry())
        self.offset = 0
        self.sequence = 0
        self._put(
            Event("c", "t", "", NOW, facts.PartitionClaimed(keeper="k", reducer_version=1), NOW)
        )
        accepted = facts.TriggerAccepted(
            source="s", trigger_id="t", trigger_type="Payload", payload_hash="h", workflow="w",
            version=1, exception_route="queue:q",
        )  # fmt: skip
        started = facts.RunStarted(
            workflow="w", version=1, trigger_type="Payload", trigger_id="t", source="s",
            owner="team:a", exception_route="queue:q", expected_outcome="int",
        )  # fmt: skip
        self.say(accepted, started)

    def _put(self, event: Event[Any]) -> None:
        self.auditor.read(LogRecord(0, self.offset, event.subject, encode(event), 0))
        self.offset += 1

    def say(self, *said: Fact, time: datetime = NOW) -> None:
        for data in said:
            self.sequence += 1
            event = Event("x", "t", "run", time, data, time)
            self._put(event.numbered(0, self.sequence, "t"))


BEGAN = facts.StepStarted(step="work", attempt=1)
WORKED = facts.StepSucceeded(step="work", attempt=1, result=1)
SLEEPS = facts.TimerSet(timer="nap", at=NOW + timedelta(hours=1))
OPENED = facts.ExceptionOpened(
    workflow="w", exception_id="e", kind="step_failed", about="work", route="queue:q",
    owner="queue:q", severity="high", cause="c", message="m", blocking=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "wrong", "expected"),
    [
        ([BEGAN, WORKED], WORKED, "under way"),
        ([BEGAN], BEGAN, "attempt 2"),
        ([BEGAN], facts.StepStarted(step="work", attempt=2), "not started"),
        ([BEGAN], facts.StepSucceeded(step="work", attempt=2), "under way"),
        ([], facts.StepStarted(step="other", attempt=1), "a step of the workflow"),
        ([SLEEPS], facts.TimerFired(timer="nap"), "nothing before"),
        ([], facts.TimerFired(timer="nap"), "a timer that is set"),
        ([facts.RunPaused()], BEGAN, "paused"),
        ([facts.RunPaused()], facts.RunWaiting(waits=()), "another fact of a paused run"),
        ([], facts.RunWaiting(waits=()), "something that it waits for"),
        ([], facts.RunSucceeded(), "all nodes to have ended"),
        ([OPENED], OPENED, "an id of its own"),
        ([], facts.ExceptionResolved(exception_id="e", how="retried"), "an open exception"),
        ([], facts.StepFailed(step="work", attempt=1, error=StepError(type="", message="")), "try"),
        ([], facts.ApprovalApproved(approval="deal", by="user:ada"), "that is open"),
        ([facts.RunFailed(reason="r")], facts.RunReopened(reason="r"), "no more of a failed run"),
        ([facts.RunFailed(reason="r")], BEGAN, "no more of a failed run"),
    ],
)
def test_what_must_not_be_is_said_so(said: list[Fact], wrong: Fact, expected: str) -> None:
    book = Book()
    book.say(*said)

    with pytest.raises(HistoryWrong, match=expected):
        book.say(wrong)


def test_what_may_be_is_let_pass() -> None:
    book = Book()

    book.say(SLEEPS, BEGAN, WORKED)
    book.say(facts.TimerFired(timer="nap"), time=NOW + timedelta(hours=1))
    book.say(facts.RunSucceeded(outcome=1))

    assert book.auditor.state.ended["run"].status == "succeeded"


def test_an_answer_needs_its_request() -> None:
    book = Book()
    data = facts.RequestRejected(request="r", code="c", reason="r")
    event = Event("x", "t", "run", NOW, data, NOW, causation_id="0:99").numbered(0, 3, "t")

    with pytest.raises(HistoryWrong, match="a request that it answers"):
        book._put(event)


def test_a_fact_that_does_not_count_is_no_matter() -> None:
    book = Book()
    event = Event("x", "t", "run", NOW, WORKED, NOW).numbered(0, 99, "t")

    book._put(event)

    assert book.auditor.state.void_facts == 1
