"""What a JSON schema finds wrong with a value, as far as that is certain.

The type itself is asked by who has it; here, what it was registered as is. Types take more than
their schema says (``"12"`` for 12, times as numbers), so what may be taken is not found fault with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["fault_of"]

_DEPTH_MAX = 40
_NUMBER = re.compile(r"\s*[+-]?((\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)\s*", re.I)
_TRUTHS = frozenset({"0", "1", "f", "t", "n", "y", "no", "yes", "off", "on", "false", "true"})

_Shape = Mapping[str, Any]


def fault_of(schema: _Shape, value: Any) -> str | None:
    """Return the first thing that is wrong with the value, in words; None: nothing is for sure."""
    return next(_faults(schema, schema.get("$defs", {}), value, "", 0), None)


def _faults(shape: _Shape, defs: _Shape, value: Any, place: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        return
    if "$ref" in shape:
        named = defs.get(str(shape["$ref"]).rpartition("/")[2], {})
        yield from _faults(named, defs, value, place, depth + 1)
    for each in shape.get("allOf", ()):
        yield from _faults(each, defs, value, place, depth + 1)
    for several in ("anyOf", "oneOf"):
        if several in shape:
            yield from _faults_of_each(shape[several], defs, value, place, depth + 1)
    allowed = [shape["const"]] if "const" in shape else shape.get("enum")
    if allowed is not None and not _is_one_of(value, allowed):
        yield _fault(place, f"expected one of {', '.join(map(repr, allowed[:10]))}")
    kind = str(shape.get("type"))
    if kind in _IS and not _IS[kind](value, shape):
        yield _fault(place, f"expected {_WORDS[kind]}")
        return
    yield from _faults_of_bounds(shape, value, place)
    if isinstance(value, dict):
        yield from _faults_of_fields(shape, defs, value, place, depth)
    elif isinstance(value, list) and isinstance(shape.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from _faults(shape["items"], defs, item, _at(place, index), depth + 1)


def _faults_of_each(
    shapes: list[_Shape], defs: _Shape, value: Any, place: str, depth: int
) -> Iterator[str]:
    """Yield the faults where none of the shapes takes the value."""
    found = [next(_faults(each, defs, value, place, depth), None) for each in shapes]
    if None not in found:
        # What may be left out is something or null: of interest is the something.
        several = [fault for each, fault in zip(shapes, found, strict=True)
                   if each.get("type") != "null"]  # fmt: skip
        fault = several[0] if len(several) == 1 else None
        yield fault or _fault(place, "expected one of the kinds that it may be")


def _faults_of_bounds(shape: _Shape, value: Any, place: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        for name, (words, holds) in _BOUNDS.items():
            if name in shape and not holds(value, shape[name]):
                yield _fault(place, f"expected {words} {shape[name]}")
    for kind, least, most, unit in _LENGTHS:
        if isinstance(value, kind):
            if len(value) < shape.get(least, 0):
                yield _fault(place, f"expected at least {shape[least]} {unit}")
            if len(value) > shape.get(most, len(value)):
                yield _fault(place, f"expected at most {shape[most]} {unit}")


def _faults_of_fields(
    shape: _Shape, defs: _Shape, value: dict[str, Any], place: str, depth: int
) -> Iterator[str]:
    properties, more = shape.get("properties", {}), shape.get("additionalProperties", True)
    for name in shape.get("required", ()):
        if name not in value:
            yield f"{_at(place, name)}: it is missing"
    for name, each in value.items():
        if name in properties:
            yield from _faults(properties[name], defs, each, _at(place, name), depth + 1)
        elif more is False:
            yield f"{_at(place, name)}: there is no such field"
        elif isinstance(more, Mapping):
            yield from _faults(more, defs, each, _at(place, name), depth + 1)


def _is_one_of(value: Any, allowed: list[Any]) -> bool:
    if value in allowed or str(value) in map(str, allowed):
        return True
    is_number = isinstance(value, str) and _NUMBER.fullmatch(value)
    return bool(is_number) and any(isinstance(each, int | float) for each in allowed)


def _is_text(value: Any, shape: _Shape) -> bool:
    # Times, durations and the like are taken as numbers, too.
    return isinstance(value, str) or ("format" in shape and isinstance(value, int | float))


def _is_integer(value: Any, _: _Shape) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any, _: _Shape) -> bool:
    return isinstance(value, str | int | float) and (
        not isinstance(value, str) or _NUMBER.fullmatch(value) is not None
    )


def _is_truth(value: Any, _: _Shape) -> bool:
    return isinstance(value, bool) or value in (0, 1) or str(value).lower() in _TRUTHS


_IS: dict[str, Callable[[Any, _Shape], bool]] = {
    "string": _is_text,
    "integer": _is_integer,
    "number": _is_number,
    "boolean": _is_truth,
    "array": lambda value, _: isinstance(value, list),
    "object": lambda value, _: isinstance(value, dict),
    "null": lambda value, _: value is None,
}
_WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("at least", lambda value, bound: value >= bound),
    "exclusiveMinimum": ("more than", lambda value, bound: value > bound),
    "maximum": ("at most", lambda value, bound: value <= bound),
    "exclusiveMaximum": ("less than", lambda value, bound: value < bound),
}
_LENGTHS: tuple[tuple[type[Any], str, str, str], ...] = (
    (str, "minLength", "maxLength", "characters"),
    (list, "minItems", "maxItems", "items"),
)


def _at(place: str, step: str | int) -> str:
    return f"{place}.{step}" if place else str(step)


def _fault(place: str, expected: str) -> str:
    # The value is left out: who reads this may not be one who reads payloads.
    return f"{place or 'value'}: {expected}"
