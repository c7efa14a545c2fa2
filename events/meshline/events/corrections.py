"""Corrections of JSON values: what a person says a part is to be, and what that changes.

Places in a value are JSON pointers (RFC 6901): ``/company``, ``/lines/0/amount``; "" is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from meshline.events.pointers import pointer_to, steps_of

__all__ = [
    "Change",
    "Corrected",
    "Correction",
    "changed",
    "corrected",
    "correction_typed",
    "differences",
    "part_at",
]

CHANGES_MAX = 200
"""Places that are named one by one; what differs in more is told as a whole."""

_DEPTH_MAX = 100


class Correction(BaseModel):
    """A part of a value that is to be another.

    Args:
        of: whose value: ``trigger``, or the step or message that it came from.
        path: where in it, as a JSON pointer. The place must be there, or be a new field of an
            object that is.
        value: what is to stand there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    of: str
    path: str = ""
    value: Any = None


class Change(BaseModel):
    """One place at which a value became another; ``before`` is null where nothing was."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: str
    what: Literal["added", "changed", "removed"]
    before: Any = None
    after: Any = None


class Corrected(BaseModel):
    """What was corrected in one value; ``of`` as in the correction."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    of: str
    changes: tuple[Change, ...]


def correction_typed(text: str) -> Correction:
    """Return the correction that somebody typed as PLACE=JSON, such as ``trigger/cents=950``.

    Raises:
        ValueError: it is none; the words say what is expected.
    """
    place, equals, value = text.partition("=")
    of, slash, path = place.strip().partition("/")
    if not equals or not of:
        raise ValueError(
            f'{text[:200]!r} is no correction: expected PLACE=JSON, such as trigger/company="Acme"'
        )
    try:
        return Correction(of=of, path=slash + path, value=orjson.loads(value))
    except orjson.JSONDecodeError:
        raise ValueError(
            f"{value[:200]!r} is no JSON: expected a value such as 12, null or, with its quotes, "
            '"Acme"'
        ) from None


def corrected(value: Any, corrections: Iterable[Correction]) -> Any:
    """Return the value with these corrections made, one after the other.

    Raises:
        ValueError: there is no such place in it; the words say where.
    """
    value = deepcopy(value)
    for correction in corrections:
        value = _put(value, steps_of(correction.path), correction.value, correction.path)
    return value


def differences(before: Any, after: Any) -> tuple[Change, ...]:
    """Return what makes one JSON value the other; nothing if they are the same."""
    found: list[Change] = []
    for change in _differences(before, after, "", 0):
        found.append(change)
        if len(found) > CHANGES_MAX:
            return (Change(path="", what="changed", before=before, after=after),)
    return tuple(found)


def changed(value: Any, changes: Iterable[Change]) -> Any:
    """Return the value after these changes; one that does not fit it changes nothing."""
    value = deepcopy(value)
    for change in changes:
        try:
            steps = steps_of(change.path)
            if change.what == "removed":
                del _parent(value, steps, change.path)[steps[-1]]
            else:
                value = _put(value, steps, change.after, change.path)
        except (LookupError, TypeError, ValueError):
            continue
    return value


def part_at(value: Any, path: str) -> Any:
    """Return what stands there; None where nothing does."""
    try:
        steps = steps_of(path)
        if not steps:
            return value
        parent = _parent(value, steps, path)
        if isinstance(parent, dict):
            return parent.get(steps[-1])
        return parent[_index(parent, steps[-1], path)]
    except ValueError:
        return None


def _differences(before: Any, after: Any, path: str, depth: int) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict) and depth < _DEPTH_MAX:
        for name, value in before.items():
            if name not in after:
                yield Change(path=f"{path}{pointer_to([name])}", what="removed", before=value)
        for name, value in after.items():
            place = f"{path}{pointer_to([name])}"
            if name in before:
                yield from _differences(before[name], value, place, depth + 1)
            else:
                yield Change(path=place, what="added", after=value)
    elif (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and depth < _DEPTH_MAX
    ):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}/{index}", depth + 1)
    # True is 1 to Python, and 1.0 is 1; to who reads JSON they are not.
    elif type(before) is not type(after) or before != after:
        yield Change(path=path, what="changed", before=before, after=after)


def _put(value: Any, steps: list[str], new: Any, path: str) -> Any:
    if not steps:
        return new
    parent = _parent(value, steps, path)
    if isinstance(parent, dict):
        parent[steps[-1]] = new
    else:
        parent[_index(parent, steps[-1], path)] = new
    return value


def _parent(value: Any, steps: list[str], path: str) -> Any:
    for step in steps[:-1]:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list):
            value = value[_index(value, step, path)]
        else:
            raise ValueError(f"{path} is no place in it: there is nothing at {step!r}")
    if not isinstance(value, dict | list):
        raise ValueError(f"{path} is no place in it: what should hold {steps[-1]!r} has no parts")
    return value


def _index(parent: list[Any], step: str, path: str) -> int:
    if step.isdecimal() and str(int(step)) == step and int(step) < len(parent):
        return int(step)
    raise ValueError(f"{path} is no place in it: expected an index below {len(parent)}, not {step}")
