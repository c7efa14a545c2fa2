"""A history as a story: nothing twice, nothing missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meshline.cli.storytelling import story_lines, told
from meshline.events.catalogue import type_name
from meshline.events.facts import RunCancelled, TriggerAccepted
from meshline.events.requests import CancelRequested, PauseRequested, TriggerReceived
from meshline.projections.history_view import HistoryRow

AT = datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


def row(offset: int, data: Any, cause: str | None = None, actor: str | None = None) -> HistoryRow:
    is_fact = cause is not None
    return HistoryRow(
        "run", 0, offset, type_name(type(data)), f"e{offset}", AT, AT, "user" if actor else None,
        actor, cause, 1 if is_fact else None, offset if is_fact else None,
        data.model_dump(mode="json"),
    )  # fmt: skip


HISTORY = [
    row(1, TriggerReceived(source="web", trigger_id="7", payload={"a": 1})),
    row(
        2,
        TriggerAccepted(
            source="web", trigger_id="7", trigger_type="T", payload_hash="", workflow="w", version=1
        ),
        "0:1",
    ),
    row(3, CancelRequested(reason="why not"), actor="user:ada"),
    row(4, RunCancelled(reason="why not"), "0:3", actor="user:ada"),
    row(5, PauseRequested(), actor="user:grace"),
]


def test_a_request_that_was_answered_is_told_by_its_answer() -> None:
    lines = list(story_lines(HISTORY))

    assert len(lines) == 4
    assert not any("asked to cancel" in line for line in lines)


def test_a_request_without_an_answer_is_told() -> None:
    assert "asked to pause the run (by user:grace)" in list(story_lines(HISTORY))[-1]


def test_a_full_history_has_every_event_with_its_position() -> None:
    lines = list(story_lines(HISTORY, full=True))

    assert [line.split()[0] for line in lines] == ["0:1", "0:2", "0:3", "0:4", "0:5"]


def test_what_a_newer_program_wrote_is_told_by_its_name() -> None:
    newer = HISTORY[0]._replace(type="meshline.run.frozen.v9")

    assert told(newer) == "2026-01-01 12:00:05  meshline.run.frozen.v9"
