"""Who is let in, as the keeper says it: it moves no run, and somebody must have done it."""

from __future__ import annotations

import pytest

from meshline.events import facts
from meshline.events.people_requests import ACCESS, AccessChangeRequested
from meshline.testing import RequestRefused, WorkflowTest
from tests.engine.core.test_answers import orders

ASKED = AccessChangeRequested(
    action="revoke key", about="mlk_1f0c2a9b44d1 of service:crm", reason="lost"
)


def test_who_did_what_to_whom_and_why_is_said_and_takes_no_run() -> None:
    test = WorkflowTest(orders())

    test.ask(ACCESS, ASKED, by="user:ada")

    assert [event.data for event in test.facts(ACCESS)] == [
        facts.AccessChanged(action="revoke key", about=ASKED.about, reason="lost")
    ]
    assert test.state.runs == {}


def test_nobody_changes_it_without_a_name() -> None:
    with pytest.raises(RequestRefused) as error:
        WorkflowTest(orders()).ask(ACCESS, ASKED, by=None)

    assert error.value.code == "no_actor"
