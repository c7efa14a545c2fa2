"""What one version of a workflow says otherwise than another; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

__all__ = ["Difference", "differences"]

_ALWAYS = ("name", "version", "nodes")
VALUE_LENGTH_MAX = 400


class Difference(NamedTuple):
    """``before`` and ``after`` are JSON; None where there was, or is, nothing."""

    where: str
    what: str
    before: str | None
    after: str | None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return what is not the same in two definitions as data: first the workflow, then its nodes.

    Conditions and rules are told by their text: what a step does inside is code, and not here.
    """
    found = [
        Difference("the workflow", *each)
        for each in _differing(_without(old, _ALWAYS), _without(new, _ALWAYS))
    ]
    before, after = _nodes(old), _nodes(new)
    for name in dict.fromkeys([*after, *before]):
        if name not in before:
            found.append(Difference(name, "is new", None, _said(after[name].get("kind"))))
        elif name not in after:
            found.append(Difference(name, "is gone", _said(before[name].get("kind")), None))
        else:
            found += [Difference(name, *each) for each in _differing(before[name], after[name])]
    return found


def _nodes(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {node["name"]: node for node in spec.get("nodes", ())}


def _without(spec: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


def _differing(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, str | None, str | None]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            deeper = f"{path}.{name}" if path else name
            yield from _differing(old.get(name), new.get(name), deeper)
    elif old != new:
        yield path.replace("_", " "), _said(old), _said(new)


def _said(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"
