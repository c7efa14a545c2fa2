"""The kit for projections itself: what fails is shown, and may be kept as a projector keeps it."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from meshline.events.envelope import Recorded
from meshline.events.facts import RunResumed, RunSucceeded
from meshline.projections.projection import Projection, by_run
from meshline.testing import WorkflowTest
from meshline.testing.projections import ProjectionTest


class CountRow(NamedTuple):
    run_id: str
    by: str


projection = Projection("counted", version=1)
counted = projection.table("counted", CountRow, key=["run_id"], keys=by_run)


@counted.on(RunSucceeded)
def succeeded(row: CountRow | None, event: Recorded[RunSucceeded]) -> CountRow:
    if event.event.data.outcome == "poison":
        raise ValueError("no such outcome")
    actor = event.event.actor
    return CountRow(event.event.subject, actor.id if actor else "")


def test_events_of_several_runs_make_rows_in_the_order_of_their_keys() -> None:
    test = ProjectionTest(projection).given(RunSucceeded(), run="b", by="user:ada")
    began = test.now
    test.when(RunResumed(), RunSucceeded(), run="a")

    assert test.rows(counted) == [CountRow("a", ""), CountRow("b", "user:ada")]
    assert test.row(counted, "b") == CountRow("b", "user:ada")
    assert test.row(counted, "c") is None
    assert (test.now - began).total_seconds() == 120.0


def test_an_event_that_fails_fails_the_test_with_its_stack() -> None:
    with pytest.raises(AssertionError, match=r"(?s)run.succeeded.*no such outcome.*in succeeded"):
        ProjectionTest(projection).given(RunSucceeded(outcome="poison"))


async def test_it_may_be_parked_instead_with_what_waits_behind_it() -> None:
    test = ProjectionTest(projection, may_park=True)
    test.given(RunSucceeded(outcome="poison"), RunSucceeded(), run="a")
    test.when(RunSucceeded(), run="b")

    assert [(parked.entity, parked.why) for parked in test.parked] == [
        ("a", "failed"), ("a", "behind"),
    ]  # fmt: skip
    assert [row.run_id for row in test.rows(counted)] == ["b"]


def test_a_whole_log_comes_first() -> None:
    test = ProjectionTest(projection).given(RunSucceeded())

    with pytest.raises(ValueError, match="expected a whole log as the first"):
        test.given_log_of(WorkflowTest())
