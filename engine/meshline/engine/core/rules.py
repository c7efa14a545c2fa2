"""Calling a workflow's rules: conditions and owner rules, with the values that they ask for."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import ValidationError

from meshline.engine.core.state import NodeState, RunState
from meshline.events.text import cleaned
from meshline.workflow.spec import TRIGGER, Parameter, Rule

__all__ = ["ask", "message_of", "seen_by", "value_of", "words_of"]

_SHOWN_BYTES_MAX = 2048
WORDS_LENGTH_MAX = 1_000


def value_of(run: RunState, name: str) -> bytes | None:
    """Return the JSON of the trigger's payload or of a node's value; None if it has none."""
    if name == TRIGGER:
        return run.payload
    node: NodeState | None = run.nodes.get(name)
    return None if node is None else node.value


def arguments(run: RunState, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the values for the parameters, read into their declared types.

    Raises:
        ValueError: a value does not fit the type (pydantic's ValidationError is one).
    """
    values: dict[str, Any] = {}
    for parameter in parameters:
        raw = value_of(run, parameter.name)
        values[parameter.name] = None if raw is None else parameter.adapter.validate_json(raw)
    return values


def ask(rule: Rule, run: RunState) -> Any:
    """Return what the rule says about the run. Whatever the rule raises comes through."""
    return rule.call(**arguments(run, rule.parameters))


def words_of(error: BaseException) -> str:
    """Return the error's type and message in words that every log can keep."""
    return cleaned(f"{type(error).__name__}: {message_of(error)}", WORDS_LENGTH_MAX)


def message_of(error: BaseException) -> str:
    """Return what the error says, even if it can't; of a value that does not fit, without it."""
    try:
        if isinstance(error, ValidationError):
            return _unquoted(error)
        return str(error)
    except Exception as broken:  # an author's class may not even be able to say what it is
        return f"(its message can't be read: {type(broken).__name__})"


def _unquoted(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = (f"{'.'.join(map(str, each['loc'])) or 'value'}: {each['msg']}" for each in found)
    return f"{error.title}: {'; '.join(faults)}"


def seen_by(rule: Rule, run: RunState) -> dict[str, Any] | None:
    """Return the values that the rule decided by, to be kept with the decision; None if large."""
    raw = {p.name: value_of(run, p.name) for p in rule.parameters}
    if sum(len(value) for value in raw.values() if value) > _SHOWN_BYTES_MAX:
        return None
    return {name: orjson.loads(value) for name, value in raw.items() if value}
