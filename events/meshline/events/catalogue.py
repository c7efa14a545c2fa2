"""The closed catalogue: which class an event's type and version in the log stand for."""

from __future__ import annotations

import inspect

from meshline.events import facts, people_requests, requests
from meshline.events.facts import Fact
from meshline.events.requests import Request

__all__ = ["CATALOGUE", "type_name"]


def type_name(data_type: type[Fact] | type[Request]) -> str:
    """Return the CloudEvents type of a class, such as ``meshline.step.succeeded.v1``."""
    return f"{data_type.TYPE}.v{data_type.VERSION}"


def _classes() -> list[type[Fact] | type[Request]]:
    found: list[type[Fact] | type[Request]] = []
    for module, base in ((requests, Request), (people_requests, Request), (facts, Fact)):
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, base) and member is not base:
                found.append(member)
    return found


CATALOGUE: dict[str, type[Fact] | type[Request]] = {type_name(c): c for c in _classes()}
"""All current versions by type name; older versions are reached through ``upcast.py``."""
