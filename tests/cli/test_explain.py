"""``meshline explain``: which run is meant, what is shown of it, and the filters."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import typer

from meshline.cli.explain import explain
from meshline.cli.output import Form
from meshline.events.facts import FieldProblem, RunStarted, StepSkipped, TriggerRejected
from meshline.events.ids import run_id_of
from meshline.projections.errors import NotFound
from tests.cli.doubles import FakeViews, TestedCall
from tests.cli.rows import RUN, run
from tests.cli.test_storytelling import row

REJECTED = row(
    2,
    TriggerRejected(
        source="shop", trigger_id="7/b", trigger_type="Ordered", code="invalid", reason="No.",
        problems=(FieldProblem(pointer="/amount", message="must be positive"),),
    ),
    "0:1",
)  # fmt: skip
STARTED = row(
    1,
    RunStarted(
        workflow="order", version=1, trigger_id="7", trigger_type="Ordered", source="shop",
        owner="team:sales", exception_route="queue:sales", expected_outcome="Shipped",
    ),
    "0:0",
)  # fmt: skip
SKIPPED = row(
    2,
    StepSkipped(
        step="big", why="condition", rule="trigger.amount > 9",
        values={"trigger": {"amount": 3, "note": "x" * 200}},
    ),
    "0:0",
)  # fmt: skip


def call(*history: Any, form: Form = Form.text, **lists: list[Any]) -> TestedCall:
    return TestedCall(form, views=FakeViews({"history": list(history), **lists}))


async def asked(tested: TestedCall, *words: str, **options: Any) -> None:
    given = {"trigger_id": None, "question": None, "about": None} | options
    if len(words) == 2:
        given["trigger_id"] = words[1]
    await explain(tested, words[0], **given)


async def test_a_run_is_explained_question_by_question_with_what_rules_saw() -> None:
    tested = call(STARTED, SKIPPED, runs=[run()])

    await asked(tested, "1f0c2a9b")

    lines = tested.data.splitlines()
    assert lines[0] == f"Run {RUN}: order v1, running"
    assert lines[2:5] == [
        "Why this owner",
        "  team:sales: team:sales, because order version 1 names it",
        "      2026-01-01 12:00:05Z at 0:1",
    ]
    assert lines[6:8] == [
        "Why skipped",
        "  big: its condition does not hold: trigger.amount > 9",
    ]
    assert lines[8].startswith('      it saw trigger = {"amount":3,"note":"xxx')
    assert lines[8].endswith("…")


async def test_a_trigger_that_started_nothing_is_named_by_source_and_id_even_with_a_slash() -> None:
    tested = call(REJECTED, form=Form.json)

    await asked(tested, "shop", "7/b")

    value = orjson.loads(tested.data)
    assert (value["run_id"], value["state"]) == (run_id_of("shop", "7/b"), None)
    assert value["reasons"][0]["saw"]["problems"][0]["message"] == "must be positive"


async def test_only_the_questions_and_the_thing_that_were_asked_about_are_answered() -> None:
    tested = call(STARTED, SKIPPED, form=Form.jsonl, runs=[run()])

    await asked(tested, "1f0c2a9b", question=["skipped", "owner"], about="big")

    (value,) = tested.values
    assert [(r["question"], r["about"]) for r in value["reasons"]] == [("skipped", "big")]
    assert value["reasons"][0]["data"] == {"why": "condition", "rule": "trigger.amount > 9"}


async def test_a_question_that_nobody_answers_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="expected one of started, refused"):
        await asked(call(STARTED, runs=[run()]), "1f0c2a9b", question=["whence"])


async def test_what_was_never_heard_of_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshline.cli.explain.APPEAR_S", 0.0)

    with pytest.raises(NotFound):
        await asked(call(), "shop", "8")
