"""Setting right what a run knows, before a step that failed on it is tried again.

The value that came in stays in the history: what has ended was decided by that one. Only data is
corrected. Who owns something and who approved what are facts about people, which are changed by
asking them.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import orjson
from pydantic import TypeAdapter

from meshline.engine.core.items import items_in
from meshline.engine.core.replies import problem_of
from meshline.engine.core.rules import value_of
from meshline.engine.core.state import RunState, stored
from meshline.events.corrections import Corrected, Correction, changed, corrected, differences
from meshline.workflow.spec import TRIGGER, MessageNode, StepNode, WorkflowSpec, parameters_of

__all__ = ["CORRECTED_BYTES_MAX", "CorrectionRefused", "correct", "correct_run"]

CORRECTED_BYTES_MAX = 256 * 1024
"""A value after it was corrected, as JSON."""


class CorrectionRefused(ValueError):
    """It can't be made; the words say why, and what to do."""


def correct(
    spec: WorkflowSpec, run: RunState, corrections: tuple[Correction, ...]
) -> tuple[Corrected, ...]:
    """Return what the corrections change, for each value; nothing is changed yet.

    Raises:
        CorrectionRefused: one of them can't be made; then none is.
    """
    by_value = sorted(corrections, key=lambda each: each.of)
    found = tuple(
        _corrected(spec, run, name, list(group))
        for name, group in groupby(by_value, key=lambda each: each.of)
    )
    if corrections and not any(each.changes for each in found):
        raise CorrectionRefused("the corrections change nothing: the values are so already")
    return found


def _corrected(
    spec: WorkflowSpec, run: RunState, name: str, corrections: list[Correction]
) -> Corrected:
    raw = _correctable(spec, run, name)
    before = orjson.loads(raw)
    try:
        after = corrected(before, corrections)
    except ValueError as error:
        raise CorrectionRefused(f"{name} can't be corrected: {error}") from None
    _check(spec, run, name, after)
    return Corrected(of=name, changes=differences(before, after))


def _correctable(spec: WorkflowSpec, run: RunState, name: str) -> bytes:
    if name != TRIGGER and not isinstance(spec.nodes.get(name), StepNode | MessageNode):
        raise CorrectionRefused(
            f"{name!r} is no value that can be corrected: expected 'trigger', or a step or a "
            f"message of {spec.name}"
        )
    raw = value_of(run, name)
    if raw is None:
        raise CorrectionRefused(f"{name!r} has no value yet")
    return raw


def _check(spec: WorkflowSpec, run: RunState, name: str, after: Any) -> None:
    """Refuse what the value may not be: by its own type, and by those who still read it."""
    raw = orjson.dumps(after)
    if len(raw) > CORRECTED_BYTES_MAX:
        raise CorrectionRefused(
            f"{name} would have {len(raw)} bytes: expected at most {CORRECTED_BYTES_MAX}"
        )
    own = spec.trigger if name == TRIGGER else spec.nodes[name].result
    readers: list[tuple[str, TypeAdapter[Any] | None]] = [(name, own)]
    for node in spec.nodes.values():
        state = run.nodes.get(node.name)
        if state is None or not state.has_ended:
            readers += [
                (f"{name} of {node.name}", each.adapter)
                for each in parameters_of(node)
                if each.name == name
            ]
    for label, adapter in readers:
        problem = None if adapter is None else problem_of(adapter, after)
        if problem is not None:
            raise CorrectionRefused(f"it would be no {label}: {problem}")
    _check_items(spec, run, name, raw)


def _check_items(spec: WorkflowSpec, run: RunState, name: str, raw: bytes) -> None:
    """Refuse another number of items where a step is under way for each of them."""
    for node in spec.nodes.values():
        state = run.nodes.get(node.name)
        if state is None or state.status != "fanned_out" or not isinstance(node, StepNode):
            continue
        if node.each is not None and node.each.node == name:
            try:
                count = len(items_in(raw, node.each))
            except ValueError as error:
                raise CorrectionRefused(str(error)) from None
            if count != state.items:
                raise CorrectionRefused(
                    f"{node.name} is under way for {state.items} items of {node.each.text}, and "
                    f"there would be {count}: expected as many"
                )


def correct_run(run: RunState, corrected: Corrected) -> None:
    """Change the value in the run; where there is none, nothing."""
    raw = value_of(run, corrected.of)
    if raw is None:
        return
    value = stored(changed(orjson.loads(raw), corrected.changes))
    if corrected.of == TRIGGER:
        run.payload = value
    else:
        run.nodes[corrected.of] = run.nodes[corrected.of]._replace(value=value)
