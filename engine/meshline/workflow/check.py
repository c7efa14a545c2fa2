"""What is allowed but may not be meant: findings about a definition that registers.

What can never be right is refused when it is defined. That a node can never be reached is no
finding: dependencies have no cycles and every condition asks for a value, so each node can be.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from meshline.workflow.durations import duration_text
from meshline.workflow.spec import (
    ApprovalNode,
    MessageNode,
    Node,
    RetryPolicy,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
    parameters_of,
)

__all__ = ["Finding", "answers", "check", "longest_s"]

_DEFAULT_TIMEOUT_S = StepNode(name="").start_to_close_s


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Args:
        code: stable, such as ``no_due``; for machines and for ignoring it.
        about: the node's name; empty: the workflow as a whole.
        message: what is so, and what can be done.
    """

    severity: Literal["info", "warning"]
    code: str
    about: str
    message: str


def answers(spec: WorkflowSpec) -> dict[str, str]:
    """Return the five answers in words, in their order."""
    outcome = spec.expected_outcome
    if spec.outcome_node is not None:
        outcome += f", given by {spec.outcome_node}"
    if spec.due_s is not None:
        outcome += f", within {duration_text(spec.due_s)}"
    return {
        "trigger": spec.trigger_type,
        "source": spec.source,
        "owner": spec.owner,
        "exceptions": spec.exception_route,
        "outcome": outcome,
    }


def check(spec: WorkflowSpec) -> list[Finding]:
    """Return the findings, warnings first, else in the order of the nodes."""
    found = [*_of_workflow(spec), *_of_outcome(spec)]
    for node in spec.nodes.values():
        found.extend(_of_times(spec, node))
        found.extend(_of_value(spec, node))
        if isinstance(node, StepNode):
            found.extend(_of_step(node))
    return sorted(found, key=lambda finding: finding.severity != "warning")


def _of_workflow(spec: WorkflowSpec) -> Iterator[Finding]:
    if spec.due_s is None:
        yield Finding(
            "warning", "no_due", "",
            "The workflow has no due time: a run may take for ever, and nobody is told. Add for "
            'example due="2d".',
        )  # fmt: skip


# -- the outcome -----------------------------------------------------------------------------------


def _of_outcome(spec: WorkflowSpec) -> Iterator[Finding]:
    if spec.outcome_node is None:
        return
    for name in (spec.outcome_node, *sorted(_before(spec, spec.outcome_node, needs_only=True))):
        condition = spec.nodes[name].condition
        if condition is None:
            continue
        through = "" if name == spec.outcome_node else f", because it needs {name!r}"
        yield Finding(
            "warning", "outcome_skippable", name,
            f"The outcome {spec.outcome_node!r} is skipped where `{condition.name}` does not hold"
            f"{through}: such a run ends in an exception. Write `{name}: X | None` where it "
            "is asked for, or remove the condition.",
        )  # fmt: skip
    before = _before(spec, spec.outcome_node)
    for node in spec.nodes.values():
        is_gate = isinstance(node, ApprovalNode) and node.denied == "end"
        if is_gate and node.name not in before and spec.outcome_node not in _before(
            spec, node.name
        ):  # fmt: skip
            yield Finding(
                "warning", "approval_passed_by", node.name,
                f"Nothing before the outcome waits for the approval {node.name!r}: the work may be "
                f"done before anybody decides. Let a step ask for it: `{node.name}: Approval`, or "
                f"`after={node.name!r}`.",
            )  # fmt: skip


def _before(spec: WorkflowSpec, name: str, *, needs_only: bool = False) -> set[str]:
    found: set[str] = set()
    stack = [name]
    while stack:
        node = spec.nodes[stack.pop()]
        near = node.needs if needs_only else (*node.needs, *node.wants)
        stack.extend(each for each in near if each not in found)
        found.update(near)
    return found


# -- times -----------------------------------------------------------------------------------------


def longest_s(node: Node) -> float | None:
    """Return how long the node may take before a person is asked; None: for ever, or a rule says.

    For a step: all tries, each up to its limit, and the longest waits between them; where it is
    done for each item of a list, for one of them.
    """
    match node:
        case StepNode():
            tries_s = node.retry.maximum_attempts * node.start_to_close_s + _waits_s(node.retry)
            return min(tries_s, node.schedule_to_close_s or tries_s)
        case TaskNode():
            times = node.escalate_s or (node.due_s or 0.0,) * len(node.escalate)
            return None if node.due_s is None else node.due_s + sum(times)
        case SleepNode():
            return node.duration_s
        case MessageNode():
            return node.due_s
        case _:
            return 0.0


def _waits_s(retry: RetryPolicy) -> float:
    bound_s, total_s = retry.initial_interval_s, 0.0
    for _ in range(retry.maximum_attempts - 1):
        total_s += min(bound_s, retry.maximum_interval_s)
        bound_s = min(bound_s * retry.backoff, retry.maximum_interval_s)
    return total_s


