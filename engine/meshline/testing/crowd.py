"""Everybody outside who asks something: sources, senders of messages, outside workers, people."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from meshline.engine.core.items import step_of
from meshline.engine.core.owners import OWNER_GONE, is_concerned
from meshline.engine.core.state import NodeState, PartitionState, RunState
from meshline.events import requests
from meshline.events.codec import encode
from meshline.events.corrections import Correction
from meshline.events.envelope import Actor, Event
from meshline.events.ids import run_id_of
from meshline.events.log.protocol import Entry
from meshline.events.people_requests import (
    AbsenceChangeRequested,
    HandoverRequested,
    TaskActionRequested,
    TaskCompletionRequested,
)
from meshline.events.requests import BusinessCase, Request, StepError
from meshline.testing.crowd_people import (
    PEOPLE,
    handover,
    handovers,
    people_request,
    task_request,
)
from meshline.testing.random_workflows import result_of
from meshline.workflow.registry import Registry
from meshline.workflow.spec import ApprovalNode, MessageNode, StepNode, TaskNode, WorkflowSpec

__all__ = ["Crowd", "random_error"]

_PEOPLE = ("user:ada", "user:bob")
_OF_SOMEBODY = (
    requests.ApprovalSubmitted,
    TaskCompletionRequested,
    TaskActionRequested,
    AbsenceChangeRequested,
    HandoverRequested,
)
_ACTIONS: tuple[Any, ...] = (
    "acknowledge", "start", "assign", "resolve", "retry", "skip", "dismiss", "reopen",
)  # fmt: skip
_TRIGGERS_MAX = 6
_PAYLOADS = ({"n": 1}, {"n": 1}, {"n": 1}, {"n": 2})


def random_error(random: Random) -> StepError:
    """Return why a step failed: what passes, what does not, and what ends the whole run."""
    kind = random.choice(["Unavailable", "Unavailable", "Unavailable", "Hopeless", "FailRun"])
    if random.random() < 0.1:
        return StepError(type="BusinessException", message="too much", business=_case(random))
    return StepError(
        type=kind,
        message=f"number {random.randint(1, 9)}",
        retry_after_s=random.choice([None, None, 0.0, 30.0]),
        retryable=random.random() < 0.9,
    )


def _case(random: Random) -> BusinessCase:
    return BusinessCase(
        code=random.choice(["credit_limit", "no_stock"]),
        severity=random.choice(["low", "high"]),
        route=random.choice([None, "queue:credit"]),
        owner=random.choice([None, None, "user:ada"]),
        data=random.choice([None, {"limit": 7}]),
    )


def _dismissed(exception_id: str, reason: str) -> Request:
    return requests.ExceptionActionRequested(
        exception_id=exception_id, action="dismiss", reason=reason
    )


class Crowd:
    """Asks at random; ``settle`` asks for whatever lets an open run end.

    Args:
        registry: all definitions that there are.
        given: triggers to send, instead of made-up ones: (source, trigger id, payload).
        answers: by the name of an approval, a message or a step outside: what is said to it. For
            made-up workflows nothing is needed.
        meddling: ask for anything; if not, only triggers are sent, and sent again.
        people: there is a directory that changes, and more people who ask.
    """

    def __init__(
        self,
        random: Random,
        registry: Registry,
        now: Callable[[], datetime],
        *,
        given: Sequence[tuple[str, str, Any]] | None = None,
        answers: Mapping[str, Any] | None = None,
        meddling: bool = True,
        people: bool = False,
    ) -> None:
        self._random = random
        self._registry = registry
        self._now = now
        self._given = None if given is None else deque(given)
        self._payloads: dict[tuple[str, str], Any] = {}
        self._answers = answers
        self._meddling = meddling
        self.people = PEOPLE if people else _PEOPLE
        self._asked = 0
        self._triggers: list[tuple[str, str]] = []

    def ask(self, state: PartitionState) -> list[Entry]:
        """Return a request, or one that came before once more.

        Args:
            state: what the asking one believes, for ids; it may be behind.
        """
        return [self._entry(*self.asked(state))] * self._random.choice([1, 1, 1, 2])

    def asked(self, state: PartitionState) -> tuple[str, Request]:
        """Return a run's id and what is asked of it."""
        runs = list(state.runs.values())
        if self.people is PEOPLE and self._random.random() < 0.2:
            return people_request(self._random, state, self._now())
        chance = self._random.random()
        if self._has_new() and (chance < 0.25 or not runs):
            return self._new_trigger()
        if not self._meddling:
            return self._new_trigger() if self._has_new() else self._old_trigger()
        if chance < 0.3 and (self._triggers or self._given is None):
            return self._old_trigger()
        if chance < 0.32 or not runs:
            known = [*state.ended, "no-such-run"]
            return self._random.choice(known), requests.CancelRequested(reason="a guess")
        run = self._random.choice(runs)
        if self.people is not PEOPLE and self._random.random() < 0.03:
            return "causes", requests.CauseActionRequested(
                cause=self._random.choice(["3fa94c01b2d7", "none"]),
                action=self._random.choice(["resolve", "resolve", "reopen"]),
                in_version=self._random.choice([None, 0, 1, 2]),
                reason=self._random.choice(["", "mended"]),
            )
        if is_concerned(run, state.people) and self._random.random() < 0.5:
            return run.run_id, handover(self._random, run, state.people)
        return self._about(run)

    def _has_new(self) -> bool:
        return len(self._triggers) < _TRIGGERS_MAX if self._given is None else bool(self._given)

    def settle(self, state: PartitionState, patience: bool) -> Iterator[Entry]:
        """Yield what a person would do for each open run, so that it ends.

        Args:
            patience: try again first; without it, skip, and in the end cancel.
        """
        for run in state.runs.values():
            spec = self._registry.spec(run.workflow, run.version)
            steps = (*self._steps_to_end(spec, run, patience), *self._inherited(state, run))
            for request in steps:
                for actor in self._who(request):
                    yield self._entry(run.run_id, request, actor=actor)

    def _inherited(self, state: PartitionState, run: RunState) -> Iterator[Request]:
        """Yield what gives to somebody who is there what is theirs who are gone."""
        if state.people.roster is not None:
            users = [f"user:{name}" for name in state.people.roster.directory.users]
            for request in handovers(run, self._random.choice(users)):
                if state.people.is_gone(request.previous):
                    yield request

    def _who(self, request: Request) -> Sequence[str]:
        """Return who asks for it: of those who may, nobody outside knows, so all of them."""
        is_theirs = isinstance(request, _OF_SOMEBODY)
        if not is_theirs or self.people is not PEOPLE:
            return ("user:ada",)
        return self._random.sample(self.people, len(self.people))

    def unsent(self) -> Iterator[Entry]:
        """Yield the given triggers that were not sent yet."""
        while self._given:
            yield self._entry(*self._new_trigger())

    # -- triggers ------------------------------------------------------------------------------

    def _new_trigger(self) -> tuple[str, Request]:
        if self._given is not None:
            source, trigger_id, self._payloads[source, trigger_id] = self._given.popleft()
            self._triggers.append((source, trigger_id))
            return self._trigger(source, trigger_id)
        sources = sorted({spec.source for spec in self._registry})
        source = self._random.choice([*sources, *sources, *sources, "nowhere"])
        trigger_id = f"t{len(self._triggers)}"
        self._triggers.append((source, trigger_id))
        return self._trigger(source, trigger_id)

    def _old_trigger(self) -> tuple[str, Request]:
        return self._trigger(*self._random.choice(self._triggers))

    def _trigger(self, source: str, trigger_id: str) -> tuple[str, Request]:
        if self._given is not None:
            payload = self._payloads[source, trigger_id]
        else:
            payload = self._random.choice([*_PAYLOADS, *_PAYLOADS, {"n": "none"}, None])
        data = requests.TriggerReceived(source=source, trigger_id=trigger_id, payload=payload)
        return run_id_of(source, trigger_id), data

    # -- about a run ---------------------------------------------------------------------------

    def _about(self, run: RunState) -> tuple[str, Request]:
        spec = self._registry.spec(run.workflow, run.version)
        groups: list[list[Request]] = [list(self._of_people(run)), list(self._of_exceptions(run))]
        if spec is not None and spec.observed:
            names = ("work", "work", "raise", "settle", "end", "gibberish")
            groups += [[requests.ActivityReported(activity=name) for name in names]] * 3
        elif spec is not None:
            groups += [list(self._of_nodes(spec, run))] * 2
        if self.people is PEOPLE and spec is not None:
            groups += [list(self._of_questions(run))] * 8
        asked = self._random.choice([group for group in groups if group])
        return run.run_id, self._random.choice(asked)

    def _of_questions(self, run: RunState) -> Iterator[Request]:
        for name, state in run.nodes.items():
            if state.status == "requested":
                kind = "approval" if state.task is None else state.task.kind
                yield self._answer(name, kind == "approval")
                yield self._about_question(name, state)

    def _about_question(self, name: str, state: NodeState) -> Request:
        return task_request(self._random, name, state.task and state.task.assignee)

    def _of_people(self, run: RunState) -> Iterator[Request]:
        until = self._now() + timedelta(hours=self._random.randint(-1, 8))
        yield requests.CancelRequested(reason="on second thoughts")
        yield requests.PauseRequested(until=self._random.choice([None, until]))
        yield requests.ResumeRequested()
        yield requests.NoteRequested(text=self._random.choice(["they called", " "]))
        yield requests.RetryRequested()
        yield requests.OwnerChangeRequested(
            owner=self._random.choice(["team:green", "user:bob", "somebody"])
        )

    def _of_exceptions(self, run: RunState) -> Iterator[Request]:
        for exception_id, opened in (run.exceptions or {}).items():
            for action in _ACTIONS:
                yield requests.ExceptionActionRequested(
                    exception_id=exception_id,
                    action=action,
                    reason=self._random.choice(["", "no problem"]),
                    owner=self._random.choice([None, "team:green"]),
                    value=self._random.choice([None, self._result(opened.about, 7), "seven"]),
                )
            yield requests.ExceptionActionRequested(
                exception_id=exception_id, action="retry", corrections=self._corrections(run)
            )

            if not opened.blocking:
                yield from [_dismissed(exception_id, "no problem")] * 6
        for exception_id in run.closed or ():
            reopened = requests.ExceptionActionRequested(
                exception_id=exception_id, action="reopen", reason="it is back"
            )
            yield from [reopened] * 5

    def _corrections(self, run: RunState) -> tuple[Correction, ...]:
        """Return some that can be made, and some that can't."""
        draw = self._random
        possible = [
            Correction(of="trigger", path="/n", value=draw.choice([3, 4, "none"])),
            Correction(of="trigger", value={"n": draw.randint(5, 9)}),
            *(Correction(of=name, value=self._result(name, 8)) for name in run.nodes),
            *(Correction(of=name, path="/x", value=None) for name in run.nodes),
        ]
        return tuple(draw.choice(possible) for _ in range(draw.choice([1, 1, 2])))

    def _of_nodes(self, spec: WorkflowSpec, run: RunState) -> Iterator[Request]:
        for node in spec.nodes.values():
            state = run.nodes.get(node.name)
            if isinstance(node, MessageNode):
                payload = self._random.choice([self._said(node.name, {"n": 3}), {"n": "none"}])
                yield requests.MessageReceived(name=node.name, payload=payload)
            elif isinstance(node, TaskNode):
                yield self._answer(node.name, isinstance(node, ApprovalNode))
            elif isinstance(node, StepNode) and node.outside and state is not None:
                for name in (node.name, *(f"{node.name}[{n}]" for n in range(state.items))):
                    tried = run.nodes.get(name, state).attempt
                    yield self._report(name, tried - self._random.choice([0, 0, 1]))

    def _answer(self, name: str, is_approval: bool) -> Request:
        """Return what somebody says to an approval or a task: now and then as to the other."""
        forms = [None, self._said(name, {"discount": 5}), {"discount": "much"}]
        form, reason = self._random.choice(forms), self._random.choice(["", "too dear"])
        if is_approval is (self._random.random() < 0.8):
            decision: Any = self._random.choice(["approved", "denied"])
            return requests.ApprovalSubmitted(
                approval=name, decision=decision, form=form, reason=reason
            )
        return TaskCompletionRequested(task=name, form=form, reason=reason)

    def _report(self, step: str, attempt: int) -> Request:
        if self._random.random() < 0.6:
            result = self._random.choice([self._result(step, 1), self._result(step, 2), "three"])
            return requests.StepReported(
                step=step, attempt=attempt, outcome="succeeded", result=result
            )
        return requests.StepReported(
            step=step, attempt=attempt, outcome="failed", error=random_error(self._random)
        )

    # -- the way to the end --------------------------------------------------------------------

    def _steps_to_end(
        self, spec: WorkflowSpec | None, run: RunState, patience: bool
    ) -> Iterator[Request]:
        yield from self._exceptions_closed(run, patience)
        for exception_id in run.closed or () if patience else ():
            yield requests.ExceptionActionRequested(exception_id=exception_id, action="reopen")
        if run.has_ended or spec is None:
            return
        if run.status == "paused":
            yield requests.ResumeRequested()
        if spec.observed:
            yield requests.ActivityReported(activity="end")
        for name, state in run.nodes.items():
            if state.status == "requested":
                yield from self._settle(spec, name, state, patience)
            elif state.status == "awaiting":
                yield requests.MessageReceived(name=name, payload=self._said(name, {"n": 3}))
            elif state.status == "started":
                yield requests.StepReported(
                    step=name,
                    attempt=state.attempt,
                    outcome="succeeded",
                    result=self._result(name, 1),
                )
        nobody_may = self.people is PEOPLE and any(
            state.status == "requested" for state in run.nodes.values()
        )
        if not patience and (self._answers is not None or nobody_may):
            yield requests.CancelRequested(reason="nobody knows what to answer")

    def _exceptions_closed(self, run: RunState, patience: bool) -> Iterator[Request]:
        for exception_id, opened in (run.exceptions or {}).items():
            if opened.kind == OWNER_GONE:
                continue
            if run.has_ended or not opened.blocking:
                action: Any = self._random.choice(["resolve", "dismiss"])
            else:
                action = "retry" if patience else "skip"
            yield requests.ExceptionActionRequested(
                exception_id=exception_id,
                action=action,
                value=self._result(opened.about, 7) if action == "skip" else None,
                reason="seen",
            )
            if opened.blocking and opened.kind == "rule_failed" and not patience:
                yield requests.CancelRequested(reason="the rule will not be mended")

    def _settle(
        self, spec: WorkflowSpec, name: str, state: NodeState, patience: bool
    ) -> Iterator[Request]:
        if self.people is PEOPLE and patience and self._random.random() < 0.7:
            # Until everybody has had a word, nobody ends it.
            yield self._about_question(name, state)
            return
        has = None if state.task is None else state.task.assignee
        if has is not None and self._random.random() < 0.5:
            yield TaskActionRequested(task=name, action="release", reason="stuck")
        node, form = spec.nodes[name], self._said(name, {"discount": 1})
        if isinstance(node, ApprovalNode):
            yield requests.ApprovalSubmitted(approval=name, decision="approved", form=form)
        elif isinstance(node, TaskNode):
            yield TaskCompletionRequested(task=name, form=None if node.form is None else form)

    def _said(self, name: str, made_up: Any) -> Any:
        return made_up if self._answers is None else self._answers.get(name)

    def _result(self, step: str, number: int) -> Any:
        return self._said(step_of(step), result_of(step, number))

    def _entry(self, subject: str, data: Request, actor: str | None = None) -> Entry:
        self._asked += 1
        now = self._now()
        event = Event(
            id=f"request-{self._asked}",
            source="crowd",
            subject=subject,
            time=now - timedelta(hours=self._random.choice([0, 0, 0, 30])),
            data=data,
            recorded_at=now,
            actor=Actor("user", actor or self._random.choice(self.people)),
        )
        return Entry(subject, encode(event))
