"""Observed runs after their end: what opens them again, and what says nothing new."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from meshline.engine.core.observing import observe
from meshline.engine.core.reducer import evolve
from meshline.engine.core.state import RunState
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.requests import ActivityReported
from meshline.workflow import Activity, Observation, ObservedWorkflow, Raised

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Opened(BaseModel):
    case: str


cases = ObservedWorkflow(
    "case", trigger=Opened, source="desk", owner="team:desk", exceptions="queue:x", outcome="done"
)


@cases.observe
def read(activity: Activity, memo: Any) -> Observation:
    word, _, owner = activity.name.partition(" ")
    raised = (Raised("late", "it is late"),) if word.endswith("!") else ()
    ended: Any = None if word == "work" else word.rstrip("!")
    return Observation(owner=owner or None, ended=ended, raised=raised)


def told(*activities: str) -> tuple[RunState, list[list[type[facts.Fact]]]]:
    """The run after these activities, a minute apart, and the facts that each of them led to."""
    run: RunState | None = RunState("r")
    assert run is not None
    run.status, run.owner, run.seen = "running", "team:desk", frozenset()
    said: list[list[type[facts.Fact]]] = []
    for number, activity in enumerate(activities):
        at = NOW + timedelta(minutes=number)
        request = Event(f"e{number}", "desk", "r", at, ActivityReported(activity=activity), at)
        said.append([])
        for decision in observe(cases.spec, run, request, f"0:{number}"):
            said[-1].append(type(decision.data))
            fact = Event("f", "m", "r", decision.time or at, decision.data, at, 1, 1)
            run = evolve(run, fact, request if decision.causation_id else None)
            assert run is not None
    return run, said


def test_that_it_has_ended_once_more_is_recorded_and_changes_nothing() -> None:
    run, said = told("succeeded team:a", "succeeded team:a")

    assert said[1] == [facts.ActivityRecorded]
    assert (run.status, run.owner) == ("succeeded", "team:a")


def test_work_after_the_end_opens_it_again() -> None:
    run, said = told("succeeded team:a", "work")

    assert said[1] == [facts.RunReopened, facts.ActivityRecorded]
    assert run.status == "running"


def test_an_end_in_other_hands_is_recorded_with_who_has_it() -> None:
    run, said = told("succeeded team:a", "succeeded team:b")

    assert said[1] == [
        facts.RunReopened, facts.ActivityRecorded, facts.OwnerAssigned, facts.RunSucceeded,
    ]  # fmt: skip
    assert (run.status, run.owner) == ("succeeded", "team:b")


def test_another_kind_of_end_is_recorded() -> None:
    run, said = told("succeeded", "cancelled")

    assert said[1] == [facts.RunReopened, facts.ActivityRecorded, facts.RunCancelled]
    assert run.status == "cancelled"


def test_an_exception_seen_after_the_end_is_opened() -> None:
    run, said = told("succeeded", "succeeded!", "succeeded!")

    assert said[1] == [
        facts.RunReopened, facts.ActivityRecorded, facts.ExceptionOpened, facts.RunSucceeded,
    ]  # fmt: skip
    assert len(run.exceptions or {}) == 1
