"""What is allowed and may not be meant."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.workflow import Approval, ObservedWorkflow, Retry, StepContext, Workflow
from meshline.workflow.check import answers, check, longest_s


class Trigger(BaseModel):
    size: int


class Made(BaseModel):
    id: str


def workflow(**changed: Any) -> Workflow:
    given: dict[str, Any] = {
        "trigger": Trigger, "source": "web", "owner": "team:a", "exceptions": "queue:a",
        "outcome": Made, "due": "1d",
    }  # fmt: skip
    return Workflow("order", **(given | changed))


def make(trigger: Trigger) -> Made: ...


def found(wf: Workflow | ObservedWorkflow) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.code, finding.about) for finding in check(wf.spec)]


def careful(wf: Workflow) -> None:
    """Add the outcome in a way that leaves nothing to find."""
    wf.step(timeout="10s")(make)


def test_a_careful_definition_has_no_findings() -> None:
    wf = workflow()
    careful(wf)

    assert found(wf) == []


def test_the_five_answers_in_words() -> None:
    wf = workflow()
    careful(wf)

    assert answers(wf.spec) == {
        "trigger": "Trigger", "source": "web", "owner": "team:a", "exceptions": "queue:a",
        "outcome": "Made, given by make, within 1d",
    }  # fmt: skip


def test_no_due_time() -> None:
    wf = workflow(due=None)
    careful(wf)

    assert found(wf) == [("warning", "no_due", "")]


def test_an_outcome_that_may_be_skipped() -> None:
    wf = workflow()

    @wf.step(when=lambda trigger: trigger.size > 5)
    async def look(trigger: Trigger) -> int: ...

    @wf.step
    async def create(look: int) -> Made: ...

    (finding,) = check(wf.spec)

    assert (finding.code, finding.about) == ("outcome_skippable", "look")
    assert "'create' is skipped where `trigger.size > 5` does not hold" in finding.message
    assert ", because it needs 'look': such a run ends in an exception." in finding.message


def test_an_outcome_that_only_wants_what_may_be_skipped_is_sure() -> None:
    wf = workflow()

    @wf.step(when=lambda trigger: trigger.size > 5)
    async def look(trigger: Trigger) -> int: ...

    @wf.step
    async def create(look: int | None) -> Made: ...

    assert found(wf) == []


def test_an_approval_that_nothing_waits_for() -> None:
    wf = workflow()
    wf.approval("late", by="role:lead", due="1h", after="make")
    wf.approval("beside", by="role:lead", due="1h")
    careful(wf)

    assert found(wf) == [("warning", "approval_passed_by", "beside")]


def test_a_decision_that_nothing_reads() -> None:
    wf = workflow()
    wf.approval("big", by="role:lead", due="1h", denied="continue")
    wf.step(timeout="10s", after="big")(make)

    assert found(wf) == [("warning", "decision_unused", "big")]


def test_waits_for_people_and_systems_without_a_due_time() -> None:
    wf = workflow()
    wf.approval("big", by="role:lead")
    wf.message("paid", after="big")
    wf.step(timeout="10s", after="paid")(make)

    assert found(wf) == [
        ("warning", "approval_without_due", "big"), ("warning", "message_without_due", "paid"),
    ]  # fmt: skip


def test_what_takes_longer_than_the_run_may() -> None:
    wf = workflow(due="1h")
    wf.sleep("cool_off", "2h")
    wf.approval("big", by="role:lead", due="40m", escalate="team:a", after="cool_off")

    @wf.step(retry=Retry(attempts=100), timeout="5m", after="big")
    async def create(trigger: Trigger) -> Made: ...

    assert found(wf) == [
        ("warning", "outlasts_due", "cool_off"),
        ("warning", "outlasts_due", "big"),
        ("warning", "outlasts_due", "create"),
    ]


def test_how_long_a_step_may_take() -> None:
    wf = workflow()
    wf.step(retry=Retry(attempts=4, initial="1s", maximum="3s"), timeout="10s")(make)

    assert longest_s(wf.spec.nodes["make"]) == 4 * 10 + 1 + 2 + 3


def test_the_total_time_is_a_limit_too() -> None:
    wf = workflow()
    wf.step(timeout="10s", total_timeout="1m")(make)

    assert longest_s(wf.spec.nodes["make"]) == 60


def test_results_that_nobody_asks_for() -> None:
    wf = workflow()
    careful(wf)

    @wf.step
    async def tell(trigger: Trigger) -> str: ...

    @wf.step
    async def log(trigger: Trigger) -> None: ...

    assert found(wf) == [("info", "result_unused", "tell")]


def test_steps_that_say_too_little() -> None:
    wf = workflow()
    careful(wf)

    @wf.step
    def tell(trigger, make):  # type: ignore[no-untyped-def]
        ...

    @wf.assign
    def route(tell: Any) -> str: ...

    assert found(wf) == [
        ("info", "not_annotated", "tell"), ("info", "thread_without_timeout", "tell"),
    ]  # fmt: skip


async def with_key(trigger: Trigger, idempotency_key: str) -> Made: ...
async def without_key(trigger: Trigger) -> Made: ...
async def with_context(trigger: Trigger, ctx: StepContext) -> Made: ...


def undo() -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "code"),
    [
        (with_key, {"compensate": undo}, None),
        (without_key, {"compensate": undo}, "effect_without_key"),
        (with_context, {"heartbeat": "1s"}, None),
        (without_key, {"heartbeat": "1s"}, "heartbeat_without_context"),
        (without_key, {"heartbeat": "1s", "outside": True}, None),
    ],
)
def test_what_a_step_should_ask_for(
    function: Callable[..., Any], options: dict[str, Any], code: str | None
) -> None:
    wf = workflow()
    wf.step(**options)(function)

    assert [finding.code for finding in check(wf.spec)] == ([code] if code else [])


def test_warnings_come_first() -> None:
    wf = workflow(due=None)
    wf.step(make)

    @wf.step
    async def tell(make: Made, approve: Approval) -> str: ...

    wf.approval("approve", by="role:lead", after="make")

    severities = [severity for severity, _, _ in found(wf)]

    assert severities == sorted(severities, reverse=True)
    assert set(severities) == {"warning", "info"}
