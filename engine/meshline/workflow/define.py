"""Writing a workflow: ``Workflow`` and what is said with it.

Everything is checked while it is written. What one piece of code alone gets wrong is refused where
it stands; how the pieces fit together is known when all are there, and is checked by ``spec``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from meshline.workflow.drafts import (
    After,
    Answers,
    Condition,
    Draft,
    after_items,
    check_node_name,
    condition_of,
)
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.each import ITEMS_MAX, check_each
from meshline.workflow.errors import refuse
from meshline.workflow.for_people import ForPeople
from meshline.workflow.freeze import freeze
from meshline.workflow.limits import Retry, step_limits
from meshline.workflow.signatures import locals_of_caller, read_signature
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Definition", "Workflow"]

F = TypeVar("F", bound=Callable[..., Any])


class Definition:
    """What all definitions have: a name, a version, and a spec that is made when it is first read.

    Args:
        answers: the five answers, checked.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._spec: WorkflowSpec | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, version={self.version})"

    @property
    def name(self) -> str:
        return self._answers.name

    @property
    def version(self) -> int:
        return self._answers.version

    @property
    def spec(self) -> WorkflowSpec:
        """The definition as data. The first use checks it as a whole and closes it."""
        if self._spec is None:
            self._spec = self._freeze()
        return self._spec

    def _freeze(self) -> WorkflowSpec:
        raise NotImplementedError

    def _open(self) -> None:
        if self._spec is not None:
            raise refuse(
                "frozen",
                f"Workflow {self.name!r} is already in use, and something is added to it",
                expected="a definition that is complete when its spec is first read",
                do="Move what is added before that.",
            )


