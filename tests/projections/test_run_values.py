"""What a run knows, read from its history, is what the engine has in its state."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from meshline.engine.core.rules import value_of
from meshline.events.codec import decode
from meshline.events.corrections import Change, Corrected, Correction
from meshline.events.envelope import Position, Recorded
from meshline.projections.history_view import history
from meshline.projections.run_values import previewed, values_in
from meshline.testing import WorkflowTest
from tests.engine.core.test_corrections import FORM, fan_out, held, to
from tests.projections.given import rows_after


async def values(test: WorkflowTest, run_id: str) -> dict[str, Any]:
    events = [Recorded(decode(r.value), Position(0, r.offset)) for r in test.records]
    said = [row for row in await rows_after(history, *events) if row.run_id == run_id]
    return values_in(sorted(said, key=lambda row: row.log_offset))


async def test_they_are_those_of_the_engine_before_and_after_a_correction() -> None:
    test, run = held()
    before = await values(test, run.id)
    run.exception._act("acknowledge", "")
    test.given("enrich", LookupError("still none"))
    run.exception.retry(corrections=[to("/lines", [4, 5]), to("", 40, of="score")])
    after = await values(test, run.id)

    state = test.state.runs[run.id]
    assert before == {"trigger": FORM, "score": 5}
    assert after == {"trigger": FORM | {"lines": [4, 5]}, "score": 40}
    assert after == {name: orjson.loads(value_of(state, name) or b"") for name in after}


async def test_the_results_of_items_are_one_list_when_all_have_ended() -> None:
    test = WorkflowTest(fan_out())
    run = test.start(FORM)
    partly = await values(test, run.id)
    run.exception.retry(corrections=[to("/lines/1", 5)])

    assert partly == {"trigger": FORM, "pack[0]": 1}
    assert (await values(test, run.id))["pack"] == [1, 5]


def test_what_corrections_would_change_is_told_and_what_can_not_be_is_named() -> None:
    known = {"trigger": {"a": 1}, "step": [1]}
    asked = [Correction(of="trigger", path="/a", value=2), Correction(of="step", value=[1])]

    assert previewed(known, asked) == (
        Corrected(of="trigger", changes=(Change(path="/a", what="changed", before=1, after=2),)),
        Corrected(of="step", changes=()),
    )
    with pytest.raises(ValueError, match="expected one of trigger, step"):
        previewed(known, [Correction(of="none", value=1)])
