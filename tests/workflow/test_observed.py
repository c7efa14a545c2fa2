"""Observed workflows: one rule reads what others did."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.workflow import Activity, DefinitionRefused, Observation, ObservedWorkflow


class Ticket(BaseModel):
    number: int


def observed(**changed: Any) -> ObservedWorkflow:
    given: dict[str, Any] = {
        "trigger": Ticket, "source": "desk", "owner": "team:desk", "exceptions": "queue:desk",
        "outcome": "it works again",
    }  # fmt: skip
    return ObservedWorkflow("ticket", **(given | changed))


def refusal(define: Callable[[], object]) -> str:
    with pytest.raises(DefinitionRefused) as refused:
        define()
    return str(refused.value)


def rule(activity: Activity, memo: Any) -> Observation:
    return Observation(owner="team:a", memo=(memo or 0) + 1)


def test_its_spec_has_a_rule_and_no_nodes() -> None:
    wf = observed(due="30d", quiet="2h")

    kept = wf.observe(rule)

    assert kept is rule
    assert wf.spec.observed
    assert (wf.spec.nodes, wf.spec.outcome_node, wf.spec.quiet_s) == ({}, None, 7_200)
    assert wf.spec.observe is rule
    assert (wf.spec.data["observed"], wf.spec.data["observe"]) == (True, "rule")


def test_without_a_rule_it_is_refused_with_the_code_to_write() -> None:
    message = refusal(lambda: observed().spec)

    assert message.startswith(
        "ML4019 The observed workflow 'ticket' does not say what an activity means: "
        "expected an observe rule. Add:\n\n    @wf.observe\n"
    )


def test_it_has_one_rule() -> None:
    wf = observed()
    wf.observe(rule)

    assert "has a second observe rule (test_observed.py:" in refusal(lambda: wf.observe(rule))


def test_the_rule_takes_an_activity_and_the_memo_and_returns_an_observation() -> None:
    async def awaited(activity: Activity, memo: Any) -> Observation: ...
    def alone(activity: Activity) -> Observation: ...
    def of_texts(activity: str, memo: Any) -> Observation: ...
    def perhaps(activity: Activity, memo: Any) -> Observation | None: ...

    def refused(wrong: Any) -> str:
        return refusal(lambda: observed().observe(wrong))

    assert "is async or does not take two values: activity, memo" in refused(awaited)
    assert "is async or does not take two values: activity: expected" in refused(alone)
    assert "takes str and returns Observation: expected an Activity" in refused(of_texts)
    assert "returns Observation | None: expected an Activity, and an Ob" in refused(perhaps)


def test_a_rule_without_annotations_will_do() -> None:
    wf = observed()

    @wf.observe
    def rule(activity, memo):  # type: ignore[no-untyped-def]
        return Observation()

    assert wf.spec.observed


def test_the_five_answers_hold_here_too() -> None:
    assert "ML4001" in refusal(lambda: observed(outcome=""))
    assert "ML4003" in refusal(lambda: observed(owner="desk"))
    assert "ML4005" in refusal(lambda: observed(quiet="soon"))
    assert "expected words, because no step of Meshline gives it" in refusal(
        lambda: observed(outcome=Ticket)
    )
    assert observed(quiet="0s").version == 1
