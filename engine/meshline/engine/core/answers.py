"""Answering requests: each is carried out by facts, or refused by one that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.endings import end_run
from meshline.engine.core.exception_actions import act_on_exception, resolved
from meshline.engine.core.nodes import start
from meshline.engine.core.observing import observe
from meshline.engine.core.owners import answer_handover
from meshline.engine.core.plan import plan_of
from meshline.engine.core.replies import no_principal, refuse
from meshline.engine.core.replies import problem_of as _problem
from meshline.engine.core.replies import say as _say
from meshline.engine.core.state import RunState
from meshline.engine.core.task_answers import TASK_ANSWERS
from meshline.events import facts, requests
from meshline.events.envelope import Event
from meshline.events.people_requests import HandoverRequested
from meshline.events.principals import is_principal
from meshline.workflow.spec import MessageNode, WorkflowSpec

__all__ = ["answer_request"]

Answer = Callable[[WorkflowSpec, RunState, Event[Any], str, Moment], Decisions]


def answer_request(
    spec: WorkflowSpec | None,
    run: RunState | None,
    has_ended: bool,
    request: Event[Any],
    cause: str,
    moment: Moment,
) -> Decisions:
    """Yield the answer to any request but a trigger.

    Args:
        run: None where there is no such run, or only its ending is known (``has_ended``).
    """
    kind = type(request.data)
    if run is None and not has_ended:
        yield refuse(request, cause, "unknown_run", f"there is no run {request.subject!r}")
    elif kind is requests.NoteRequested:
        yield _note(request, cause)
    elif run is None or (run.has_ended and kind not in _AFTER_THE_END):
        yield refuse(request, cause, "already_ended", "the run has ended")
    elif kind is requests.ExceptionActionRequested:
        yield from act_on_exception(spec, run, request, cause)
    elif kind is HandoverRequested:
        yield answer_handover(run, request, cause, moment)
    elif spec is None and (kind is not requests.CancelRequested or _has_done_something(run)):
        undone = (
            "" if kind is not requests.CancelRequested else ", and only it can undo what is done"
        )
        yield refuse(
            request, cause, "no_worker",
            f"no worker has version {run.version} of workflow {run.workflow!r}{undone}",
        )  # fmt: skip
    elif spec is None:
        yield _say(request, cause, facts.RunCancelled(reason=_reason(request)))
    else:
        yield from _ANSWERS[kind](spec, run, request, cause, moment)


def _note(request: Event[Any], cause: str) -> Decision:
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who says it")
    if not request.data.text.strip():
        return refuse(request, cause, "text_missing", "a note needs words")
    return _say(request, cause, facts.RunNoted(text=request.data.text))


def _has_done_something(run: RunState) -> bool:
    """Whether there may be something to undo; which of it, only the definition knows."""
    return any(node.status in ("succeeded", "fanned_out") for node in run.nodes.values())


def _reason(request: Event[Any]) -> str:
    return request.data.reason or type(request.data).__name__


# -- runs --------------------------------------------------------------------------------------


def _cancel(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    if run.undo is not None:
        reason = "the run is being undone already"
        yield refuse(request, cause, "already_cancelling", reason)
        return
    yield _say(request, cause, end_run(spec, run, "cancelled", _reason(request)))


def _pause(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    if run.status == "paused":
        yield refuse(request, cause, "already_paused", "the run is paused already")
        return
    if spec.observed:
        yield refuse(request, cause, "observed", "an observed run can't be paused from here")
        return
    data: requests.PauseRequested = request.data
    yield _say(request, cause, facts.RunPaused(reason=data.reason, until=data.until))


def _resume(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    if run.status != "paused":
        yield refuse(request, cause, "not_paused", f"the run is {run.status}, not paused")
        return
    yield _say(request, cause, facts.RunResumed(reason=request.data.reason))


def _retry(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    if run.status == "paused":
        yield refuse(request, cause, "paused", "the run is paused: resume it first")
        return
    reason = request.data.reason
    found = False
    for exception_id, opened in list((run.exceptions or {}).items()):
        if opened.blocking and opened.kind != "no_worker":
            found = True
            yield resolved(request, cause, exception_id, "retried", reason)
    for name, node in list(run.nodes.items()):
        step = plan_of(spec).step(name, spec)
        if node.status == "retrying" and step is not None:
            found = True
            yield _say(request, cause, start(step, node.attempt + 1, "operator", moment))
    if not found:
        reason = f"nothing in the run waits to be tried again; it is {run.status}"
        yield refuse(request, cause, "nothing_to_retry", reason)


def _change_owner(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    data: requests.OwnerChangeRequested = request.data
    if not is_principal(data.owner):
        yield refuse(request, cause, "not_a_principal", no_principal(data.owner))
        return
    fact = facts.OwnerAssigned(owner=data.owner, previous=run.owner, reason=data.reason)
    yield _say(request, cause, fact)


def _message(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    data: requests.MessageReceived = request.data
    node = spec.nodes.get(data.name)
    if not isinstance(node, MessageNode):
        reason = f"{spec.name} waits for no message {data.name!r}"
        yield refuse(request, cause, "unknown_message", reason)
        return
    state = run.nodes.get(data.name)
    if state is not None and state.has_ended:
        reason = f"the message {data.name!r} is no longer waited for"
        yield refuse(request, cause, "already_matched", reason)
        return
    if node.result is not None and (problem := _problem(node.result, data.payload)):
        yield refuse(request, cause, "invalid", problem)
        return
    yield _say(request, cause, facts.MessageMatched(message=data.name, payload=data.payload))


# -- steps -------------------------------------------------------------------------------------


def _report(
    spec: WorkflowSpec, run: RunState, request: Event[Any], cause: str, moment: Moment
) -> Decisions:
    data: requests.StepReported = request.data
    node = plan_of(spec).step(data.step, spec)
    state = run.nodes.get(data.step)
    if node is None or not node.outside:
        reason = f"{data.step!r} is no step of {spec.name} for outside workers"
        yield refuse(request, cause, "unknown_step", reason)
    elif state is None or state.status != "started" or state.attempt != data.attempt:
        reason = f"attempt {data.attempt} of {data.step!r} is not under way"
        yield refuse(request, cause, "late_outcome", reason)
    elif data.outcome == "failed":
        error = data.error or requests.StepError(type="Unknown", message="")
        fact = facts.StepFailed(step=data.step, attempt=data.attempt, error=error)
        yield _say(request, cause, fact)
    elif node.result is not None and (problem := _problem(node.result, data.result)):
        yield refuse(request, cause, "invalid", problem)
    else:
        yield _say(
            request,
            cause,
            facts.StepSucceeded(step=data.step, attempt=data.attempt, result=data.result),
        )


_AFTER_THE_END = frozenset(
    {requests.ActivityReported, requests.ExceptionActionRequested, HandoverRequested}
)

_ANSWERS: dict[type, Answer] = {
    requests.CancelRequested: _cancel,
    requests.PauseRequested: _pause,
    requests.ResumeRequested: _resume,
    requests.RetryRequested: _retry,
    requests.OwnerChangeRequested: _change_owner,
    requests.MessageReceived: _message,
    requests.StepReported: _report,
    **TASK_ANSWERS,
    requests.ActivityReported: lambda spec, run, request, cause, moment: observe(
        spec, run, request, cause
    ),
}