def _of_times(spec: WorkflowSpec, node: Node) -> Iterator[Finding]:
    if isinstance(node, TaskNode | MessageNode) and node.due_s is None:
        kind = str(next(n["kind"] for n in spec.data["nodes"] if n["name"] == node.name))
        yield Finding(
            "warning", f"{kind}_without_due", node.name,
            f"The {kind} {node.name!r} has no due time: the run waits without anybody being told. "
            'Add for example due="1d".',
        )  # fmt: skip
    seconds = longest_s(node)
    if spec.due_s is not None and seconds is not None and seconds > spec.due_s:
        yield Finding(
            "warning", "outlasts_due", node.name,
            f"{node.name!r} may take {duration_text(seconds)}, and a run is late after "
            f"{duration_text(spec.due_s)}: it is late before an exception says why. Shorten "
            f"{_SHORTEN.get(type(node), 'it')}, or make the workflow's due= longer.",
        )  # fmt: skip


_SHORTEN: dict[type[Node], str] = {
    StepNode: "retry= or timeout=, set total_timeout=",
    TaskNode: "due= (it holds for each of escalate=)",
    ApprovalNode: "due= (it holds for each of escalate=)",
}


# -- values and steps ------------------------------------------------------------------------------


def _of_value(spec: WorkflowSpec, node: Node) -> Iterator[Finding]:
    if isinstance(node, TaskNode) and node.on_expiry == "go on":
        needing = [other.name for other in spec.nodes.values() if node.name in other.needs]
        if needing:
            yield Finding(
                "warning", "skipped_on_expiry", node.name,
                f"If nobody {_does(node)} {node.name!r} in time, {', '.join(needing)} will be "
                f"skipped with it. Take `{node.name}: {_taken(node)} | None` there to go on "
                "without it.",
            )  # fmt: skip
    if _is_used(spec, node.name) or node.name == spec.outcome_node:
        return
    if isinstance(node, ApprovalNode) and node.denied == "continue":
        yield Finding(
            "warning", "decision_unused", node.name,
            f"The run goes on whatever is decided in {node.name!r}, and nothing reads the "
            f'decision. Take `{node.name}: Approval` in a step, or write denied="end".',
        )  # fmt: skip
    gives = next((n.get("gives") for n in spec.data["nodes"] if n["name"] == node.name), None)
    is_form = type(node) is TaskNode and node.form is not None
    is_payload = isinstance(node, MessageNode) and node.payload is not None
    carries = isinstance(node, StepNode) or is_form or is_payload
    if carries and gives not in (None, "None"):
        yield Finding(
            "info", "result_unused", node.name,
            f"Nothing asks for what {node.name!r} gives ({gives}), and it is not the outcome. If "
            "only its effect is meant, all is well.",
        )  # fmt: skip


def _does(node: TaskNode) -> str:
    return "decides" if isinstance(node, ApprovalNode) else "does"


def _taken(node: TaskNode) -> str:
    return "Approval" if isinstance(node, ApprovalNode) or not node.form else node.form.__name__


def _is_used(spec: WorkflowSpec, name: str) -> bool:
    """Whether a function takes the value; ``after=`` alone does not."""
    for node in spec.nodes.values():
        if isinstance(node, StepNode) and node.each is not None and node.each.node == name:
            return True
        if any(each.name == name and not each.special for each in parameters_of(node)):
            return True
    return False


def _of_step(node: StepNode) -> Iterator[Finding]:
    asks = {parameter.name for parameter in node.parameters if parameter.special}
    if node.call is not None and inspect.signature(node.call).return_annotation is (
        inspect.Signature.empty
    ):
        yield Finding(
            "info", "not_annotated", node.name,
            f"The step {node.name!r} does not say what it returns, so nothing checks who takes it. "
            "Annotate it, with `-> None` if it returns nothing.",
        )  # fmt: skip
    if node.each is not None and asks.isdisjoint(("item", "index")) and not node.outside:
        yield Finding(
            "warning", "item_unused", node.name,
            f"The step {node.name!r} is done for each of {node.each.text!r}, and takes neither "
            "`item` nor `index`: it does the same every time. Take `item`, or remove each=.",
        )  # fmt: skip
    if not node.is_async and not node.outside and node.start_to_close_s == _DEFAULT_TIMEOUT_S:
        yield Finding(
            "info", "thread_without_timeout", node.name,
            f"The step {node.name!r} is a plain function with the default time limit of "
            f"{duration_text(_DEFAULT_TIMEOUT_S)}. A thread cannot be stopped: when a new try "
            "begins, the old one may still be at work. Set timeout= to what it really needs.",
        )  # fmt: skip
    if node.compensation is not None and "idempotency_key" not in asks and not node.outside:
        yield Finding(
            "warning", "effect_without_key", node.name,
            f"The step {node.name!r} can be undone, so it does something outside, and it does not "
            "ask for its idempotency key: a second try may do it twice. Take "
            "`idempotency_key: str`, and hand it to the system outside.",
        )  # fmt: skip
    if node.heartbeat_s is not None and "ctx" not in asks and not node.outside:
        yield Finding(
            "warning", "heartbeat_without_context", node.name,
            f"The step {node.name!r} has heartbeat={duration_text(node.heartbeat_s)!r} and cannot "
            "give a sign of life: every try fails after that. Take `ctx: StepContext`, and call "
            "ctx.heartbeat().",
        )  # fmt: skip
