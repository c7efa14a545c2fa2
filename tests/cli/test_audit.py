"""The audit at the command line: what was asked and refused, and who read payloads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from meshline.cli.audit import list_asked, readings
from meshline.projections.audit_view import AuditRow
from meshline.projections.readings import ReadingRow
from tests.cli.doubles import NOW, FakeViews, TestedCall
from tests.cli.rows import RUN

ASKED = AuditRow(
    0, 7, RUN, "cancel", "run", "", "refused", "user", "user:eve", "", "ML6002", "She may not.",
    NOW, NOW, "e-1",
)  # fmt: skip
READ = ReadingRow(
    1, NOW, "user:ada", "key 1", "data", f"run {RUN}", 4, [RUN], ["0:1", "0:2", "0:3", "0:4"]
)


async def test_a_list_says_who_asked_for_what_and_why_it_was_refused() -> None:
    views = FakeViews({"audit": [ASKED]}, next_page="more")
    call = TestedCall(views=views)

    await list_asked(call, actor="user:eve", refused=True, since="2026-11-17 14:00")

    line = call.data.splitlines()[1]
    assert "user:eve" in line and "cancel run" in line and "She may not." in line
    assert "--after more" in call.words
    [(_, options)] = views.asked
    assert (options["status"], options["since"]) == (
        *("refused", datetime(2026, 11, 17, 14, tzinfo=UTC)),
    )


async def test_an_action_that_nobody_asks_for_is_a_mistake_of_usage() -> None:
    with pytest.raises(typer.BadParameter, match="'destroy' is nothing that is asked for"):
        await list_asked(TestedCall(), action=["destroy"])


async def test_a_list_says_who_read_payloads_with_what_of_which_run_and_events() -> None:
    call = TestedCall(views=FakeViews({"readings": [READ]}))

    await readings(call)

    line = call.data.splitlines()[1]
    assert "user:ada" in line and "key 1" in line and f"run {RUN}" in line
    assert "0:1 … 0:4" in line and "--after" not in call.words
