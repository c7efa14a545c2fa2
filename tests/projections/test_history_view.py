from __future__ import annotations

from meshline.events import facts
from meshline.events.requests import CancelRequested
from meshline.projections.history_view import history
from tests.projections.given import RUN, at, rows_after, said
from tests.projections.test_runs_view import STARTED


async def test_requests_facts_and_refusals_stand_in_the_order_of_the_log() -> None:
    refused = facts.RequestRejected(request="CancelRequested", code="ended", reason="it ended")

    rows = await rows_after(
        history, STARTED, CancelRequested(reason="late"), said(refused, cause="0:1")
    )

    assert [(row.run_id, row.log_offset, row.type) for row in rows] == [
        (RUN, 0, "meshline.run.started.v1"),
        (RUN, 1, "meshline.cancel.requested.v1"),
        (RUN, 2, "meshline.request.rejected.v1"),
    ]
    assert [row.epoch for row in rows] == [0, None, 0]
    assert rows[1].data == {"reason": "late"}
    assert (rows[1].actor_kind, rows[1].actor) == ("user", "user:ada")
    assert rows[2].causation_id == "0:1"


async def test_both_times_are_kept() -> None:
    (row,) = await rows_after(history, said(STARTED, time=at(-600)))

    assert (row.time, row.recorded_at) == (at(-600), at(0))


async def test_what_is_of_no_run_is_no_history() -> None:
    claimed = facts.PartitionClaimed(keeper="k", reducer_version=1)

    assert await rows_after(history, said(claimed, run="")) == []
