"""Fields that are secret: where they stand in a JSON value, and the value without them.

Places are written as JSON pointers (RFC 6901) with ``*`` for every item of a list and every value
of an object: ``/account``, ``/lines/*/salary``; "" is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshline.events.pointers import steps_of

__all__ = [
    "EVERY",
    "MASK",
    "NOTHING",
    "WHOLE",
    "Places",
    "at",
    "below",
    "holds_mask",
    "kept",
    "masked",
    "masked_change",
    "places_of",
    "texts_of",
    "within",
]

MASK = "[secret]"
"""Stands for any secret value, whatever it is and however long."""

EVERY = "*"

Places = frozenset[tuple[str, ...]]
"""Where the secrets of a value are, each as the steps that lead to it."""

NOTHING: Places = frozenset()
WHOLE: Places = frozenset({()})


def places_of(pointers: Iterable[str]) -> Places:
    """Return the places that are written as pointers."""
    return frozenset(tuple(steps_of(pointer)) for pointer in pointers)


def below(places: Places, step: str) -> Places:
    """Return where the secrets are in the part of a value that a step leads to."""
    if () in places:
        return WHOLE
    return frozenset(place[1:] for place in places if place[0] in (step, EVERY))


def at(places: Places, pointer: str) -> Places:
    """Return where the secrets are in what a pointer leads to."""
    for step in steps_of(pointer):
        places = below(places, step)
    return places


def within(step: str, places: Places) -> Places:
    """Return the places as seen from a value that has the part under the step."""
    return frozenset((step, *place) for place in places)


def masked(value: Any, places: Places) -> Any:
    """Return the value with the mask where its secrets are.

    A value of another shape than the places say is hidden where they would be: a text that stands
    for an object may well be the secret in it.
    """
    if not places:
        return value
    if () in places:
        return MASK
    if isinstance(value, dict):
        return {name: masked(each, below(places, name)) for name, each in value.items()}
    if isinstance(value, list):
        if any(place[0] != EVERY for place in places):
            return MASK
        inner = below(places, EVERY)
        return [masked(each, inner) for each in value]
    return None if value is None else MASK


def masked_change(change: Mapping[str, Any], before: Places, after: Places) -> dict[str, Any]:
    """Return a change (see ``corrections.Change``) with what is secret masked.

    Where it is secret on one side, it is hidden on both: only that it changed is said.
    """
    path = change["path"]
    both = at(before, path) | at(after, path)
    return {
        **change,
        "before": None if change["what"] == "added" else masked(change["before"], both),
        "after": None if change["what"] == "removed" else masked(change["after"], both),
    }


def holds_mask(value: Any) -> bool:
    """Return whether the mask stands anywhere in the value."""
    if isinstance(value, dict):
        return any(map(holds_mask, value.values()))
    if isinstance(value, list):
        return any(map(holds_mask, value))
    return bool(value == MASK)


def kept(edited: Any, before: Any, places: Places) -> Any:
    """Return an edited value with the old secrets where its mask was left untouched.

    Raises:
        ValueError: the mask stands where nothing can be kept; the words say where.
    """
    return _kept(edited, before, places, "")


def _kept(edited: Any, before: Any, places: Places, path: str) -> Any:
    if edited == MASK:
        if masked(before, places) == MASK:
            return before
        raise ValueError(
            f"{path or 'the value'} is the mask {MASK}, and there is no secret there to be kept: "
            "write the value"
        )
    if isinstance(edited, dict):
        old = before if isinstance(before, dict) else {}
        return {
            name: _kept(each, old.get(name), below(places, name) if name in old else NOTHING,
                        f"{path}/{name}")
            for name, each in edited.items()
        }  # fmt: skip
    if isinstance(edited, list):
        # In a list of another length nobody knows which secret is whose.
        is_same = isinstance(before, list) and len(before) == len(edited)
        inner = below(places, EVERY) if is_same else NOTHING
        return [
            _kept(each, before[index] if is_same else None, inner, f"{path}/{index}")
            for index, each in enumerate(edited)
        ]
    return edited


def texts_of(value: Any, places: Places) -> set[str]:
    """Return the texts and numbers in what is secret of the value, as text."""
    if not places:
        return set()
    is_all = () in places
    if isinstance(value, dict):
        parts = ((each, below(places, name)) for name, each in value.items())
        return set().union(*(texts_of(each, inner) for each, inner in parts))
    if isinstance(value, list):
        inner = below(places, EVERY)
        return set().union(*(texts_of(each, inner) for each in value))
    if not is_all or value is None or isinstance(value, bool):
        return set()
    return {str(value)}
