"""``silent_after``: what it brings along, what it changes, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.events.facts import ActivityRecorded
from meshline.testing import RequestRefused, WorkflowTest
from meshline.workflow import DefinitionRefused, Registry, Workflow
from meshline.workflow.silence import HEARD, SILENT, UNWATCHED, silence_of
from tests.engine.core.workflows import Done, Order, new_workflow

SINCE = "2026-01-05T08:00:00Z"
SAID = {
    "workflow": "orders", "source": "shop.orders", "trigger_type": "Order", "since": SINCE,
}  # fmt: skip


def watched(silent_after: str | None = "2h", **changed: Any) -> Workflow:
    wf = new_workflow(silent_after=silent_after, **changed)

    @wf.step
    def book(trigger: Order) -> Done:
        return Done(number=trigger.number)

    return wf


def begun() -> tuple[WorkflowTest, Any]:
    test = WorkflowTest(watched())
    run = test.start(SAID, id=SINCE, workflow="orders.silence")
    run.observe(SILENT, SAID | {"silent_after_s": 7200.0})
    return test, run


def test_a_watched_source_brings_a_definition_that_answers_the_five_questions_too() -> None:
    spec = Registry(watched(version=4)).newest("orders.silence")

    assert spec is not None
    assert (spec.version, spec.trigger_type, spec.source) == (
        4, "SourceSilent", "meshline.silence.orders",
    )  # fmt: skip
    assert (spec.owner, spec.exception_route) == ("team:orders", "queue:triage")
    assert spec.expected_outcome == "shop.orders sends Order again"
    assert spec.data["silence_of"] == "orders"


def test_how_long_is_part_of_the_definition_and_of_its_hash() -> None:
    two, three, never = watched("2h").spec, watched("3h").spec, watched(None).spec

    assert two.data["silent_after_s"] == 7200.0
    assert len({two.spec_hash, three.spec_hash, never.spec_hash}) == 3
    assert "silent_after_s" not in never.data
    assert silence_of(never) is None
    assert len(Registry(watched(None))) == 1


def test_a_time_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(DefinitionRefused, match="silent_after of workflow 'orders' is 'soon'"):
        watched("soon")


def test_a_silence_is_one_open_exception_at_the_workflows_route() -> None:
    _, run = begun()

    (said,) = (fact for fact in run.history if isinstance(fact, ActivityRecorded))
    assert [(w.kind, w.about, w.owner) for w in said.waits] == [
        ("outside", "shop.orders", "team:orders")
    ]
    assert (run.exception.kind, run.exception.route) == ("source_silent", "queue:triage")
    assert "at least every 2h, but nothing has come since 2026-01-05 08:00:00 UTC" in (
        run.exception.message
    )
    assert run.problems == []


def test_the_source_is_heard_again_and_the_exception_is_closed() -> None:
    _, run = begun()

    run.observe(HEARD)

    assert (run.state, run.exceptions) == ("succeeded", [])


def test_a_source_that_nobody_watches_any_more_is_no_exception() -> None:
    _, run = begun()

    run.observe(UNWATCHED)

    assert (run.state, run.exceptions) == ("cancelled", [])


def test_a_report_that_comes_twice_or_too_late_opens_nothing_again() -> None:
    test = WorkflowTest(watched())
    said = SAID | {"silent_after_s": 7200.0}
    run = test.start(SAID, id=SINCE, workflow="orders.silence")
    run.observe(SILENT, said, event_id="silent")
    run.exception.resolve("we know")

    with pytest.raises(RequestRefused, match="repeated"):
        run.observe(SILENT, said, event_id="silent")
    run.observe(HEARD, event_id="heard")
    with pytest.raises(RequestRefused, match="repeated"):
        run.observe(SILENT, said, event_id="silent")

    assert (run.state, run.exceptions) == ("succeeded", [])
