from __future__ import annotations

from typing import Any

from meshline.events import facts
from meshline.events.requests import BusinessCase, StepError
from meshline.projections.exception_view import ExceptionRow, exceptions, resolutions
from tests.projections.given import at, rows_after
from tests.projections.test_runs_view import OPENED, STARTED


async def exception_after(*events: Any) -> ExceptionRow:
    (row,) = await rows_after(exceptions, *events)
    assert isinstance(row, ExceptionRow)
    return row


async def test_an_open_exception_knows_its_run_workflow_route_and_cause() -> None:
    row = await exception_after(STARTED, OPENED)

    assert (row.state, row.workflow, row.route, row.cause, row.opened_at) == (
        "open", "lead", "queue:triage", "c", at(1),
    )  # fmt: skip


async def test_an_exception_goes_from_hand_to_hand_until_it_is_resolved() -> None:
    handled = (
        STARTED,
        OPENED,
        facts.ExceptionAcknowledged(exception_id="ex-1", reason="mine"),
        facts.ExceptionAssigned(exception_id="ex-1", owner="user:bob", previous="queue:triage"),
    )

    row = await exception_after(*handled)
    assert (row.state, row.owner, row.acknowledged_at, row.acknowledged_by) == (
        "acknowledged", "user:bob", at(2), "user:ada",
    )  # fmt: skip

    row = await exception_after(
        *handled, facts.ExceptionResolved(exception_id="ex-1", how="skipped", reason="known")
    )
    assert (row.state, row.how, row.reason, row.resolved_at) == (
        "resolved", "skipped", "known", at(4),
    )  # fmt: skip


async def test_who_starts_work_on_an_exception_has_it_in_progress() -> None:
    row = await exception_after(
        OPENED, facts.ExceptionWorkStarted(exception_id="ex-1", reason="I ask the supplier")
    )

    assert (row.state, row.started_by, row.started_at, row.reason) == (
        "in_progress", "user:ada", at(1), "I ask the supplier",
    )  # fmt: skip


async def test_an_exception_in_progress_stays_so_when_it_is_seen_or_given_away() -> None:
    row = await exception_after(
        OPENED,
        facts.ExceptionWorkStarted(exception_id="ex-1"),
        facts.ExceptionAcknowledged(exception_id="ex-1"),
        facts.ExceptionAssigned(exception_id="ex-1", owner="user:bob", previous="queue:triage"),
    )

    assert (row.state, row.owner) == ("in_progress", "user:bob")


async def test_a_resolved_exception_stays_resolved() -> None:
    row = await exception_after(
        OPENED,
        facts.ExceptionResolved(exception_id="ex-1", how="retried"),
        facts.ExceptionAcknowledged(exception_id="ex-1"),
        facts.ExceptionWorkStarted(exception_id="ex-1"),
    )

    assert (row.state, row.started_at) == ("resolved", None)


async def test_what_a_step_says_on_purpose_is_known_by_its_code() -> None:
    case = BusinessCase(code="credit_limit", data={"asked": 9})
    error = StepError(type="OverLimit", message="above it", business=case)

    row = await exception_after(OPENED.model_copy(update={"kind": "business", "error": error}))

    assert (row.kind, row.code) == ("business", "credit_limit")
    assert row.error is not None and row.error["business"]["data"] == {"asked": 9}


DISMISSED = facts.ExceptionDismissed(exception_id="ex-1", reason="always late in August")


async def test_a_dismissed_exception_is_not_a_resolved_one() -> None:
    row = await exception_after(OPENED, DISMISSED)

    assert (row.state, row.dismissed_at, row.dismissed_by, row.reason) == (
        "dismissed", at(1), "user:ada", "always late in August",
    )  # fmt: skip
    assert (row.resolved_at, row.how) == (None, None)


async def test_what_is_opened_again_is_open_and_seen_by_nobody_and_says_by_whom() -> None:
    again = facts.ExceptionReopened(exception_id="ex-1", owner="user:bob", reason="it came back")
    seen = facts.ExceptionAcknowledged(exception_id="ex-1")

    for closed in (DISMISSED, facts.ExceptionResolved(exception_id="ex-1", how="resolved")):
        row = await exception_after(OPENED, seen, closed, again)

        assert (row.state, row.owner, row.acknowledged_at, row.dismissed_at, row.resolved_at) == (
            "open", "user:bob", None, None, None,
        )  # fmt: skip
        assert (row.reopened_at, row.reopened_by, row.reason) == (at(3), "user:ada", "it came back")


async def test_what_is_dismissed_is_not_seen_assigned_or_closed_again() -> None:
    row = await exception_after(
        OPENED,
        DISMISSED,
        facts.ExceptionWorkStarted(exception_id="ex-1"),
        facts.ExceptionResolved(exception_id="ex-1", how="run_ended"),
    )

    assert (row.state, row.started_at, row.how) == ("dismissed", None, None)


# -- causes ------------------------------------------------------------------------------------

MENDED = facts.CauseResolved(cause="c", in_version=2, reason="asks twice")


def again(version: int, number: int = 2) -> facts.ExceptionOpened:
    return OPENED.model_copy(update={"exception_id": f"ex-{number}", "version": version})


async def said_of_the_cause(*events: Any) -> tuple[Any, ...]:
    (row,) = await rows_after(resolutions, OPENED, *events)
    return row.state, row.reopened_at, row.reopened_by, row.reopened_version


async def test_a_cause_that_is_mended_comes_again_in_that_version_or_a_later_one() -> None:
    mended = ("resolved", None, None, None)

    assert await said_of_the_cause(MENDED) == mended
    assert await said_of_the_cause(MENDED, again(1), again(0, 3)) == mended
    for version in (2, 3):
        assert await said_of_the_cause(MENDED, again(1), again(version, 3)) == (
            "reopened", at(3), None, version,
        )  # fmt: skip
    assert (await said_of_the_cause(MENDED, again(2), again(3, 3)))[3] == 2


async def test_a_cause_that_is_mended_once_more_is_mended_again() -> None:
    once_more = MENDED.model_copy(update={"in_version": 3})

    assert (await said_of_the_cause(MENDED, again(2), once_more, again(2, 3)))[0] == "resolved"
    assert (await said_of_the_cause(MENDED, again(2), once_more, again(3, 3)))[0] == "reopened"


async def test_a_person_says_that_it_is_not_mended_after_all() -> None:
    not_after_all = facts.CauseReopened(cause="c", reason="only in the tests")

    assert await said_of_the_cause(MENDED, not_after_all) == ("reopened", at(2), "user:ada", None)
    assert await rows_after(resolutions, OPENED, not_after_all) == []


async def test_another_cause_reopens_nothing() -> None:
    other = again(2).model_copy(update={"cause": "d"})

    assert (await said_of_the_cause(MENDED, other))[0] == "resolved"
