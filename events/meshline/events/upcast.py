"""Older versions of events, brought to the current one when they are read.

An upcast is a pure function from the older version's data (a dict) to the next version's. The log
itself is never rewritten. There are none yet: every type is at version 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["UPCASTS", "upcast"]

Data = dict[str, Any]

UPCASTS: dict[str, tuple[str, Callable[[Data], Data]]] = {}
"""From a type name to the type name of the next version and the function that leads there."""


def upcast(type_name: str, data: Data) -> tuple[str, Data]:
    """Return the type name and data of the newest version; unchanged where there is none newer."""
    while type_name in UPCASTS:
        type_name, step = UPCASTS[type_name]
        data = step(data)
    return type_name, data
