"""Moving one node of a run on: beginning it, and what follows from where it stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

from meshline.engine.core.business import open_business
from meshline.engine.core.decision import Decision, Decisions, Moment
from meshline.engine.core.endings import end_run
from meshline.engine.core.items import item_names, items_of
from meshline.engine.core.openings import open_exception
from meshline.engine.core.plan import plan_of
from meshline.engine.core.retry import delay_s, jitter_of, may_retry
from meshline.engine.core.rules import ask, seen_by, words_of
from meshline.engine.core.state import NODE_ENDED, NodeState, RunState
from meshline.engine.core.tasks import close_task, request_task
from meshline.events import facts
from meshline.events.envelope import Actor
from meshline.events.principals import is_principal
from meshline.events.requests import StepError
from meshline.workflow.spec import (
    ApprovalNode,
    AssignNode,
    MessageNode,
    Node,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
)

__all__ = ["FAIL_RUN", "begin", "close_node", "start"]

FAIL_RUN = "FailRun"
"""The type of error by which a step says that the run as a whole has failed."""


ITEMS_UNDER_WAY_MAX = 100
"""Items of one fan-out of one run that have begun and not ended; the others wait for room."""

JOINED_BYTES_MAX = 1024 * 1024
"""The results of all items of a step, as the run keeps them."""

OUTCOME_BYTES_MAX = 256 * 1024
"""The same where they are the run's outcome, which must fit into one record of the log."""

LOSSES_MAX = 5
"""Workers that are gone in a row while they are at one step. A step that ends its process would end
one after the other else, and with them what other runs have under way there."""

RETRY_AFTER_MAX_S = 366 * 86_400.0
"""The longest wait that a failed step may ask for; a longer one counts as this."""


def begin(spec: WorkflowSpec, run: RunState, node: Node, moment: Moment) -> Decisions:
    """Begin a node whose dependencies have ended, or skip it; nothing if they have not."""
    for name in (*node.needs, *node.wants):
        state = run.nodes.get(name)
        if state is None or not state.has_ended:
            return
    for name in node.needs:
        state = run.nodes[name]
        if state.status == "skipped" and state.value is None:
            yield Decision(
                facts.StepSkipped(
                    step=node.name, why="upstream", reason=f"{name} was skipped", upstream=name
                )
            )
            return
    if node.condition is not None:
        try:
            holds = bool(ask(node.condition, run))
        except Exception as error:  # a rule is the user's code: whatever it raises is an exception
            yield _rule_failed(run, node.name, node.condition.name, error)
            return
        if not holds:
            yield Decision(
                facts.StepSkipped(
                    step=node.name,
                    why="condition",
                    reason=f"condition {node.condition.name} does not hold",
                    rule=node.condition.name,
                    values=seen_by(node.condition, run),
                )
            )
            return
    yield from _BEGIN[type(node)](spec, run, node, moment)


def _rule_failed(run: RunState, about: str, rule: str, error: Exception) -> Decision:
    return open_exception(
        run,
        "rule_failed",
        about,
        f"The rule {rule} of {about!r} raised {words_of(error)}. Mend the rule or the data, then "
        "retry.",
        blocking=True,
        severity="high",
        error=StepError(type=type(error).__name__, message=words_of(error)),
    )


def _begin_step(spec: WorkflowSpec, run: RunState, node: StepNode, moment: Moment) -> Decisions:
    if node.each is None:
        yield Decision(start(node, 1, "ready", moment))
        return
    try:
        count = len(items_of(run, node.each))
    except Exception as error:
        yield _rule_failed(run, node.name, f"each={node.each.text!r}", error)
        return
    if count > node.each.items_max:
        yield open_exception(
            run, "fan_out_too_wide", node.name,
            f"Expected at most {node.each.items_max} items in {node.each.text} for {node.name!r}, "
            f"but it has {count}. Skip the step with a list of results, or cancel the run and send "
            "smaller ones.",
            blocking=True,
        )  # fmt: skip
        return
    yield Decision(facts.StepFannedOut(step=node.name, count=count))
    yield from _fanned_out(spec, run, node, run.nodes[node.name], moment)


