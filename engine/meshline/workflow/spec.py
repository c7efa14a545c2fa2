"""A workflow as data: what the engine decides by, what is checked, drawn, compared and registered.

Authors write ``Workflow`` (see ``define.py``); this is what comes out of it. Nothing here runs a
step. Callables are kept beside the data: rules, which are pure and quick, and step functions, which
only the performer calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from meshline.events.secrets import NOTHING, Places

__all__ = [
    "TRIGGER",
    "Activity",
    "Approval",
    "ApprovalNode",
    "AssignNode",
    "Compensation",
    "Each",
    "MessageNode",
    "Node",
    "Observation",
    "Parameter",
    "Raised",
    "RetryPolicy",
    "Rule",
    "SleepNode",
    "StepNode",
    "TaskNode",
    "WorkflowSpec",
    "parameters_of",
]

TRIGGER = "trigger"
"""The name under which every function can ask for the trigger's payload."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed step is tried again.

    Args:
        maximum_attempts: tries that may fail before an exception is opened; crashes do not count.
        initial_interval_s: upper bound of the wait before the first retry.
        backoff: what the bound is multiplied by for each further one.
        maximum_interval_s: the bound's own bound.
        non_retryable: names of error types (and of their bases) that open an exception at once.
    """

    maximum_attempts: int = 10
    initial_interval_s: float = 1.0
    backoff: float = 2.0
    maximum_interval_s: float = 100.0
    non_retryable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function of the workflow.

    Args:
        name: the node (or ``trigger``) whose value it takes, or one of the special names
            ``idempotency_key`` and ``ctx`` (steps only), ``item`` and ``index`` (with ``each``).
        adapter: reads the JSON value into the declared type.
        optional: annotated ``X | None``: None is handed in where the node was skipped.
        special: the name is a special one and not a node.
        secrets: where the secrets are in the value that it is given.
    """

    name: str
    adapter: TypeAdapter[Any]
    optional: bool = False
    special: bool = False
    secrets: Places = NOTHING


