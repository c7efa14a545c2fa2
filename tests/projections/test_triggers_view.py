from __future__ import annotations

from typing import Any

from meshline.events import facts
from meshline.events.requests import TriggerReceived, Unreadable
from meshline.projections.triggers_view import triggers
from tests.projections.given import RUN, rows_after, said
from tests.projections.test_runs_view import ACCEPTED

RECEIVED = TriggerReceived(source="web.forms", trigger_id="f-1", payload={"a": 1})
REPEATED = facts.TriggerDeduplicated(source="web.forms", trigger_id="f-1", trigger_type="Form")
REJECTED = facts.TriggerRejected(
    source="web.forms", trigger_id="f-1", trigger_type="Form", code="invalid", reason="1 problem",
    problems=(facts.FieldProblem(pointer="/a", message="no text"),),
)  # fmt: skip


async def statuses_after(*events: Any) -> list[tuple[int, str]]:
    rows = await rows_after(triggers, *events)
    return [(row.log_offset, row.status) for row in rows]


async def test_each_receipt_is_answered_for_itself() -> None:
    assert await statuses_after(
        RECEIVED, said(ACCEPTED, cause="0:0"), RECEIVED, said(REPEATED, cause="0:2"), RECEIVED
    ) == [(0, "accepted"), (2, "repeated"), (4, "received")]


async def test_a_rejection_says_why_field_by_field() -> None:
    (row,) = await rows_after(triggers, RECEIVED, said(REJECTED, cause="0:0"))

    assert (row.status, row.code, row.reason, row.run_id) == (
        "rejected", "invalid", "1 problem", RUN,
    )  # fmt: skip
    assert row.problems == [{"pointer": "/a", "message": "no text"}]
    assert row.payload == {"a": 1}


async def test_what_did_not_pass_the_gate_is_kept() -> None:
    unreadable = Unreadable(
        reason="not_json", detail="no JSON", size_bytes=3, sha256="ab", raw_base64="eHh4"
    )
    received = TriggerReceived(source="s", trigger_id="1", unreadable=unreadable)

    (row,) = await rows_after(triggers, received)

    assert (row.payload, row.unreadable["raw_base64"]) == (None, "eHh4")


async def test_an_answer_to_another_event_is_no_answer_to_a_trigger() -> None:
    assert await statuses_after(RECEIVED, said(ACCEPTED, cause="some-event")) == [(0, "received")]
