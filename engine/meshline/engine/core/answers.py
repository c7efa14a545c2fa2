"""Answering requests: each is carried out by facts, or refused by one that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshline.engine.core.corrections import CorrectionRefused, correct
from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.endings import end_run
from meshline.engine.core.items import step_of
from meshline.engine.core.nodes import start
from meshline.engine.core.observing import observe
from meshline.engine.core.owners import OWNER_GONE, answer_handover
from meshline.engine.core.plan import ItemStep, plan_of
from meshline.engine.core.replies import problem_of as _problem
from meshline.engine.core.replies import refuse
from meshline.engine.core.replies import say as _say
from meshline.engine.core.state import UNDO, OpenException, RunState
from meshline.engine.core.task_answers import TASK_ANSWERS
from meshline.events import facts, requests
from meshline.events.envelope import Event
from meshline.events.people_requests import HandoverRequested
from meshline.events.principals import is_principal
from meshline.workflow.spec import MessageNode, WorkflowSpec, parameters_of

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
        yield from _act_on_exception(spec, run, request, cause)
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
            yield _resolved(request, cause, exception_id, "retried", reason)
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
        yield refuse(request, cause, "not_a_principal", _no_principal(data.owner))
        return
    fact = facts.OwnerAssigned(owner=data.owner, previous=run.owner, reason=data.reason)
    yield _say(request, cause, fact)


def _no_principal(value: Any) -> str:
    return f"{value!r} can't own anything: expected a principal such as 'team:emea' or 'user:ada'"


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


# -- exceptions --------------------------------------------------------------------------------


def _act_on_exception(
    spec: WorkflowSpec | None, run: RunState, request: Event[Any], cause: str
) -> Decisions:
    data: requests.ExceptionActionRequested = request.data
    opened = (run.exceptions or {}).get(data.exception_id)
    if opened is None:
        reason = f"the run has no open exception {data.exception_id!r}"
        yield refuse(request, cause, "unknown_exception", reason)
        return
    if run.has_ended and data.action in ("retry", "skip"):
        yield refuse(request, cause, "already_ended", "the run has ended")
        return
    if data.corrections and data.action != "retry":
        reason = f"corrections go with a retry, not with {data.action!r}"
        yield refuse(request, cause, "invalid", reason)
        return
    match data.action:
        case "acknowledge":
            fact = facts.ExceptionAcknowledged(exception_id=data.exception_id, reason=data.reason)
            yield _say(request, cause, fact)
        case "start":
            started = facts.ExceptionWorkStarted(exception_id=data.exception_id, reason=data.reason)
            yield _say(request, cause, started)
        case "assign":
            yield _assign(data, opened, request, cause)
        case "resolve":
            yield _resolve(data, opened, request, cause)
        case "retry":
            yield _retry_one(spec, run, data, opened, request, cause)
        case "skip":
            yield from _skip(spec, data, opened, request, cause)


def _assign(
    data: requests.ExceptionActionRequested, opened: OpenException, request: Event[Any], cause: str
) -> Decision:
    if not is_principal(data.owner):
        return refuse(request, cause, "not_a_principal", _no_principal(data.owner))
    assert data.owner is not None
    return _say(
        request,
        cause,
        facts.ExceptionAssigned(
            exception_id=data.exception_id,
            owner=data.owner,
            previous=opened.owner,
            reason=data.reason,
        ),
    )


def _resolve(
    data: requests.ExceptionActionRequested, opened: OpenException, request: Event[Any], cause: str
) -> Decision:
    if opened.blocking:
        reason = f"it holds {opened.about or 'the run'}: retry it, skip it or cancel the run"
        return refuse(request, cause, "blocking", reason)
    if opened.kind == OWNER_GONE:
        reason = f"something is {opened.about}'s still: hand it over, and this is closed by itself"
        return refuse(request, cause, "still_theirs", reason)
    return _resolved(request, cause, data.exception_id, "resolved", data.reason)


def _retry_one(
    spec: WorkflowSpec | None,
    run: RunState,
    data: requests.ExceptionActionRequested,
    opened: OpenException,
    request: Event[Any],
    cause: str,
) -> Decision:
    if not opened.blocking or opened.kind == "no_worker":
        reason = f"a {opened.kind} exception has nothing to try again"
        return refuse(request, cause, "nothing_to_retry", reason)
    if data.corrections and spec is None:
        reason = f"no worker has version {run.version}, and only it knows what may be corrected"
        return refuse(request, cause, "no_worker", reason)
    try:
        corrected = correct(spec, run, data.corrections) if spec is not None else ()
    except CorrectionRefused as error:
        return refuse(request, cause, "invalid", str(error))
    # In the one fact, so that there is no moment at which it is corrected and not tried again.
    return _say(
        request,
        cause,
        facts.ExceptionResolved(
            exception_id=data.exception_id,
            how="retried",
            reason=data.reason,
            corrected=corrected,
        ),
    )


def _skip(
    spec: WorkflowSpec | None,
    data: requests.ExceptionActionRequested,
    opened: OpenException,
    request: Event[Any],
    cause: str,
) -> Decisions:
    step = None if spec is None else plan_of(spec).step(opened.about, spec)
    if not opened.blocking or step is None:
        reason = f"a {opened.kind} exception holds no step that could be skipped"
        yield refuse(request, cause, "nothing_to_skip", reason)
        return
    problem = None
    if data.value is not None and step.result is not None:
        problem = _problem(step.result, data.value)
    elif data.value is None and isinstance(step, ItemStep):
        problem = _cannot_be_null(spec, step)
    if problem:
        reason = f"the value is no result of {step.name}: {problem}"
        yield refuse(request, cause, "invalid", reason)
        return
    yield _say(
        request,
        cause,
        facts.StepSkipped(step=step.name, why="operator", reason=data.reason, value=data.value),
    )
    yield _resolved(request, cause, data.exception_id, "skipped", data.reason)


def _cannot_be_null(spec: WorkflowSpec | None, item: ItemStep) -> str | None:
    """Return who reads the list and takes no null in it; None: an item may be left out."""
    assert spec is not None
    name = step_of(item.name)
    taken = [
        (node.name, parameter)
        for node in spec.nodes.values()
        for parameter in parameters_of(node)
        if parameter.name == name
    ]
    undo = plan_of(spec).undo.get(UNDO + name)
    if undo is not None:
        taken += [(undo.name, each) for each in undo.parameters if each.name in (name, "result")]
    for who, parameter in taken:
        if _problem(parameter.adapter, [None]):
            return f"expected a value, because {who!r} takes no null in {name!r}"
    return None


def _resolved(
    request: Event[Any], cause: str, exception_id: str, how: Any, reason: str
) -> Decision:
    fact = facts.ExceptionResolved(exception_id=exception_id, how=how, reason=reason)
    return _say(request, cause, fact)


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
