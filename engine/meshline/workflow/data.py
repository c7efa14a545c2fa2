"""A definition as JSON: what is registered in the log, drawn, compared and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from meshline.events.ids import payload_hash_of
from meshline.workflow.accepts import type_text
from meshline.workflow.resolve import Value
from meshline.workflow.secret import pointers_of, secrets_in
from meshline.workflow.spec import (
    TRIGGER,
    ApprovalNode,
    AssignNode,
    MessageNode,
    Node,
    Parameter,
    RetryPolicy,
    Rule,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
)

__all__ = ["data_of", "hash_of", "schema_of"]

_WORDS_ONLY = frozenset({"title", "description", "examples"})


def data_of(spec: WorkflowSpec, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the graph with the five answers, JSON types only; nodes in the order written."""
    outcome = values[spec.outcome_node].adapter if spec.outcome_node else None
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "observed": spec.observed,
        "trigger": {"type": spec.trigger_type, "schema": schema_of(spec.trigger)},
        "source": spec.source,
        "owner": spec.owner,
        "exception_route": spec.exception_route,
        "expected_outcome": spec.expected_outcome,
        "outcome_node": spec.outcome_node,
        "outcome_schema": schema_of(outcome) if outcome else None,
        "due_s": spec.due_s,
        "quiet_s": spec.quiet_s if spec.observed else None,
        "observe": getattr(spec.observe, "__name__", None),
        "nodes": [_node(node, values) for node in spec.nodes.values()],
        **_silence(spec),
        **_secrets(spec, values),
    }


def _secrets(spec: WorkflowSpec, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return where the secrets are in the value of each name that has some."""
    adapters = {TRIGGER: spec.trigger} | {name: each.adapter for name, each in values.items()}
    places = {name: secrets_in(each) for name, each in adapters.items() if each is not None}
    found = {name: pointers_of(each) for name, each in places.items() if each}
    # As with silences: left out where it says nothing.
    return {"secrets": found} if found else {}


def _silence(spec: WorkflowSpec) -> dict[str, Any]:
    # Left out where it says nothing, so that definitions without it keep their hashes.
    said = {"silent_after_s": spec.silent_after_s, "silence_of": spec.silence_of}
    return {name: value for name, value in said.items() if value is not None}


def hash_of(data: Mapping[str, Any]) -> str:
    """Return the hash of what the data means: words for people may change without another hash."""
    return payload_hash_of(_without_words(data))


def _without_words(value: Any, *, names: bool = False) -> Any:
    """Leave out titles and descriptions.

    Args:
        names: the keys are names of fields (a field may well be called "title"), not keywords.
    """
    if isinstance(value, Mapping):
        return {
            key: _without_words(item, names=not names and key in ("properties", "$defs"))
            for key, item in value.items()
            if names or key not in _WORDS_ONLY
        }
    if isinstance(value, list | tuple):
        return [_without_words(item) for item in value]
    return value


def schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any] | None:
    """Return the JSON schema; None for types that have none, which only Python can check."""
    try:
        return adapter.json_schema()
    except PydanticInvalidForJsonSchema:
        return None


def _node(node: Node, values: Mapping[str, Value]) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": node.name,
        "kind": "",
        "needs": list(node.needs),
        "wants": list(node.wants),
        "condition": _rule(node.condition),
        "gives": type_text(values[node.name].annotation) if node.result else None,
        "description": node.description,
    }
    match node:
        case StepNode():
            data |= {"kind": "step", **_step(node)}
        case AssignNode():
            data |= {"kind": "assign", "rule": _rule(node.rule)}
        case TaskNode():
            data |= {
                "kind": "approval" if isinstance(node, ApprovalNode) else "task",
                "by": node.by,
                "due_s": node.due_s,
                "escalate": list(node.escalate),
                **({"denied": node.denied} if isinstance(node, ApprovalNode) else {}),
                "form_schema": schema_of(TypeAdapter(node.form)) if node.form else None,
                **_people(node),
            }
        case SleepNode():
            data |= {
                "kind": "sleep", "duration_s": node.duration_s, "until": _rule(node.until),
            }  # fmt: skip
        case MessageNode():
            schema = schema_of(TypeAdapter(node.payload)) if node.payload else None
            data |= {"kind": "message", "due_s": node.due_s, "payload_schema": schema}
    return data


def _step(node: StepNode) -> dict[str, Any]:
    undo = node.compensation
    return {
        "parameters": _parameters(node.parameters),
        "retry": _retry(node.retry),
        "start_to_close_s": node.start_to_close_s,
        "schedule_to_close_s": node.schedule_to_close_s,
        "heartbeat_s": node.heartbeat_s,
        "concurrency_max": node.concurrency_max,
        "outside": node.outside,
        "compensation": undo and {"name": undo.name, "parameters": _parameters(undo.parameters)},
        **_each(node),
    }


def _each(node: StepNode) -> dict[str, Any]:
    # As with silences: left out where it says nothing.
    if node.each is None:
        return {}
    return {"each": {"of": node.each.text, "items_max": node.each.items_max}}


def _people(node: TaskNode) -> dict[str, Any]:
    # As with each=: left out where it says nothing.
    own_times = any(each != node.due_s for each in node.escalate_s)
    said = {
        "of": node.of if node.of > 1 else None,
        "escalate_s": list(node.escalate_s) if own_times else None,
        "remind_s": list(node.remind_s) or None,
        "on_expiry": node.on_expiry if node.on_expiry != "exception" else None,
        "requester": _rule(node.requester),
        "four_eyes": False if isinstance(node, ApprovalNode) and not node.four_eyes else None,
        "priority": node.priority if node.priority != "normal" else None,
        "follow_up_s": node.follow_up_s,
    }
    return {name: value for name, value in said.items() if value is not None}


def _retry(retry: RetryPolicy) -> dict[str, Any]:
    return {
        "maximum_attempts": retry.maximum_attempts,
        "initial_interval_s": retry.initial_interval_s,
        "backoff": retry.backoff,
        "maximum_interval_s": retry.maximum_interval_s,
        "non_retryable": list(retry.non_retryable),
    }


def _parameters(parameters: tuple[Parameter, ...]) -> list[dict[str, Any]]:
    return [{"name": each.name, "optional": each.optional} for each in parameters]


def _rule(rule: Rule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {"text": rule.name, "parameters": _parameters(rule.parameters)}
