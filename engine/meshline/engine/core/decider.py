"""Deciding: what is to be said, given what is so. It may refuse; it never acts.

``decide_request`` answers what somebody asked, ``decide_outcome`` takes what a try gave, and
``close_gaps`` (in ``gaps.py``) says what the definition demands next. All yield decisions one by
one; the keeper makes events of them and applies each before it asks for the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshline.engine.core.absences import answer_absence
from meshline.engine.core.answers import answer_request
from meshline.engine.core.cause_actions import answer_cause
from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.directory import answer_directory
from meshline.engine.core.gaps import close_gaps
from meshline.engine.core.openings import open_exception
from meshline.engine.core.parked import answer_parked
from meshline.engine.core.replies import answer_access, answer_refusal, refuse
from meshline.engine.core.rules import words_of
from meshline.engine.core.state import EndedRun, RunState
from meshline.engine.core.triggers import answer_trigger, reject_trigger
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.people_requests import (
    AbsenceChangeRequested,
    AccessChangeRequested,
    DirectoryChangeRequested,
)
from meshline.events.requests import (
    CauseActionRequested,
    ParkedActionRequested,
    RefusalReported,
    StepError,
    TriggerReceived,
)
from meshline.workflow.spec import WorkflowSpec

__all__ = [
    "close_gaps",
    "decide_outcome",
    "decide_request",
    "open_undecidable",
    "refuse_undecidable",
]

FindSpec = Callable[[str, int], WorkflowSpec | None]
FindTrigger = Callable[[str, str], WorkflowSpec | None]


def decide_request(
    find_spec: FindSpec,
    find_trigger: FindTrigger,
    run: RunState | None,
    ended: EndedRun | None,
    request: Event[Any],
    cause: str,
    moment: Moment,
) -> Decisions:
    """Yield the answer to a request: its facts, or a refusal.

    Args:
        find_spec: the definition by (name, version).
        find_trigger: the definition that a trigger of (source, type) starts.
        run: the run that the request is about, if it is open.
        ended: what is kept of it, if it has ended.
        cause: the causation id of the request.
    """
    if isinstance(request.data, TriggerReceived):
        spec = find_trigger(request.data.source, request.data.trigger_type)
        yield from answer_trigger(spec, run, ended, request, cause)
        return
    if isinstance(request.data, ParkedActionRequested):
        yield answer_parked(request, cause)
        return
    if isinstance(request.data, CauseActionRequested):
        yield answer_cause(request, cause)
        return
    if isinstance(request.data, DirectoryChangeRequested):
        yield answer_directory(moment, request, cause)
        return
    if isinstance(request.data, AbsenceChangeRequested):
        yield answer_absence(moment, request, cause)
        return
    if isinstance(request.data, AccessChangeRequested):
        yield answer_access(request, cause)
        return
    if isinstance(request.data, RefusalReported):
        yield answer_refusal(request, cause)
        return
    spec = None if run is None else find_spec(run.workflow, run.version)
    yield from answer_request(spec, run, ended is not None, request, cause, moment)


def decide_outcome(
    run: RunState, step: str, attempt: int, result: Any, error: StepError | None
) -> Decisions:
    """Yield the outcome of a try inside this worker; nothing if it no longer counts."""
    node = run.nodes.get(step)
    if run.has_ended or node is None or node.status != "started" or node.attempt != attempt:
        return
    if error is None:
        yield Decision(facts.StepSucceeded(step=step, attempt=attempt, result=result))
    else:
        yield Decision(facts.StepFailed(step=step, attempt=attempt, error=error))


def refuse_undecidable(request: Event[Any], cause: str, error: Exception) -> Decisions:
    """Yield the refusal of a request that could not be decided: what it brings does harm."""
    reason = f"it could not be decided: {words_of(error)}"
    if isinstance(request.data, TriggerReceived):
        yield reject_trigger(request.data, cause, "unreadable", reason)
    else:
        yield refuse(request, cause, "undecidable", reason)


def open_undecidable(run: RunState, error: Exception) -> Decisions:
    """Yield the exception of a run of which nobody can say what is next, if it is not open."""
    opened = (run.exceptions or {}).values()
    if all(exception.kind != "undecidable" for exception in opened):
        yield open_exception(
            run, "undecidable", "",
            f"What is next for the run could not be decided: {words_of(error)}. This is a mistake "
            "in the engine or in the definition; the run stands still until it is mended.",
            blocking=False, severity="critical",
        )  # fmt: skip
