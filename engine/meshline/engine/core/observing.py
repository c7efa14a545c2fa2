"""Observed runs: what an outside system reports, read by the workflow's rule, becomes facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from meshline.engine.core.decision import Decision, Decisions
from meshline.engine.core.openings import open_exception
from meshline.engine.core.reducer import report_key
from meshline.engine.core.rules import words_of
from meshline.engine.core.state import RunState
from meshline.events import facts
from meshline.events.envelope import Actor, Event
from meshline.events.principals import is_principal
from meshline.events.requests import ActivityReported, StepError
from meshline.workflow.spec import Activity, Observation, WorkflowSpec

__all__ = ["observe"]


def observe(
    spec: WorkflowSpec, run: RunState, request: Event[ActivityReported], cause: str
) -> Decisions:
    """Yield what a reported activity means for the run; times are those of the activity."""
    if spec.observe is None:
        yield _reject(request, cause, "not_observed", f"{spec.name} has steps of its own")
        return
    if run.seen is not None and report_key(request.id) in run.seen:
        yield _reject(request, cause, "repeated", f"report {request.id} was taken in before")
        return
    data = request.data
    at = request.time
    activity = Activity(data.activity, at.astimezone(UTC).isoformat(), data.payload)
    try:
        seen = spec.observe(activity, run.memo)
        _check(seen)
    except Exception as error:  # the rule is the user's code: a person must see what it raised
        yield _record(Observation(memo=run.memo), data.activity, cause, at, run)
        yield open_exception(
            run, "rule_failed", "", f"observe raised {words_of(error)} on {data.activity!r}",
            blocking=False, severity="high",
            error=StepError(type=type(error).__name__, message=words_of(error)),
        )._replace(time=at)  # fmt: skip
        return
    if run.has_ended:
        if _says_nothing_new(seen, run):
            yield _record(seen, data.activity, cause, at, run)
            return
        reason = f"{data.activity} after the end"
        yield Decision(facts.RunReopened(reason=reason), time=at)
    yield _record(seen, data.activity, cause, at, run)
    yield from _people(seen, run, at)
    yield from _exceptions(seen, run, at)
    if seen.ended is not None:
        yield Decision(_ENDS[seen.ended](data.activity), time=at)


def _says_nothing_new(seen: Observation, run: RunState) -> bool:
    """Return whether an ended run is only said once more to have ended, as it is."""
    people = (seen.owner or run.owner, seen.assignee)
    return (
        seen.ended == run.status
        and people == (run.owner, run.assignee)
        and not seen.raised
        and seen.memo == run.memo
    )


RESERVED_KINDS = frozenset(
    {"no_worker", "overdue", "rule_failed", "trigger_conflict", "undecidable"}
)
"""Kinds of exceptions that the engine opens in observed runs, and closes by itself."""

_ENDS: dict[str, Any] = {
    "succeeded": lambda activity: facts.RunSucceeded(outcome=activity),
    "failed": lambda activity: facts.RunFailed(reason=activity),
    "cancelled": lambda activity: facts.RunCancelled(reason=activity),
}


def _check(seen: Observation) -> None:
    for name in ("owner", "assignee"):
        value = getattr(seen, name)
        if value is not None and not is_principal(value):
            raise ValueError(f"{name} is {value!r}: expected a principal such as 'team:emea'")
    for raised in seen.raised:
        if raised.kind in RESERVED_KINDS:
            raise ValueError(f"the kind {raised.kind!r} is the engine's own: name it otherwise")


def _record(seen: Observation, activity: str, cause: str, at: datetime, run: RunState) -> Decision:
    waits: tuple[facts.Wait, ...] = ()
    if seen.waiting_on is not None:
        owner = seen.owner or run.owner
        waits = (facts.Wait(kind="outside", about=seen.waiting_on, since=at, owner=owner),)
    return Decision(
        facts.ActivityRecorded(activity=activity, actor=seen.actor, waits=waits, memo=seen.memo),
        causation_id=cause,
        actor=None if seen.actor is None else Actor("user", seen.actor),
        time=at,
    )


def _people(seen: Observation, run: RunState, at: datetime) -> Decisions:
    owner = seen.owner or run.owner
    if (owner, seen.assignee) != (run.owner, run.assignee):
        yield Decision(
            facts.OwnerAssigned(
                owner=owner, assignee=seen.assignee, previous=run.owner, rule="observe"
            ),
            actor=None if seen.actor is None else Actor("user", seen.actor),
            time=at,
        )


def _exceptions(seen: Observation, run: RunState, at: datetime) -> Decisions:
    for exception_id, opened in list((run.exceptions or {}).items()):
        if opened.kind in seen.settled:
            yield Decision(
                facts.ExceptionResolved(
                    exception_id=exception_id, how="resolved", reason="as observed"
                ),
                time=at,
            )
    for raised in seen.raised:
        if all(opened.kind != raised.kind for opened in (run.exceptions or {}).values()):
            yield open_exception(
                run, raised.kind, "", raised.message, blocking=False, severity=raised.severity
            )._replace(time=at)


def _reject(request: Event[Any], cause: str, code: str, reason: str) -> Decision:
    return Decision(
        facts.RequestRejected(
            request=type(request.data).TYPE, code=code, reason=f"Refused: {reason}."
        ),
        causation_id=cause,
        actor=request.actor,
    )
