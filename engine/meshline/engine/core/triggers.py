"""Deciding about a trigger: a run, a repeat, or a refusal with its reasons; never silence."""

from __future__ import annotations

from typing import Any, Literal

from meshline.engine.core.decision import Decision, Decisions
from meshline.engine.core.faults import faults_in
from meshline.engine.core.openings import open_exception
from meshline.engine.core.state import EndedRun, RunState
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.facts import FieldProblem
from meshline.events.ids import payload_hash_of
from meshline.events.pointers import pointer_to
from meshline.events.requests import TriggerReceived
from meshline.events.text import cleaned
from meshline.workflow.spec import WorkflowSpec

__all__ = ["answer_trigger", "reject_trigger"]

_PROBLEMS_MAX = 50
REASON_LENGTH_MAX = 2_000


def answer_trigger(
    spec: WorkflowSpec | None,
    run: RunState | None,
    ended: EndedRun | None,
    request: Event[TriggerReceived],
    cause: str,
) -> Decisions:
    """Yield the answer to a trigger.

    Args:
        spec: what the trigger's source and type start; None: nothing does.
        run: the run that the trigger already is, if it is open.
        ended: the same, if it has ended.
    """
    data = request.data
    if data.unreadable is not None:
        kept = data.unreadable
        yield reject_trigger(data, cause, "unreadable", f"{kept.reason}: {kept.detail}")
        return
    if spec is None:
        kind = f" of type {data.trigger_type!r}" if data.trigger_type else ""
        yield reject_trigger(
            data, cause, "unknown_source",
            f"No workflow starts from a trigger{kind} of source {data.source!r}. Register one, or "
            "correct the source.",
        )  # fmt: skip
        return
    payload_hash = payload_hash_of(data.payload)
    known = run.payload_hash if run is not None else ended.payload_hash if ended else None
    if known == payload_hash:
        yield Decision(
            facts.TriggerDeduplicated(
                source=data.source, trigger_id=data.trigger_id, trigger_type=data.trigger_type
            ),
            causation_id=cause,
        )
        return
    if known is not None:
        yield from _conflict(spec, run, ended, request, cause)
        return
    problems = _problems(spec, data.payload)
    if problems:
        reason = f"The payload is no {spec.trigger_type}: " + "; ".join(
            f"{problem.pointer or '/'} {problem.message}" for problem in problems[:3]
        )
        yield reject_trigger(data, cause, "invalid", reason, problems)
        return
    yield Decision(
        facts.TriggerAccepted(
            source=data.source,
            trigger_id=data.trigger_id,
            trigger_type=spec.trigger_type,
            payload_hash=payload_hash,
            workflow=spec.name,
            version=spec.version,
            exception_route=spec.exception_route,
        ),
        causation_id=cause,
        time=request.time if spec.observed else None,
    )


def _conflict(
    spec: WorkflowSpec,
    run: RunState | None,
    ended: EndedRun | None,
    request: Event[TriggerReceived],
    cause: str,
) -> Decisions:
    """The same id with another payload is an exception: one of the two must be wrong."""
    data = request.data
    message = (
        f"Trigger {data.trigger_id!r} of source {data.source!r} came again with another payload. "
        "The run goes on with the first; send the second under an id of its own if it is meant."
    )
    yield reject_trigger(data, cause, "conflict", message)
    subject = run
    if subject is None:
        subject = RunState(request.subject)
        subject.workflow = spec.name
        subject.exceptions_opened = ended.exceptions_opened if ended else 0
    opened = subject.exceptions or {}
    if all(exception.kind != "trigger_conflict" for exception in opened.values()):
        yield open_exception(
            subject, "trigger_conflict", data.trigger_id, message, blocking=False,
            route=spec.exception_route,
        )  # fmt: skip


def reject_trigger(
    data: TriggerReceived,
    cause: str,
    code: Literal["invalid", "unreadable", "unknown_source", "conflict"],
    reason: str,
    problems: tuple[FieldProblem, ...] = (),
) -> Decision:
    return Decision(
        facts.TriggerRejected(
            source=data.source,
            trigger_id=data.trigger_id,
            trigger_type=data.trigger_type,
            code=code,
            reason=cleaned(reason, REASON_LENGTH_MAX),
            problems=problems,
        ),
        causation_id=cause,
    )


def _problems(spec: WorkflowSpec, payload: Any) -> tuple[FieldProblem, ...]:
    return tuple(
        FieldProblem(pointer=cleaned(pointer_to(location), 300), message=cleaned(message, 300))
        for location, message in faults_in(spec.trigger, payload)[:_PROBLEMS_MAX]
    )
