"""The view of what was asked for: by whom, why, and what was refused."""

from __future__ import annotations

from typing import Any

from meshline.events import facts, requests
from meshline.events.catalogue import CATALOGUE
from meshline.projections.audit_view import ACTIONS, AuditRow, action_of, audit
from tests.projections.given import RUN, at, rows_after, said

CANCEL = requests.CancelRequested(reason="of no use")


def refusal(cause: str, request: str = CANCEL.TYPE, by: str = "user:ada") -> Any:
    rejected = facts.RequestRejected(request=request, code="already_ended", reason="It has ended.")
    return said(rejected, cause=cause, by=by)


async def test_what_somebody_asks_for_is_kept_with_who_and_why() -> None:
    [row] = await rows_after(audit, CANCEL)

    assert row == AuditRow(
        partition=0, log_offset=0, run_id=RUN, action="cancel", what="", about="",
        status="asked", actor_kind="user", actor="user:ada", reason="of no use", code=None,
        refusal=None, time=at(0), recorded_at=at(0), event_id="e0",
    )  # fmt: skip


async def test_a_refusal_is_told_of_what_was_asked() -> None:
    first, second = await rows_after(audit, CANCEL, CANCEL, refusal("0:1"))

    assert (first.status, first.refusal) == ("asked", None)
    assert (second.status, second.code, second.refusal) == (
        "refused", "already_ended", "It has ended.",
    )  # fmt: skip
    assert second.reason == "of no use"


async def test_what_a_server_turned_away_and_what_machines_were_refused_stands_there_too() -> None:
    told = requests.RefusalReported(request=CANCEL.TYPE, code="ML6002", reason="no", times=3)
    reported = requests.StepReported(step="pay", attempt=1, outcome="succeeded")
    rows = await rows_after(
        audit, told, refusal("0:0", by="user:eve"), reported, refusal("0:2", reported.TYPE)
    )

    assert [(r.action, r.status, r.actor, r.log_offset) for r in rows] == [
        ("cancel", "refused", "user:eve", 0),
        ("step", "refused", "user:ada", 2),
    ]


async def test_what_machines_say_all_the_time_is_left_to_the_other_views() -> None:
    trigger = requests.TriggerReceived(source="web.forms", trigger_id="1", payload={})
    reported = requests.ActivityReported(activity="sent")

    assert await rows_after(audit, trigger, reported) == []


async def test_what_is_done_is_told_with_what_it_is_about() -> None:
    asked = [
        requests.ApprovalSubmitted(approval="discount", decision="denied"),
        requests.ExceptionActionRequested(exception_id="ex-1", action="retry"),
        requests.OwnerChangeRequested(owner="team:emea"),
    ]

    assert [(r.action, r.what, r.about) for r in await rows_after(audit, *asked)] == [
        ("approval", "denied", "discount"),
        ("exception", "retry", "ex-1"),
        ("owner.change", "", "team:emea"),
    ]


def test_every_request_that_there_is_has_an_action_of_its_own() -> None:
    kinds = {c.TYPE for c in CATALOGUE.values() if issubclass(c, requests.Request)}
    kinds.remove(requests.RefusalReported.TYPE)

    assert sorted(action_of(kind) for kind in kinds) == ACTIONS
    assert len(ACTIONS) == len(kinds)