class Workflow(Definition, ForPeople):
    """A workflow: what starts it, who answers for it, what should come out, and its steps.

    Functions stay what they are: a step can be called in a test like any other function. Their
    parameters name what they take: another node's value, or ``trigger``. A step may also ask for
    ``idempotency_key: str`` and ``ctx: StepContext``, and one with ``each=`` for ``item`` and
    ``index: int``. A parameter ``X | None`` is None where its
    node was skipped; any other makes the step be skipped too.

    Args:
        trigger: type of the payload, usually a pydantic model.
        source: the system that sends it.
        owner: who answers for a run until a rule or a person says otherwise: ``team:revops``.
        exceptions: who sees what goes wrong: ``queue:revops-triage``.
        outcome: type that one of the steps returns, or words, with ``outcome_step``.
        due: how long a run may take before it counts as late.
        silent_after: how long the source may send no such trigger; after that it is an exception.
        trigger_type: name by which the source calls the trigger; the class's name by default.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        trigger: Any = None,
        source: str = "",
        owner: str = "",
        exceptions: str = "",
        outcome: Any = None,
        outcome_step: str | None = None,
        due: Duration | None = None,
        silent_after: Duration | None = None,
        trigger_type: str | None = None,
        description: str = "",
    ) -> None:
        given = {
            "trigger": trigger, "source": source, "owner": owner, "exceptions": exceptions,
            "outcome": outcome,
        }  # fmt: skip
        super().__init__(
            Answers.checked(
                name, version=version, answers=given, trigger_type=trigger_type, due=due,
                silent_after=silent_after, description=inspect.cleandoc(description),
            )
        )  # fmt: skip
        self._outcome_step = outcome_step
        self._drafts: dict[str, Draft] = {}

    def _freeze(self) -> WorkflowSpec:
        return freeze(self._answers, self._drafts, self._outcome_step)

    # -- steps ---------------------------------------------------------------------------------

    @overload
    def step(self, function: F, /) -> F: ...

    @overload
    def step(
        self,
        /,
        *,
        retry: Retry | None = None,
        timeout: Duration = "60s",
        total_timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        concurrency: int | None = None,
        when: Condition = None,
        after: After = (),
        compensate: Callable[..., Any] | None = None,
        outside: bool = False,
        each: str | Callable[..., Any] | None = None,
        each_max: int = ITEMS_MAX,
    ) -> Callable[[F], F]: ...

    def step(
        self,
        function: Any = None,
        /,
        *,
        retry: Retry | None = None,
        timeout: Duration = "60s",
        total_timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        concurrency: int | None = None,
        when: Condition = None,
        after: After = (),
        compensate: Callable[..., Any] | None = None,
        outside: bool = False,
        each: str | Callable[..., Any] | None = None,
        each_max: int = ITEMS_MAX,
    ) -> Any:
        """Add a step: work for a machine. Async functions run as tasks, plain ones in threads.

        Args:
            timeout: one try's limit.
            total_timeout: limit over all tries and the waits between them.
            heartbeat: a try that does not call ``ctx.heartbeat()`` for so long has failed.
            concurrency: tries at the same time in one worker.
            when: a rule over the same names; if it says no, the step is skipped.
            after: nodes that must have ended before, though their values are not needed.
            compensate: undoes the step; may also take ``result``, what the step returned.
            outside: done by outside workers; the function's body is never called.
            each: done for each item of this list, in parallel: a step that returns one, or a field,
                as in ``"trigger.items"``. The step's value is the list of the results.
            each_max: a list with more items opens an exception.
        """
        scope = locals_of_caller(1)

        def add(function: F) -> F:
            name = self._name_of(function, "step")
            signature = read_signature(function, "step", name, scope)
            limits = step_limits(
                signature.label, timeout=timeout, total_timeout=total_timeout,
                heartbeat=heartbeat, concurrency=concurrency,
            )  # fmt: skip
            check_each(each, each_max, signature.label)
            undo = f"compensation of step {name!r}"
            self._add(
                Draft(
                    "step", name, signature.label, handle=function, signature=signature,
                    condition=condition_of(when, signature.label, scope), after=after_items(after),
                    compensation=compensate and read_signature(compensate, undo, None, scope),
                    options=limits
                    | {"retry": (retry or Retry()).policy(signature.label), "outside": outside},
                    each=each, items_max=each_max, description=inspect.getdoc(function) or "",
                )
            )  # fmt: skip
            return function

        return add if function is None else add(function)

    # -- owners --------------------------------------------------------------------------------

    @overload
    def assign(self, function: F, /) -> F: ...

    @overload
    def assign(self, /, *, when: Condition = None, after: After = ()) -> Callable[[F], F]: ...

    def assign(self, function: Any = None, /, *, when: Condition = None, after: After = ()) -> Any:
        """Add an owner rule: a plain, quick function that returns a principal."""
        scope = locals_of_caller(1)

        def add(function: F) -> F:
            name = self._name_of(function, "owner rule")
            signature = read_signature(function, "owner rule", name, scope)
            self._add(
                Draft(
                    "assign", name, signature.label, handle=function, signature=signature,
                    condition=condition_of(when, signature.label, scope), after=after_items(after),
                    description=inspect.getdoc(function) or "",
                )
            )  # fmt: skip
            return function

        return add if function is None else add(function)

    # -- waits ---------------------------------------------------------------------------------

    def sleep(
        self,
        name: str,
        duration: Duration | None = None,
        /,
        *,
        until: Callable[..., datetime] | None = None,
        when: Condition = None,
        after: After = (),
    ) -> None:
        """Add a wait for a time: so long from when it is reached, or until a rule's moment."""
        scope = locals_of_caller(1)
        label = f"sleep {check_node_name(name, 'sleep')!r}"
        if (duration is None) == (until is None):
            raise refuse(
                "rule",
                f"The {label} has {'both a duration and' if duration else 'neither a duration nor'}"
                " until=",
                expected="one of them",
                do='Write wf.sleep("cool_off", "2d"), or wf.sleep("embargo", until=rule).',
            )
        seconds = None if duration is None else seconds_of(duration, f"duration of {label}")
        rule = until and read_signature(until, f"moment of {label}", None, scope)
        self._add(
            Draft(
                "sleep", name, label, signature=rule, after=after_items(after),
                condition=condition_of(when, label, scope), options={"duration_s": seconds},
            )
        )  # fmt: skip

    def message(
        self,
        name: str,
        *,
        payload: type[BaseModel] | None = None,
        due: Duration | None = None,
        when: Condition = None,
        after: After = (),
    ) -> None:
        """Add a wait for a message to the run; one that comes early is kept.

        Args:
            due: after this an exception is opened; the wait goes on.
        """
        scope = locals_of_caller(1)
        label = f"message {check_node_name(name, 'message')!r}"
        due_s = None if due is None else seconds_of(due, f"due time of {label}")
        self._add(
            Draft(
                "message", name, label, model=payload, after=after_items(after),
                condition=condition_of(when, label, scope), options={"due_s": due_s},
            )
        )  # fmt: skip

    # -- keeping -------------------------------------------------------------------------------

    def _name_of(self, function: Callable[..., Any], kind: str) -> str:
        name = getattr(function, "__name__", None)
        if name == "<lambda>":
            raise refuse(
                "function",
                f"The {kind} is a lambda",
                expected="a function with a name, because other nodes ask for its value by it",
                do="Write it with `def`.",
            )
        return name if name is None else check_node_name(name, kind)  # type: ignore[return-value]

    def _add(self, draft: Draft) -> None:
        self._open()
        other = self._drafts.get(draft.name)
        if other is not None:
            raise refuse(
                "duplicate",
                f"The {draft.label} has the name of another node, {other.label}",
                expected=f"one node called {draft.name!r} in workflow {self.name!r}",
                do="Rename one of them.",
            )
        self._drafts[draft.name] = draft
