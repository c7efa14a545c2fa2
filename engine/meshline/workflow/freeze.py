"""From what was written to what the engine decides by, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Optional

from meshline.workflow.accepts import accepts, type_text, without_none
from meshline.workflow.data import data_of, hash_of
from meshline.workflow.drafts import Answers, Draft
from meshline.workflow.each import each_of
from meshline.workflow.errors import refuse
from meshline.workflow.resolve import (
    SPECIAL,
    Inputs,
    Value,
    after_of,
    inputs_of,
    merged,
    rule_of,
    values_of,
)
from meshline.workflow.spec import (
    TRIGGER,
    ApprovalNode,
    AssignNode,
    Compensation,
    MessageNode,
    Node,
    Rule,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
)

__all__ = ["freeze"]


def freeze(
    answers: Answers, drafts: Mapping[str, Draft], outcome_step: str | None = None
) -> WorkflowSpec:
    """Return the definition as data; refuse it where its parts do not fit together."""
    values = values_of(answers, drafts.values())
    nodes = {name: _node(draft, values, drafts) for name, draft in drafts.items()}
    _check_cycles(answers.name, nodes)
    for draft in drafts.values():
        if draft.compensation is not None:
            nodes[draft.name] = _compensated(draft, nodes, values)
    spec = WorkflowSpec(
        name=answers.name,
        version=answers.version,
        trigger_type=answers.trigger_type,
        trigger=_adapter(values["trigger"]),
        source=answers.source,
        owner=answers.owner,
        exception_route=answers.exceptions,
        expected_outcome=_outcome_text(answers.outcome),
        outcome_node=_outcome_node(answers, values, outcome_step),
        due_s=answers.due_s,
        silent_after_s=answers.silent_after_s,
        nodes=nodes,
        description=answers.description,
    )
    data = data_of(spec, values)
    return replace(spec, data=data, spec_hash=hash_of(data))


def _adapter(value: Value) -> Any:
    assert value.adapter is not None
    return value.adapter


def _node(draft: Draft, values: Mapping[str, Value], drafts: Mapping[str, Draft]) -> Node:
    own, options, listed = Inputs(), dict(draft.options), Inputs()
    if draft.kind == "step":
        assert draft.signature is not None
        each, special = each_of(draft, values, drafts)
        own = inputs_of(draft.signature, values, {**SPECIAL, **special})
        call = None if options.get("outside") else draft.signature.function
        options |= {
            "parameters": own.parameters, "call": call, "is_async": draft.signature.is_async,
            "each": each,
        }  # fmt: skip
        if each is not None and each.node != TRIGGER:
            listed = Inputs(needs=(each.node,))
    elif draft.signature is not None:
        field, returns = _RULES[draft.kind]
        options[field], own = rule_of(draft.signature, values, returns)
    if draft.model is not None:
        options["payload" if draft.kind == "message" else "form"] = draft.model
    condition, asked = _condition(draft, values)
    needs, wants = merged(own, listed, asked, after=after_of(draft, drafts))
    kind = _CLASSES[draft.kind]
    return kind(
        name=draft.name, needs=needs, wants=wants, condition=condition,
        result=values[draft.name].adapter, description=draft.description, **options,
    )  # fmt: skip


_RULES: dict[str, tuple[str, Any]] = {
    "assign": ("rule", str),
    "approval": ("requester", Optional[str]),  # noqa: UP045 - a value, not an annotation
    "sleep": ("until", datetime),
}
"""The field of the node that its rule stands in, and what the rule returns."""

_CLASSES: dict[str, Callable[..., Node]] = {
    "step": StepNode,
    "assign": AssignNode,
    "approval": ApprovalNode,
    "task": TaskNode,
    "sleep": SleepNode,
    "message": MessageNode,
}


def _condition(draft: Draft, values: Mapping[str, Value]) -> tuple[Rule | None, Inputs]:
    if draft.condition is None:
        return None, Inputs()
    return rule_of(draft.condition, values, bool)


def _check_cycles(workflow: str, nodes: Mapping[str, Node]) -> None:
    """Walk back from each node without recursion: a long chain is no mistake."""
    done: set[str] = set()
    path: list[str] = []
    stack = [(name, True) for name in reversed(tuple(nodes))]
    while stack:
        name, enters = stack.pop()
        if not enters:
            done.add(path.pop())
        elif name in path:
            cycle = [name, *reversed(path[path.index(name) :])]
            raise refuse(
                "cycle",
                f"Nodes of workflow {workflow!r} wait for each other: {' → '.join(cycle)}",
                expected="an order in which each node comes after those that it asks for",
                do="Remove one of these parameters, conditions or after=.",
            )
        elif name not in done:
            path.append(name)
            stack.append((name, False))
            stack.extend((each, True) for each in (*nodes[name].needs, *nodes[name].wants))


def _compensated(draft: Draft, nodes: Mapping[str, Node], values: Mapping[str, Value]) -> StepNode:
    node, signature = nodes[draft.name], draft.compensation
    assert isinstance(node, StepNode)
    assert signature is not None
    sure, before = _closure(node.name, nodes, "needs"), _closure(node.name, nodes, "both")
    known = {name: values[name] for name in ("trigger", node.name, *sorted(before))}
    result = values[node.name].annotation
    for asked in signature.parameters:
        if asked.name in nodes and asked.name not in known:
            raise refuse(
                "compensation",
                f"The {signature.label} takes {asked.name!r}, which does not come before "
                f"step {node.name!r}",
                expected="the trigger, the step's result, or nodes that the step waits for",
                do=f"Remove the parameter, or let step {node.name!r} wait for it with after=.",
            )
        if asked.name in before - sure and not asked.optional:
            raise refuse(
                "compensation",
                f"The {signature.label} takes {asked.name!r}, which may have been skipped",
                expected="a parameter that takes None",
                do=f"Write `{asked.name}: {type_text(asked.annotation)} | None`.",
            )
    inputs = inputs_of(signature, known, {**SPECIAL, "result": result})
    undo = Compensation(signature.name, inputs.parameters, signature.function, signature.is_async)
    return replace(node, compensation=undo)


def _closure(name: str, nodes: Mapping[str, Node], which: str) -> set[str]:
    found: set[str] = set()
    stack = [name]
    while stack:
        node = nodes[stack.pop()]
        before = node.needs if which == "needs" else (*node.needs, *node.wants)
        stack.extend(each for each in before if each not in found)
        found.update(before)
    return found


def _outcome_text(outcome: Any) -> str:
    return outcome if isinstance(outcome, str) else type_text(outcome)


def _outcome_node(answers: Answers, values: Mapping[str, Value], chosen: str | None) -> str:
    head = f"The outcome of workflow {answers.name!r} is {_outcome_text(answers.outcome)}"
    giving = {name: value for name, value in values.items() if name != "trigger" and value.adapter}
    if chosen is not None:
        return _chosen_outcome(answers, giving, chosen)
    if isinstance(answers.outcome, str):
        raise refuse(
            "outcome",
            f"{head}, in words, and no step is named that gives it",
            expected="outcome_step",
            do='Add outcome_step="…", the name of the step whose result it is.',
        )
    found = [
        name for name, value in giving.items()
        if without_none(value.annotation)[0] == answers.outcome
    ]  # fmt: skip
    if len(found) == 1:
        return found[0]
    if found:
        raise refuse(
            "outcome",
            f"{head}, and more than one node gives it: {', '.join(found)}",
            expected="one",
            do=f'Add outcome_step="{found[-1]}", or whichever of them it is.',
        )
    text = _outcome_text(answers.outcome)
    raise refuse(
        "outcome",
        f"{head}, and no step gives it",
        expected=f"a step that returns {text}",
        do=f"Annotate the step that ends the work with `-> {text}`, or name it with outcome_step=.",
    )


def _chosen_outcome(answers: Answers, giving: Mapping[str, Value], chosen: str) -> str:
    value = giving.get(chosen)
    if value is None:
        raise refuse(
            "outcome",
            f"Workflow {answers.name!r} has outcome_step={chosen!r}, which is no node with a value",
            expected=f"one of {', '.join(giving) or 'its steps, and there are none'}",
            do="Name the step whose result is the outcome.",
        )
    if not isinstance(answers.outcome, str) and not accepts(
        answers.outcome, without_none(value.annotation)[0]
    ):
        raise refuse(
            "outcome",
            f"Workflow {answers.name!r} has outcome_step={chosen!r}, and {value.label} gives "
            f"{type_text(value.annotation)}",
            expected=type_text(answers.outcome),
            do="Name a step that gives it, or change outcome=.",
        )
    return chosen