@dataclass(frozen=True, slots=True)
class Rule:
    """A pure, quick function of the workflow, called by the decider: a condition, an owner rule.

    ``name`` is the function's, or a lambda's text, such as ``enrich.employees > 500``. ``call``
    takes the parameters' values by keyword.
    """

    name: str
    parameters: tuple[Parameter, ...]
    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Compensation:
    """How a step is undone; called with parameters like a step's, and the step's own result."""

    name: str
    parameters: tuple[Parameter, ...]
    call: Callable[..., Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Each:
    """The list for whose items a step is done, one by one and at the same time.

    Args:
        node: the node (or ``trigger``) whose value holds the list.
        path: fields that lead from the value to the list; empty: the value is the list.
        value: reads the value, where there is a path.
        items: writes the list at the end of the path.
        result: adapter of what the step gives for one item; the node's value is a list of them.
        items_max: a longer list opens an exception.
    """

    node: str
    path: tuple[str, ...]
    value: TypeAdapter[Any]
    items: TypeAdapter[Any]
    result: TypeAdapter[Any]
    items_max: int = 1_000

    @property
    def text(self) -> str:
        """The list as authors name it, such as ``trigger.items``."""
        return ".".join((self.node, *self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all nodes of the graph have.

    Args:
        needs: nodes that must have ended with a value; if one is skipped, so is this node.
        wants: nodes that must have ended, with a value or skipped.
        condition: if it says no, the node is skipped. Its parameters are among needs and wants.
        result: adapter of the node's value, None where it has none.
    """

    name: str
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    condition: Rule | None = None
    result: TypeAdapter[Any] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode(Node):
    """Work for a machine.

    Args:
        start_to_close_s: one try's limit.
        schedule_to_close_s: limit from the first start over all tries; None: the retry policy's.
        heartbeat_s: a try that is silent for so long has failed; None: not watched.
        concurrency_max: tries of this step at the same time in one worker; None: the worker's own.
        outside: done by outside workers, who take the work from the log and report the outcome.
        each: done for each item of this list, instead of once.
    """

    parameters: tuple[Parameter, ...] = ()
    call: Callable[..., Any] | None = None
    is_async: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    start_to_close_s: float = 60.0
    schedule_to_close_s: float | None = None
    heartbeat_s: float | None = None
    concurrency_max: int | None = None
    outside: bool = False
    compensation: Compensation | None = None
    each: Each | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignNode(Node):
    """An owner rule; ``rule`` returns a principal such as ``team:emea``."""

    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode(Node):
    """Work for a person, which ends with a form that is filled in; an approval is such work too.

    Args:
        form: what is filled in, and is the node's value; None: nothing.
        by: who may do it, such as ``role:sales-lead``.
        of: how many different people must, where it is an approval; one denial denies.
        due_s: how long they have; then it goes to the next of ``escalate``,
        escalate_s: who have as long as this says for each of them, or else as long again.
        remind_s: how long before the due time they are reminded, the earliest first.
        on_expiry: what follows when the last of these times has passed.
        four_eyes: whoever asks for it may not do it.
        requester: says who asks for it; None: who sent the trigger.
        priority: among all that people are asked.
        follow_up_s: when it is time to look after it, from when it is asked.
    """

    form: type[BaseModel] | None = None
    by: str
    of: int = 1
    due_s: float | None = None
    escalate: tuple[str, ...] = ()
    escalate_s: tuple[float, ...] = ()
    remind_s: tuple[float, ...] = ()
    on_expiry: Literal["exception", "deny", "go on"] = "exception"
    requester: Rule | None = None
    four_eyes: bool = False
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    follow_up_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalNode(TaskNode):
    """A task whose outcome is yes or no; the form is for the yes.

    Args:
        denied: ``end`` ends the run as cancelled (with compensation); ``continue`` goes on, and
            the nodes behind read ``Approval.approved``.
    """

    four_eyes: bool = True
    denied: Literal["end", "continue"] = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepNode(Node):
    """A wait for a time: ``duration_s`` after it is reached, or until what ``until`` returns."""

    duration_s: float | None = None
    until: Rule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageNode(Node):
    """A wait for a message to this run; kept if it comes early.

    Args:
        due_s: after this an exception ``message_overdue`` is opened; the wait goes on.
    """

    payload: type[BaseModel] | None = None
    due_s: float | None = None


def parameters_of(node: Node) -> tuple[Parameter, ...]:
    """Return what all functions of the node take, but for its compensation."""
    own_rules = (getattr(node, name, None) for name in ("rule", "until", "requester"))
    rules = (node.condition, *own_rules)
    own = node.parameters if isinstance(node, StepNode) else ()
    return (*own, *(each for rule in rules if rule is not None for each in rule.parameters))


class Approval(BaseModel):
    """The value of an approval node, as later nodes read it.

    ``by`` decided, with ``form``; ``voters`` are all who approved, where several had to.
    """

    approved: bool
    by: str
    reason: str = ""
    form: Any = None
    voters: tuple[str, ...] = ()


# -- observed workflows ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Activity:
    """What an outside system reported: ``payload`` as it came, ``time`` in ISO 8601, UTC."""

    name: str
    time: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that an observed workflow's rule sees: opened once while it is open."""

    kind: str
    message: str
    severity: Literal["low", "medium", "high", "critical"] = "medium"


@dataclass(frozen=True, slots=True)
class Observation:
    """What an activity means, as the workflow's ``observe`` rule reads it.

    Args:
        owner: who answers for the run from now on; None: as before.
        assignee: the person who works on it now; None: nobody in particular.
        actor: the person who acted.
        waiting_on: what the run waits for outside, such as ``user`` or ``vendor``; None: nothing.
        ended: how the run ended with this activity; None: it goes on (and is reopened if it had).
        raised: exceptions to open.
        settled: kinds of exceptions that this activity closes.
        memo: JSON handed to the rule with the next activity.
    """

    owner: str | None = None
    assignee: str | None = None
    actor: str | None = None
    waiting_on: str | None = None
    ended: Literal["succeeded", "failed", "cancelled"] | None = None
    raised: tuple[Raised, ...] = ()
    settled: tuple[str, ...] = ()
    memo: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """One version of one workflow.

    Args:
        trigger_type: name by which sources call the trigger; unique with ``source``.
        trigger: reads and validates the payload.
        owner, exception_route: principals, such as ``team:revops`` and ``queue:revops-triage``.
        expected_outcome: in words: a type's name, or a sentence for observed workflows.
        outcome_node: the node whose value is the outcome; None for observed workflows.
        due_s: from the start of the run; None: no due time.
        nodes: by name, in the order in which they were written.
        observe: for observed workflows: ``(activity: Activity, memo) -> Observation``.
        silent_after_s: how long the source may send nothing before it is an exception; None: for
            ever.
        silence_of: of a definition that is about the silence of a workflow's source: which.
        quiet_s: an observed run that is past its due time counts as late only after so long
            without a report, so that history can be brought in after the event.
        spec_hash: of all that is data here; two definitions with one version and two hashes are a
            mistake that the engine refuses.
    """

    name: str
    version: int
    trigger_type: str
    trigger: TypeAdapter[Any]
    source: str
    owner: str
    exception_route: str
    expected_outcome: str
    outcome_node: str | None = None
    due_s: float | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    observe: Callable[[Activity, Any], Observation] | None = None
    quiet_s: float = 3600.0
    silent_after_s: float | None = None
    silence_of: str | None = None
    description: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    spec_hash: str = ""

    @property
    def observed(self) -> bool:
        return self.observe is not None
