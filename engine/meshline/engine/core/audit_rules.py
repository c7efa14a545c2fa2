"""What must hold of each fact that counts, as its run stands: rules that need no definition.

Each rule yields the kind of violation and what was expected instead. ``audit_definitions.py`` has
those that a workflow's definition is needed for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from meshline.engine.core.owners import OWNER_GONE, gone_owners
from meshline.engine.core.state import RunState
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.people import NOBODY, People
from meshline.events.people_requests import HandoverRequested
from meshline.events.principals import is_principal

__all__ = ["RULES", "Case", "Noted", "Rule", "Wrong"]


class Wrong(NamedTuple):
    """The kind of violation, and what was expected instead of the fact."""

    code: str
    expected: str


@dataclass(slots=True)
class Noted:
    """What is known of an open run beside its state.

    Args:
        completed: steps in the order of their results, which is undone in reverse.
        exceptions: the ids of all that were opened.
        closed: of those that a person closed.
        offset: of the last fact.
        at: when that was recorded.
    """

    at: datetime
    offset: int
    completed: list[str] = field(default_factory=list)
    exceptions: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)


class Case(NamedTuple):
    """A fact that counts, the run and the people as they stood before it, and what it answers."""

    event: Event[Any]
    run: RunState
    noted: Noted
    people: People = NOBODY
    request: Any = None


Rule = Callable[[Case, Any], Iterator[Wrong]]


def _expect(holds: bool, code: str, expected: str) -> Iterator[Wrong]:
    if not holds:
        yield Wrong(code, expected)


def _step_started(case: Case, data: facts.StepStarted) -> Iterator[Wrong]:
    event, run = case.event, case.run
    before = run.nodes.get(data.step)
    yield from _expect(run.status != "paused", "fact_out_of_turn", "nothing begun in a paused run")
    attempt = 1 if before is None else before.attempt + 1
    yield from _expect(data.attempt == attempt, "attempt_out_of_turn", f"attempt {attempt}")
    status = None if before is None else before.status
    is_allowed = status in {
        "ready": (None, "ready"),
        "compensation": (None, "ready"),
        "retry": ("retrying",),
        "taken_over": ("started",),
        "operator": ("ready", "retrying"),
    }.get(data.why, ())
    yield from _expect(is_allowed, "attempt_out_of_turn", f"a step that is not {status}")
    if before is not None and data.why == "retry" and is_allowed:
        is_due = before.at is not None and event.time >= before.at
        yield from _expect(is_due, "timer_early", f"no hurry: nothing before {before.at}")
    if before is not None and data.why == "taken_over":
        is_older = before.epoch != event.epoch
        yield from _expect(is_older, "attempt_out_of_turn", "a step of an older epoch")


def _step_ended(case: Case, data: facts.StepSucceeded | facts.StepFailed) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.step)
    is_under_way = node is not None and node.status == "started" and node.attempt == data.attempt
    yield from _expect(is_under_way, "second_outcome", "an outcome of a try that is under way")
    if isinstance(data, facts.StepSucceeded):
        case.noted.completed.append(data.step)


def _retry_scheduled(case: Case, data: facts.StepRetryScheduled) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.step)
    is_on_purpose = node is not None and node.error is not None and node.error.business is not None
    yield from _expect(not is_on_purpose, "fact_out_of_turn", "a person to decide, and no retry")


def _step_joined(case: Case, data: facts.StepJoined) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.step)
    if node is None or node.status != "fanned_out":
        yield Wrong("fact_out_of_turn", "items to be joined")
        return
    items = [case.run.nodes.get(f"{data.step}[{index}]") for index in range(node.items)]
    ended = all(item is not None and item.has_ended for item in items)
    yield from _expect(ended, "fact_out_of_turn", "all items to have ended")
    case.noted.completed.append(data.step)


def _timer_fired(case: Case, data: facts.TimerFired) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.timer)
    if node is None or node.status != "sleeping" or node.at is None:
        yield Wrong("timer_unset", "a timer that is set")
        return
    yield from _expect(case.event.time >= node.at, "timer_early", f"nothing before {node.at}")


def _task_passed(
    case: Case, data: facts.ApprovalEscalated | facts.TaskEscalated
) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.task)
    if node is None or node.status != "requested" or node.at is None:
        yield Wrong("timer_unset", "work for people that is due")
        return
    yield from _expect(case.event.time >= node.at, "timer_early", f"nothing before {node.at}")


def _about_task(case: Case, data: facts.TaskClaimed) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.task)
    is_asked = node is not None and node.status == "requested"
    yield from _expect(is_asked, "fact_out_of_turn", "work for people that is open")


def _task_handed_over(case: Case, data: facts.TaskTransferred) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.task)
    if node is None or node.status != "requested":
        yield Wrong("fact_out_of_turn", "a question that is open")
        return
    has = (node.owner, None if node.task is None else node.task.assignee)
    yield from _expect(data.previous in has, "fact_out_of_turn", f"it to be {has}'s")
    asks = node.task is not None and case.people.roster and node.task.requester == data.owner
    yield from _expect(not asks, "fact_out_of_turn", "another than who asks for it")
    yield from _handed_over(case, data)


def _handed_over(
    case: Case, data: facts.TaskTransferred | facts.OwnerAssigned | facts.ExceptionAssigned
) -> Iterator[Wrong]:
    """Where something is given on as a whole: by who may, and to who is there."""
    actor, people = case.event.actor, case.people
    if not isinstance(case.request, HandoverRequested):
        return
    previous = case.request.previous
    may = actor is not None and (
        actor.id == previous or people.is_admin(actor.id, case.event.recorded_at)
    )
    yield from _expect(may, "fact_out_of_turn", f"{previous} or an admin to hand it over")
    knows = people.roster is None or people.roster.knows(data.owner)
    yield from _expect(knows, "fact_out_of_turn", "somebody who is in the directory")
    has = {data.previous, case.run.assignee if isinstance(data, facts.OwnerAssigned) else None}
    yield from _expect(previous in has, "fact_out_of_turn", f"it to be {previous}'s")


def _task_reminded(case: Case, data: facts.TaskReminded) -> Iterator[Wrong]:
    node = case.run.nodes.get(data.task)
    if node is None or node.status != "requested" or node.at is None:
        yield Wrong("timer_unset", "a question that people are to be reminded of")
        return
    yield from _expect(case.event.time >= node.at, "timer_early", f"nothing before {node.at}")
    is_before = case.event.time < data.due_at
    yield from _expect(is_before, "fact_out_of_turn", "no reminder after the due time")


def _exception_opened(case: Case, data: facts.ExceptionOpened) -> Iterator[Wrong]:
    is_new = data.exception_id not in case.noted.exceptions
    yield from _expect(is_new, "fact_out_of_turn", "an id of its own")
    is_somebodys = is_principal(data.owner) and is_principal(data.route)
    yield from _expect(is_somebodys, "wait_unowned", "an owner and a route")
    case.noted.exceptions.add(data.exception_id)
    is_known = data.version in (0, case.run.version)
    yield from _expect(is_known, "fact_out_of_turn", f"version {case.run.version}")
    if data.kind == OWNER_GONE:
        open_by_now = {
            e.about for e in (case.run.exceptions or {}).values() if e.kind == OWNER_GONE
        }
        is_gone = data.about in {*gone_owners(case.run, case.people)} - open_by_now
        yield from _expect(is_gone, "fact_out_of_turn", "somebody who is gone, and once")
    node = case.run.nodes.get(data.about)
    error = None if node is None or node.status != "failed" else node.error
    said = None if error is None else error.business
    is_said = data.error is not None and data.error == error and said is not None
    yield from _expect(
        (data.kind == "business") == is_said, "fact_out_of_turn", "what the step says on purpose"
    )
    if said is not None:
        route = said.route or case.run.route
        theirs = (route, said.owner or route)
        yield from _expect(
            (data.route, data.owner) == theirs, "fact_out_of_turn", f"the route and owner {theirs}"
        )


def _exception_changed(
    case: Case,
    data: facts.ExceptionResolved | facts.ExceptionAssigned | facts.ExceptionDismissed,
) -> Iterator[Wrong]:
    is_open = data.exception_id in (case.run.exceptions or {})
    yield from _expect(is_open, "fact_out_of_turn", "an open exception")


def _exception_assigned(case: Case, data: facts.ExceptionAssigned) -> Iterator[Wrong]:
    yield from _exception_changed(case, data)
    yield from _handed_over(case, data)


def _exception_resolved(case: Case, data: facts.ExceptionResolved) -> Iterator[Wrong]:
    yield from _exception_changed(case, data)
    opened = (case.run.exceptions or {}).get(data.exception_id)
    is_by_hand = data.how == "resolved" and case.event.actor is not None
    if opened is not None and is_by_hand and not opened.blocking:
        case.noted.closed.add(data.exception_id)
    if opened is not None and opened.kind == OWNER_GONE:
        has = opened.about in gone_owners(case.run, case.people)
        yield from _expect(not has, "fact_out_of_turn", f"it to stay: {opened.about} has something")


def _exception_dismissed(case: Case, data: facts.ExceptionDismissed) -> Iterator[Wrong]:
    yield from _exception_changed(case, data)
    opened = (case.run.exceptions or {}).get(data.exception_id)
    holds = opened is not None and (opened.blocking or opened.kind == OWNER_GONE)
    yield from _expect(not holds, "fact_out_of_turn", "it to stay: something hangs on it")
    yield from _expect(bool(data.reason.strip()), "fact_out_of_turn", "a reason")
    case.noted.closed.add(data.exception_id)


def _exception_reopened(case: Case, data: facts.ExceptionReopened) -> Iterator[Wrong]:
    is_open = data.exception_id in (case.run.exceptions or {})
    by_hand = data.exception_id in case.noted.closed
    yield from _expect(by_hand and not is_open, "fact_out_of_turn", "one that a person closed")


def _run_waits(case: Case, data: facts.RunWaiting | facts.RunHeld) -> Iterator[Wrong]:
    yield from _expect(bool(data.waits), "wait_unowned", "something that it waits for")
    are_owned = all(is_principal(wait.owner) for wait in data.waits)
    yield from _expect(are_owned, "wait_unowned", "an owner of each wait")


RULES: dict[type[facts.Fact], Rule] = {
    facts.StepStarted: _step_started,
    facts.StepSucceeded: _step_ended,
    facts.StepFailed: _step_ended,
    facts.StepRetryScheduled: _retry_scheduled,
    facts.StepJoined: _step_joined,
    facts.TimerFired: _timer_fired,
    **dict.fromkeys(
        (
            facts.ApprovalEscalated,
            facts.ApprovalExpired,
            facts.TaskEscalated,
            facts.TaskExpired,
        ),
        _task_passed,
    ),
    facts.TaskReminded: _task_reminded,
    facts.TaskTransferred: _task_handed_over,
    **dict.fromkeys(
        (
            facts.ApprovalApproved,
            facts.ApprovalDenied,
            facts.ApprovalVoted,
            facts.TaskCompleted,
            facts.TaskClaimed,
            facts.TaskReleased,
            facts.TaskAssigned,
            facts.TaskDelegated,
            facts.TaskCommented,
        ),
        _about_task,
    ),
    facts.ExceptionOpened: _exception_opened,
    facts.ExceptionAcknowledged: _exception_changed,
    facts.ExceptionWorkStarted: _exception_changed,
    facts.ExceptionAssigned: _exception_assigned,
    facts.OwnerAssigned: _handed_over,
    facts.ExceptionResolved: _exception_resolved,
    facts.ExceptionDismissed: _exception_dismissed,
    facts.ExceptionReopened: _exception_reopened,
    facts.RunWaiting: _run_waits,
    facts.RunHeld: _run_waits,
}
