"""What went into runs and tries of steps, what came out, and what is different."""

from __future__ import annotations

from typing import Any

from meshline.events.codec import decode
from meshline.events.envelope import Position, Recorded
from meshline.projections.exchanges import exchanges_of
from meshline.projections.history_view import history
from meshline.testing import WorkflowTest
from meshline.workflow import Workflow
from tests.engine.core.test_corrections import FORM, fan_out, held, intake, to
from tests.projections.given import rows_after


async def exchanges(
    test: WorkflowTest, run_id: str, workflow: Workflow, step: str | None
) -> list[Any]:
    events = [Recorded(decode(r.value), Position(0, r.offset)) for r in test.records]
    said = [row for row in await rows_after(history, *events) if row.run_id == run_id]
    spec: Any = workflow.spec.data
    return exchanges_of(sorted(said, key=lambda row: row.log_offset), step, spec)


async def test_each_try_shows_what_it_took_and_what_was_corrected_before_it() -> None:
    test, run = held()
    test.given("enrich", LookupError("still none"))
    run.exception.retry(corrections=[to("/company", "Acme")])
    [first, second] = await exchanges(test, run.id, intake(), "enrich")

    assert first.taken is not None and first.taken["trigger"] == FORM
    assert first.state == "failed" and first.gave["message"].startswith("no entry for")
    assert first.corrected is None and first.changes is None
    assert second.taken["trigger"] == FORM | {"company": "Acme"} and second.taken["score"] == 5
    assert second.taken["terms"]["form"] == {"discount": 5}
    [change] = second.corrected
    assert (change["path"], change["before"], change["after"]) == (
        *("/trigger/company", "Acmee", "Acme"),
    )


async def test_a_run_is_one_exchange_from_its_trigger_to_its_outcome() -> None:
    test, run = held()
    before = await exchanges(test, run.id, intake(), None)
    run.exception.retry(corrections=[to("/company", "Acme")])
    [whole] = await exchanges(test, run.id, intake(), None)
    [tell] = await exchanges(test, run.id, intake(), "tell")

    assert [(each.state, each.gave, each.ended_at) for each in before] == [("running", None, None)]
    assert whole.state == "succeeded" and whole.step is None
    assert whole.taken == {"trigger": FORM} and whole.gave == {"number": 4}
    assert {(change["path"], change["what"]) for change in whole.changes} == {
        *[("/company", "removed"), ("/lines", "removed"), ("/number", "added")],
    }
    # Nobody knows which of two values became what came out.
    assert set(tell.taken) == {"trigger", "enrich"}
    assert (tell.gave, tell.changes) == ({"number": 4}, None)


async def test_items_take_theirs_of_the_list_and_give_one_list_together() -> None:
    test = WorkflowTest(fan_out())
    run = test.start(FORM)
    [first] = await exchanges(test, run.id, fan_out(), "pack[0]")
    run.exception.retry(corrections=[to("/lines/1", 5)])
    [_, again] = await exchanges(test, run.id, fan_out(), "pack[1]")
    [all_of_it] = await exchanges(test, run.id, fan_out(), "pack")

    assert (first.taken["item"], first.gave) == (1, 1)
    assert (again.taken["item"], again.gave) == (5, 5)
    assert [change["path"] for change in again.corrected] == ["/item"]
    assert (all_of_it.state, all_of_it.gave) == ("succeeded", [1, 5])


async def test_a_value_in_place_of_a_result_is_what_a_skipped_step_gave() -> None:
    test, run = held()
    run.exception.skip("Acme by hand")
    [failed, skipped] = await exchanges(test, run.id, intake(), "enrich")

    assert (failed.state, skipped.state, skipped.gave) == ("failed", "skipped", "Acme by hand")


async def test_of_a_definition_that_nobody_knows_only_what_came_out_is_told() -> None:
    test, run = held()
    events = [Recorded(decode(r.value), Position(0, r.offset)) for r in test.records]
    said = [row for row in await rows_after(history, *events) if row.run_id == run.id]
    [only] = exchanges_of(said, "score", None)

    assert (only.taken, only.gave, only.changes) == (None, 5, None)
    assert exchanges_of(said, "nothing", None) == []
