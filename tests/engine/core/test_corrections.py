"""Setting right what a run knows, and trying again the step that failed on it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field

from meshline.events import facts
from meshline.events.corrections import Change, Corrected, Correction
from meshline.testing import RequestRefused, RunUnderTest, WorkflowTest
from meshline.workflow import Approval, Retry, Workflow
from tests.engine.core.workflows import Done, new_workflow


class Form(BaseModel):
    company: str = Field(min_length=2)
    lines: list[int] = []


ONCE = Retry(attempts=1)
FORM = {"company": "Acmee", "lines": [1, 2]}


def intake() -> Workflow:
    wf = new_workflow("intake", trigger=Form)

    @wf.step
    def score(trigger: Form) -> int:
        return len(trigger.company)

    @wf.approval("terms", by="team:sales")
    class Terms(BaseModel):
        discount: int = 0

    @wf.step(retry=ONCE)
    def enrich(trigger: Form, score: int, terms: Approval) -> str:
        if trigger.company != "Acme":
            raise LookupError(f"no entry for {trigger.company!r}")
        return f"{trigger.company} {score}"

    @wf.step
    def tell(trigger: Form, enrich: str) -> Done:
        return Done(number=len(trigger.company))

    return wf


def held() -> tuple[WorkflowTest, RunUnderTest]:
    test = WorkflowTest(intake())
    run = test.start(FORM)
    run.approve("terms", {"discount": 5})
    assert run.exception.about == "enrich"
    return test, run


def to(path: str, value: Any, of: str = "trigger") -> Correction:
    return Correction(of=of, path=path, value=value)


def test_the_step_and_all_that_begin_later_read_the_corrected_value() -> None:
    _, run = held()

    run.exception.retry("a typing error", [to("/company", "Acme")])

    assert run.outcome == Done(number=4)
    (closed,) = [fact for fact in run.history if isinstance(fact, facts.ExceptionResolved)]
    change = Change(path="/company", what="changed", before="Acmee", after="Acme")
    assert closed.how == "retried"
    assert closed.corrected == (Corrected(of="trigger", changes=(change,)),)
    assert '"Acmee" to "Acme"' in run.story()


def test_what_a_step_gave_can_be_corrected_and_what_has_ended_stays() -> None:
    _, run = held()

    run.exception.retry(corrections=[to("/company", "Acme"), to("", 40, of="score")])

    (enriched,) = [
        fact.result
        for fact in run.history
        if isinstance(fact, facts.StepSucceeded) and fact.step == "enrich"
    ]
    assert enriched == "Acme 40"
    assert run.steps.count("score") == 1


@pytest.mark.parametrize(
    ("correction", "words"),
    [
        (to("/company", ""), "company: String should have at least 2"),
        (to("/lines", "none"), "it would be no trigger: lines"),
        (to("/lines/7", 1), "expected an index below 2"),
        (to("", "many", of="score"), "it would be no score"),
        (to("/approved", True, of="terms"), "no value that can be corrected"),
        (to("", 1, of="nothing"), "no value that can be corrected"),
        (to("", "x", of="enrich"), "has no value yet"),
        (to("/company", "x" * 300_000), "expected at most 262144"),
    ],
)
def test_what_can_not_be_is_refused_and_changes_nothing(correction: Correction, words: str) -> None:
    test, run = held()
    before = test.state.runs[run.id].copy()

    with pytest.raises(RequestRefused, match=words):
        run.exception.retry(corrections=[correction])
    with pytest.raises(RequestRefused, match=words):
        run.exception.retry(corrections=[to("", 41, of="score"), correction])

    assert test.state.runs[run.id] == before


def test_corrections_that_change_nothing_are_refused() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match="the corrections change nothing"):
        run.exception.retry(corrections=[to("/company", "Acmee"), to("", 5, of="score")])


def test_only_a_retry_corrects() -> None:
    _, run = held()

    with pytest.raises(RequestRefused, match="corrections go with a retry"):
        run.exception._act("skip", "", corrections=(to("/company", "Acme"),))


def fan_out() -> Workflow:
    wf = new_workflow("parcels", trigger=Form)

    @wf.step(each="trigger.lines", retry=ONCE)
    def pack(item: int) -> int:
        if item == 2:
            raise LookupError("no such parcel")
        return item

    @wf.step
    def close(pack: list[int]) -> Done:
        return Done(number=sum(pack))

    return wf


def test_an_item_is_corrected_in_its_list_but_there_can_not_be_more_of_them() -> None:
    test = WorkflowTest(fan_out())
    run = test.start(FORM)
    assert run.exception.about == "pack[1]"

    with pytest.raises(RequestRefused, match="under way for 2 items"):
        run.exception.retry(corrections=[to("/lines", [1, 2, 3])])
    run.exception.retry(corrections=[to("/lines/1", 5)])

    assert run.outcome == Done(number=6)


def test_a_trigger_that_comes_again_is_the_one_that_came_before_it_was_corrected() -> None:
    test = WorkflowTest(intake())
    run = test.start(FORM, id="1")
    run.approve("terms")
    run.exception.retry(corrections=[to("/company", "Acme")])

    again = test.start(FORM, id="1")

    assert again.id == run.id
    assert not any(isinstance(fact, facts.ExceptionOpened) for fact in again.history[-1:])
