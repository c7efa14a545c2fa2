"""Putting a process that others carry out under visibility: ``ObservedWorkflow``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from meshline.workflow.accepts import accepts, type_text
from meshline.workflow.data import data_of, hash_of
from meshline.workflow.define import Definition
from meshline.workflow.drafts import Answers
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.errors import refuse
from meshline.workflow.signatures import adapter_of, locals_of_caller, read_signature
from meshline.workflow.spec import Activity, Observation, WorkflowSpec

__all__ = ["ObservedWorkflow"]

Observe = TypeVar("Observe", bound=Callable[[Activity, Any], Observation])

_SHOW = """    @wf.observe
    def observe(activity: Activity, memo: Any) -> Observation:
        return Observation(owner="team:support", ended="succeeded")"""


class ObservedWorkflow(Definition):
    """A process that outside systems carry out: they tell what they did, and one rule reads it.

    Args:
        trigger: type of the payload that opens a case, usually a pydantic model.
        source: the system that sends it.
        owner: who answers for a run until the rule says otherwise.
        exceptions: who sees what goes wrong.
        outcome: what should come out, in words.
        due: how long a run may take before it counts as late.
        quiet: a run past its due time is late only after so long without a report, so that
            history can be brought in after the event.
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
        outcome: str = "",
        due: Duration | None = None,
        quiet: Duration = "1h",
        silent_after: Duration | None = None,
        trigger_type: str | None = None,
        description: str = "",
    ) -> None:
        given = {
            "trigger": trigger, "source": source, "owner": owner, "exceptions": exceptions,
            "outcome": outcome,
        }  # fmt: skip
        if outcome and not isinstance(outcome, str):
            raise refuse(
                "outcome",
                f"The outcome of the observed workflow {name!r} is {outcome!r}",
                expected="words, because no step of Meshline gives it",
                do='Write for example outcome="the incident is resolved".',
            )
        self._quiet_s = seconds_of(quiet, f"quiet time of workflow {name!r}", zero_allowed=True)
        self._observe: Callable[[Activity, Any], Observation] | None = None
        super().__init__(
            Answers.checked(
                name, version=version, answers=given, trigger_type=trigger_type, due=due,
                silent_after=silent_after, description=inspect.cleandoc(description),
            )
        )  # fmt: skip

    def observe(self, function: Observe, /) -> Observe:
        """Say what an activity means: a plain, quick function of the activity and its own memo.

        The memo is what the rule returned with the activity before it; None with the first.
        """
        self._open()
        signature = read_signature(function, "observe rule", None, locals_of_caller(1))
        if self._observe is not None:
            raise refuse(
                "observe",
                f"The observed workflow {self.name!r} has a second {signature.label}",
                expected="one rule for all activities",
                do="Let one function decide by activity.name.",
            )
        asked = signature.parameters
        if signature.is_async or len(asked) != 2:
            raise refuse(
                "observe",
                f"The {signature.label} is async or does not take two values: "
                f"{', '.join(each.name for each in asked) or 'none'}",
                expected="a plain function of an activity and the memo",
                do="Write:",
                show=_SHOW,
            )
        if not accepts(asked[0].annotation, Activity) or not accepts(
            Observation, signature.returns
        ):
            raise refuse(
                "observe",
                f"The {signature.label} takes {type_text(asked[0].annotation)} and returns "
                f"{type_text(signature.returns)}",
                expected="an Activity, and an Observation in every case",
                do="Write:",
                show=_SHOW,
            )
        self._observe = function
        return function

    def _freeze(self) -> WorkflowSpec:
        answers = self._answers
        if self._observe is None:
            raise refuse(
                "observe",
                f"The observed workflow {self.name!r} does not say what an activity means",
                expected="an observe rule",
                do="Add:",
                show=_SHOW,
            )
        spec = WorkflowSpec(
            name=answers.name,
            version=answers.version,
            trigger_type=answers.trigger_type,
            trigger=adapter_of(answers.trigger, f"trigger of workflow {answers.name!r}"),
            source=answers.source,
            owner=answers.owner,
            exception_route=answers.exceptions,
            expected_outcome=answers.outcome,
            due_s=answers.due_s,
            observe=self._observe,
            quiet_s=self._quiet_s,
            silent_after_s=answers.silent_after_s,
            description=answers.description,
        )
        data = data_of(spec, {})
        return replace(spec, data=data, spec_hash=hash_of(data))
