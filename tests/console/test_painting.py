"""What a run's history says of its nodes, by the kit that runs workflows without servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from meshline.console.painting import Painting, painted
from meshline.events import facts
from meshline.events.requests import StepError
from meshline.projections.history_view import HistoryRow

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ERROR = StepError(type="Unavailable", message="503")


def history(*said: facts.Fact) -> list[HistoryRow]:
    """Facts, a second apart."""
    return [
        HistoryRow(
            run_id="r", partition=0, log_offset=number, type=f"{each.TYPE}.v{each.VERSION}",
            event_id=str(number), time=START + timedelta(seconds=number), recorded_at=START,
            actor_kind="system", actor="keeper:k", causation_id=None, epoch=1, sequence=number,
            data=orjson.loads(each.model_dump_json()),
        )
        for number, each in enumerate(said)
    ]  # fmt: skip


def states(painting: Painting) -> dict[str, str]:
    return {name: node.state for name, node in painting.nodes.items()}


def exception(**more: Any) -> facts.ExceptionOpened:
    return facts.ExceptionOpened(
        exception_id="ex-1", workflow="w", kind="step_failed", about="ship", route="queue:q",
        owner="queue:q", severity="medium", cause="c", message="m", **{"blocking": True} | more,
    )  # fmt: skip


TRIES = (
    facts.StepStarted(step="ship", attempt=1),
    facts.StepFailed(step="ship", attempt=1, error=ERROR),
    facts.StepRetryScheduled(step="ship", attempt=2, at=START + timedelta(seconds=9), delay_s=7.0),
    facts.StepStarted(step="ship", attempt=2, why="retry"),
)


def test_a_step_that_is_tried_again_has_each_try_and_the_wait_between() -> None:
    painting = painted(history(*TRIES, facts.StepSucceeded(step="ship", attempt=2)))

    assert states(painting) == {"ship": "succeeded"}
    assert painting.nodes["ship"].tries == 2
    assert [(s.kind, s.how) for s in painting.spans] == [
        ("try", "failed"),
        ("retry", ""),
        ("try", "succeeded"),
    ]
    assert all(span.end is not None for span in painting.spans)


def test_what_an_exception_holds_is_held_until_it_is_resolved() -> None:
    failed = facts.StepFailed(step="ship", attempt=2, error=ERROR)
    held = painted(history(*TRIES, failed, exception()))
    skipped = painted(
        history(
            *TRIES, failed, exception(),
            facts.StepSkipped(step="ship", why="operator"),
            facts.ExceptionResolved(exception_id="ex-1", how="skipped"),
        )
    )  # fmt: skip

    assert states(held) == {"ship": "held"}
    assert held.spans[-1].end is None
    assert states(skipped) == {"ship": "skipped"}
    assert skipped.spans[-1].end is not None


def test_an_exception_that_only_wants_to_be_seen_holds_nothing() -> None:
    painting = painted(history(*TRIES, exception(blocking=False)))

    assert states(painting) == {"ship": "running"}


@pytest.mark.parametrize(
    ("waits", "ends", "state"),
    [
        (
            facts.ApprovalRequested(approval="a", workflow="w", by="role:x", owner="role:x"),
            facts.ApprovalApproved(approval="a", by="user:ada"),
            "succeeded",
        ),
        (
            facts.ApprovalRequested(approval="a", workflow="w", by="role:x", owner="role:x"),
            facts.ApprovalDenied(approval="a", by="user:ada", reason="no"),
            "denied",
        ),
        (facts.TimerSet(timer="a", at=START), facts.TimerFired(timer="a"), "succeeded"),
        (facts.MessageAwaited(message="a"), facts.MessageMatched(message="a"), "succeeded"),
    ],
)
def test_a_wait_ends_with_what_it_waits_for(
    waits: facts.Fact, ends: facts.Fact, state: str
) -> None:
    assert states(painted(history(waits))) == {"a": "waiting"}
    after = painted(history(waits, ends))

    assert states(after) == {"a": state}
    assert after.spans[0].end == START + timedelta(seconds=1)


def test_the_items_of_a_list_count_as_their_step() -> None:
    painting = painted(
        history(
            facts.StepFannedOut(step="price", count=3),
            facts.StepStarted(step="price[0]", attempt=1),
            facts.StepSucceeded(step="price[0]", attempt=1),
        )
    )

    node = painting.nodes["price"]
    assert (node.state, node.items, node.items_done) == ("running", 3, 1)


def test_nothing_goes_on_after_the_end_of_the_run() -> None:
    painting = painted(history(TRIES[0], facts.RunCancelled(reason="withdrawn")))

    assert states(painting) == {"ship": "failed"}
    assert painting.spans[0].how == "run ended"
