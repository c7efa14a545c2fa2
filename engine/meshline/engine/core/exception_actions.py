"""What people do about exceptions: see, take, retry, skip, close and open them again."""

from __future__ import annotations

from typing import Any

from meshline.engine.core.corrections import CorrectionRefused, correct
from meshline.engine.core.decision import Decision, Decisions
from meshline.engine.core.items import step_of
from meshline.engine.core.owners import OWNER_GONE
from meshline.engine.core.plan import ItemStep, plan_of
from meshline.engine.core.replies import no_principal, problem_of, refuse, say
from meshline.engine.core.state import UNDO, OpenException, RunState
from meshline.events import facts, requests
from meshline.events.envelope import Event
from meshline.events.principals import is_principal
from meshline.workflow.spec import WorkflowSpec, parameters_of

__all__ = ["act_on_exception", "resolved"]


def act_on_exception(
    spec: WorkflowSpec | None, run: RunState, request: Event[Any], cause: str
) -> Decisions:
    """Yield what is done about an exception, or the refusal.

    Args:
        spec: None where no worker here has the definition: then nothing is skipped or corrected.
    """
    data: requests.ExceptionActionRequested = request.data
    if data.action == "reopen":
        yield _reopen(run, data, request, cause)
        return
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
            yield say(request, cause, fact)
        case "start":
            started = facts.ExceptionWorkStarted(exception_id=data.exception_id, reason=data.reason)
            yield say(request, cause, started)
        case "assign":
            yield _assign(data, opened, request, cause)
        case "resolve":
            yield _resolve(data, opened, request, cause)
        case "dismiss":
            yield _dismiss(data, opened, request, cause)
        case "retry":
            yield _retry_one(spec, run, data, opened, request, cause)
        case "skip":
            yield from _skip(spec, data, opened, request, cause)


def _assign(
    data: requests.ExceptionActionRequested, opened: OpenException, request: Event[Any], cause: str
) -> Decision:
    if not is_principal(data.owner):
        return refuse(request, cause, "not_a_principal", no_principal(data.owner))
    assert data.owner is not None
    return say(
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
    return _not_to_be_closed(opened, request, cause) or resolved(
        request, cause, data.exception_id, "resolved", data.reason
    )


def _dismiss(
    data: requests.ExceptionActionRequested, opened: OpenException, request: Event[Any], cause: str
) -> Decision:
    if not data.reason.strip():
        return refuse(request, cause, "reason_missing", "a dismissal needs a reason")
    fact = facts.ExceptionDismissed(exception_id=data.exception_id, reason=data.reason)
    return _not_to_be_closed(opened, request, cause) or say(request, cause, fact)


def _not_to_be_closed(opened: OpenException, request: Event[Any], cause: str) -> Decision | None:
    """Return the refusal where a person can't close it by saying so; None where one can."""
    if opened.blocking:
        reason = f"it holds {opened.about or 'the run'}: retry it, skip it or cancel the run"
        return refuse(request, cause, "blocking", reason)
    if opened.kind == OWNER_GONE:
        reason = f"something is {opened.about}'s still: hand it over, and this is closed by itself"
        return refuse(request, cause, "still_theirs", reason)
    return None


def _reopen(
    run: RunState, data: requests.ExceptionActionRequested, request: Event[Any], cause: str
) -> Decision:
    if run.has_ended:
        return refuse(request, cause, "already_ended", "the run has ended")
    if data.exception_id in (run.exceptions or {}):
        return refuse(request, cause, "already_open", f"{data.exception_id} is open")
    found = (run.closed or {}).get(data.exception_id)
    if found is None:
        reason = (
            f"{data.exception_id} was not dismissed or resolved by a person: what was retried or "
            "skipped opens another if it fails again"
        )
        return refuse(request, cause, "not_closed", reason)
    return say(
        request,
        cause,
        facts.ExceptionReopened(
            exception_id=data.exception_id, owner=found.owner, reason=data.reason
        ),
    )


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
    return say(
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
        problem = problem_of(step.result, data.value)
    elif data.value is None and isinstance(step, ItemStep):
        problem = _cannot_be_null(spec, step)
    if problem:
        reason = f"the value is no result of {step.name}: {problem}"
        yield refuse(request, cause, "invalid", reason)
        return
    yield say(
        request,
        cause,
        facts.StepSkipped(step=step.name, why="operator", reason=data.reason, value=data.value),
    )
    yield resolved(request, cause, data.exception_id, "skipped", data.reason)


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
        if problem_of(parameter.adapter, [None]):
            return f"expected a value, because {who!r} takes no null in {name!r}"
    return None


def resolved(request: Event[Any], cause: str, exception_id: str, how: Any, reason: str) -> Decision:
    """Return that the exception is closed, in answer to the request."""
    fact = facts.ExceptionResolved(exception_id=exception_id, how=how, reason=reason)
    return say(request, cause, fact)
