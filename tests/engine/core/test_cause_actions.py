"""A cause that is mended, as the keeper says it: who, in which version, and why."""

from __future__ import annotations

from typing import Any

import pytest

from meshline.events import facts
from meshline.events.requests import CauseActionRequested
from meshline.testing import RequestRefused, WorkflowTest
from tests.engine.core.test_answers import orders

CAUSE = "3fa94c01b2d7"


def ask(test: WorkflowTest, by: str | None = "user:ada", **changed: Any) -> None:
    asked = {"cause": CAUSE, "action": "resolve", "in_version": 2, "reason": "mended"} | changed
    test.ask("causes", CauseActionRequested.model_validate(asked), by=by)


def test_that_it_is_mended_is_said_with_the_version_and_takes_no_run() -> None:
    test = WorkflowTest(orders())

    ask(test)
    ask(test, action="reopen", in_version=None, reason="it is not")

    said = [event.data for event in test.facts("causes")]
    assert said == [
        facts.CauseResolved(cause=CAUSE, in_version=2, reason="mended"),
        facts.CauseReopened(cause=CAUSE, reason="it is not"),
    ]
    assert test.state.runs == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"cause": "ex-1"}, "unknown_cause"),
        ({"reason": " "}, "reason_missing"),
        ({"in_version": None}, "invalid"),
        ({"in_version": 0}, "invalid"),
        ({"by": None}, "no_actor"),
    ],
)
def test_what_is_said_wrongly_is_refused(changed: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestRefused) as error:
        ask(WorkflowTest(orders()), **changed)
    assert error.value.code == code
