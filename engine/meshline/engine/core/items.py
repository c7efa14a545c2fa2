"""The items of a step that is done for each of a list: their names, and their values as JSON."""

from __future__ import annotations

import re
from functools import lru_cache

import orjson

from meshline.engine.core.rules import value_of
from meshline.engine.core.state import RunState
from meshline.workflow.spec import Each

__all__ = ["item_name", "item_names", "items_in", "items_of", "parts_of", "step_of"]

_ITEM = re.compile(r"([^\[]+)\[(0|[1-9][0-9]{0,5})\]")

_LISTS_KEPT = 64
"""Lists that stay split: each try of an item asks for the same one again."""


def item_name(step: str, index: int) -> str:
    """Return the name under which the step runs for one item."""
    return f"{step}[{index}]"


@lru_cache(_LISTS_KEPT)
def item_names(step: str, count: int) -> tuple[str, ...]:
    """Return the names under which the step runs for all its items, in their order."""
    return tuple(item_name(step, index) for index in range(count))


def parts_of(name: str) -> tuple[str, int] | None:
    """Return the step and the index in the name of an item; None for any other name."""
    # Most names are of no item, and this is asked often.
    found = _ITEM.fullmatch(name) if name.endswith("]") else None
    return None if found is None else (found[1], int(found[2]))


def step_of(name: str) -> str:
    """Return the name of the step in the definition, for its items too."""
    parts = parts_of(name)
    return name if parts is None else parts[0]


def items_of(run: RunState, each: Each) -> tuple[bytes, ...]:
    """Return the items of the list as the run has it; raises as ``items_in`` does."""
    return items_in(value_of(run, each.node) or b"null", each)


@lru_cache(_LISTS_KEPT)
def items_in(value: bytes, each: Each) -> tuple[bytes, ...]:
    """Return the items of the list in the value of the list's node.

    Raises:
        ValueError: there is no list, or the value does not fit its type.
    """
    if each.path:
        found = each.value.validate_json(value)
        for field in each.path:
            found = getattr(found, field)
        value = each.items.dump_json(found, by_alias=True)
    items = orjson.loads(value)
    if not isinstance(items, list):
        shown = value[:100].decode(errors="replace")
        raise ValueError(f"{each.text} is no list: {shown}")
    return tuple(orjson.dumps(item) for item in items)
