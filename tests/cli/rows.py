"""Rows of views, each with the values that a test does not care about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from meshline.projections.exception_view import ExceptionRow
from meshline.projections.ownership_view import PeriodRow
from meshline.projections.runs_view import RunRow
from meshline.projections.tasks_view import TaskRow
from meshline.projections.triggers_view import TriggerRow
from tests.cli.doubles import NOW

RUN = "1f0c2a9b-0000-5000-8000-000000000001"


def run(**changes: Any) -> RunRow:
    row = RunRow(
        run_id=RUN, workflow="order", version=1, source="shop", trigger_type="Ordered",
        trigger_id="7", state="running", waits=[], wait_kind=None, waiting_since=None,
        wait_until=None, owner="team:sales", assignee=None, exception_route="queue:sales",
        expected_outcome="Shipped", due_at=None, started_at=NOW - timedelta(hours=1),
        ended_at=None, outcome=None, reason=None, open_exceptions=0, observed=False, partition=0,
        log_offset=9, changed_at=NOW, events=5,
    )  # fmt: skip
    return row._replace(**changes)


def exception(**changes: Any) -> ExceptionRow:
    row = ExceptionRow(
        exception_id="ex-1f0c2a9b-0000000001", run_id=RUN, workflow="order", kind="step_failed",
        code=None, about="ship", route="queue:sales", owner="queue:sales", severity="medium",
        state="open", blocking=True, cause="3fa94c01b2d7", message="ship failed 3 times",
        error=None, due_at=None, opened_at=NOW - timedelta(minutes=5), acknowledged_at=None,
        acknowledged_by=None, started_at=None, started_by=None, resolved_at=None,
        resolved_by=None, how=None, dismissed_at=None, dismissed_by=None, reopened_at=None,
        reopened_by=None, reason="", changed_at=NOW,
    )  # fmt: skip
    return row._replace(**changes)


def approval(**changes: Any) -> TaskRow:
    row = TaskRow(
        run_id=RUN, task="big", kind="approval", workflow="order", state="requested",
        by="role:boss",
        owner="role:boss", due_at=NOW + timedelta(hours=3), escalate_to=None,
        form_schema={"required": ["discount"]}, requested_at=NOW - timedelta(hours=1),
        decided_by=None, decided_at=None, reason="", form=None, requester=None, of=1, votes=[],
        reminded_at=None, on_behalf_of=None, assignee=None, delegate=None, priority="normal",
        follow_up_at=None, candidates=["role:boss"], voted=[],
        first_requested_at=NOW - timedelta(hours=1), changed_at=NOW - timedelta(hours=1),
    )  # fmt: skip
    return row._replace(**changes)


def period(**changes: Any) -> PeriodRow:
    row = PeriodRow(
        run_id=RUN, number=1, workflow="order", owner="team:sales", assignee=None,
        since=NOW - timedelta(hours=1), until=None, actor=None, rule="route", reason="",
    )  # fmt: skip
    return row._replace(**changes)


def trigger(**changes: Any) -> TriggerRow:
    row = TriggerRow(
        partition=0, log_offset=1, source="shop", trigger_id="7", trigger_type="Ordered",
        run_id=RUN, status="rejected", workflow=None, code="invalid", reason="No.",
        problems=[{"pointer": "/amount", "message": "must be positive"}],
        payload={"number": 7, "amount": -1}, unreadable=None, received_at=NOW, answered_at=NOW,
    )  # fmt: skip
    return row._replace(**changes)