def _fanned_out(
    spec: WorkflowSpec, run: RunState, node: StepNode, whole: NodeState, moment: Moment
) -> Decisions:
    """Move each item on; begin further ones while there is room; join them when all have ended."""
    plan = plan_of(spec)
    room = ITEMS_UNDER_WAY_MAX
    for index, name in enumerate(item_names(node.name, whole.items)):
        state = run.nodes.get(name)
        if state is not None and state.status in NODE_ENDED:
            continue
        # Those that wait for a retry or for a person take room too: what fails for the first
        # hundred is not tried for the rest, and does not become a thousand exceptions.
        room -= 1
        if room < 0:
            return
        item = plan.item(node, index)
        if state is None or (state.status == "ready" and state.attempt == 0):
            yield Decision(start(item, 1, "ready", moment))
        else:
            yield from close_node(spec, run, item, state, moment)
            if run.undo is not None or run.has_ended:
                return
    if room == ITEMS_UNDER_WAY_MAX:
        yield _join(spec, run, node, whole)


def _join(spec: WorkflowSpec, run: RunState, node: StepNode, whole: NodeState) -> Decision:
    names = item_names(node.name, whole.items)
    size_bytes = sum(len(run.nodes[name].value or b"null") + 1 for name in names) + 1
    is_outcome = node.name == spec.outcome_node
    bytes_max = OUTCOME_BYTES_MAX if is_outcome else JOINED_BYTES_MAX
    if size_bytes <= bytes_max:
        return Decision(facts.StepJoined(step=node.name))
    return open_exception(
        run, "fan_out_too_large", node.name,
        f"Expected at most {bytes_max // 1024} KiB of results from all items of {node.name!r}, but "
        f"they have {size_bytes // 1024} KiB. Skip the step with a shorter list, or cancel the "
        "run; let the step keep large results elsewhere and return where they are.",
        blocking=True,
    )  # fmt: skip


def _begin_assign(spec: WorkflowSpec, run: RunState, node: AssignNode, moment: Moment) -> Decisions:
    try:
        owner = ask(node.rule, run)
        if not is_principal(owner):
            raise ValueError(
                f"it returned {owner!r}: expected a principal such as 'team:emea' or 'user:ada'"
            )
    except Exception as error:
        yield _rule_failed(run, node.name, node.rule.name, error)
        return
    yield Decision(
        facts.OwnerAssigned(
            owner=owner,
            previous=run.owner,
            rule=node.name,
            values=seen_by(node.rule, run),
        ),
        actor=Actor("rule", node.name),
    )


def _begin_task(spec: WorkflowSpec, run: RunState, node: TaskNode, moment: Moment) -> Decisions:
    try:
        question = request_task(spec, run, node, moment)
    except Exception as error:
        assert node.requester is not None
        yield _rule_failed(run, node.name, node.requester.name, error)
        return
    yield question


def _begin_sleep(spec: WorkflowSpec, run: RunState, node: SleepNode, moment: Moment) -> Decisions:
    at = _after(moment, node.duration_s)
    if node.until is not None:
        try:
            at = ask(node.until, run)
            if at is None or at.tzinfo is None:
                raise ValueError(f"it returned {at!r}: expected a datetime with a time zone")
            at = at.astimezone(UTC)
        except Exception as error:
            yield _rule_failed(run, node.name, node.until.name, error)
            return
    assert at is not None
    yield Decision(facts.TimerSet(timer=node.name, at=at))
    if at <= moment.now:
        yield Decision(facts.TimerFired(timer=node.name))


def _begin_message(
    spec: WorkflowSpec, run: RunState, node: MessageNode, moment: Moment
) -> Decisions:
    yield Decision(facts.MessageAwaited(message=node.name, due_at=_after(moment, node.due_s)))


def _after(moment: Moment, seconds: float | None) -> Any:
    return None if seconds is None else moment.now + timedelta(seconds=seconds)


_BEGIN: dict[type[Node], Callable[..., Decisions]] = {
    StepNode: _begin_step,
    AssignNode: _begin_assign,
    TaskNode: _begin_task,
    ApprovalNode: _begin_task,
    SleepNode: _begin_sleep,
    MessageNode: _begin_message,
}


def close_node(
    spec: WorkflowSpec, run: RunState, node: Node, state: NodeState, moment: Moment
) -> Decisions:
    """Yield what follows for a node that has begun and not ended."""
    due = state.at is not None and state.at <= moment.now
    match state.status:
        case "started" if isinstance(node, StepNode):
            yield from _started(spec, run, node, state, moment)
        case "fanned_out" if isinstance(node, StepNode):
            yield from _fanned_out(spec, run, node, state, moment)
        case "failed" if isinstance(node, StepNode):
            yield from _failed(spec, run, node, state, moment)
        case "ready" if isinstance(node, StepNode):
            yield _next_try(node, state, "operator", moment)
        case "retrying" if due and isinstance(node, StepNode):
            yield _next_try(node, state, "retry", moment)
        case "sleeping" if due:
            yield Decision(facts.TimerFired(timer=node.name))
        case "requested" if isinstance(node, TaskNode):
            yield from close_task(run, node, moment)
        case "awaiting" if due:
            yield open_exception(
                run, "message_overdue", node.name,
                f"Expected the message {node.name!r} by {state.at}, but it has not come.",
                blocking=False,
            )  # fmt: skip
        case _:
            pass


def _next_try(node: StepNode, state: NodeState, why: Any, moment: Moment) -> Decision:
    return Decision(start(node, state.attempt + 1, why, moment))


def start(node: StepNode, attempt: int, why: Any, moment: Moment) -> facts.StepStarted:
    """Return the start of a try; one of an outside worker has a limit, which is watched here."""
    until = _after(moment, node.start_to_close_s) if node.outside else None
    return facts.StepStarted(step=node.name, attempt=attempt, until=until, why=why)


def _started(
    spec: WorkflowSpec, run: RunState, node: StepNode, state: NodeState, moment: Moment
) -> Decisions:
    if node.outside:
        if state.at is not None and moment.now >= state.at:
            message = f"No outside worker reported within {node.start_to_close_s:g} s."
            error = StepError(type="StepTimedOut", message=message)
            yield Decision(facts.StepFailed(step=node.name, attempt=state.attempt, error=error))
            yield from _failed(spec, run, node, run.nodes[node.name], moment)
    elif state.epoch != moment.epoch and not moment.under_way(run.run_id, node.name, state.attempt):
        if state.losses + 1 < LOSSES_MAX:
            yield _next_try(node, state, "taken_over", moment)
            return
        message = (
            f"{LOSSES_MAX} workers in a row were gone before {node.name} had ended: expected a "
            "step that does not end its process. Look for what ended those workers, then retry."
        )
        error = StepError(type="StepLost", message=message, retryable=False)
        yield Decision(facts.StepFailed(step=node.name, attempt=state.attempt, error=error))
        yield from _failed(spec, run, node, run.nodes[node.name], moment)


def _failed(
    spec: WorkflowSpec, run: RunState, node: StepNode, state: NodeState, moment: Moment
) -> Decisions:
    """Try again later, or let a person see it."""
    error = state.error or StepError(type="Unknown", message="")
    if error.business is not None:
        yield open_business(run, node.name, error, error.business)
        return
    if error.type == FAIL_RUN and run.undo is None:
        if run.status == "paused":
            # Ending may mean undoing, which begins steps: not before the run is resumed.
            return
        yield Decision(end_run(spec, run, "failed", error.message))
        return
    if may_retry(node.retry, state.failures, error) and error.type not in node.retry.non_retryable:
        jitter = jitter_of(run.run_id, node.name, state.attempt)
        wait_s = delay_s(node.retry, state.failures, jitter)
        if error.retry_after_s is not None:
            wait_s = min(max(error.retry_after_s, 0.0), RETRY_AFTER_MAX_S)
        at = moment.now + timedelta(seconds=wait_s)
        limit = _close_by(node, state)
        if limit is None or at < limit:
            yield Decision(
                facts.StepRetryScheduled(
                    step=node.name, attempt=state.attempt + 1, at=at, delay_s=round(wait_s, 6)
                )
            )
            return
    yield open_exception(
        run, "step_failed", node.name, f"{node.name} failed {_times(state.failures)}: "
        f"{error.type}: {error.message}", blocking=True, error=error,
    )  # fmt: skip


def _close_by(node: StepNode, state: NodeState) -> Any:
    if node.schedule_to_close_s is None or state.first_at is None:
        return None
    return state.first_at + timedelta(seconds=node.schedule_to_close_s)


def _times(failures: int) -> str:
    return "once" if failures == 1 else f"{failures} times"
