"""Who can own things: ``user:ada``, ``team:revops``, ``queue:triage``, ``role:sales-lead``."""

from __future__ import annotations

import re
from typing import TypeGuard

__all__ = ["KINDS", "is_principal"]

KINDS = ("user", "team", "role", "queue")

_PRINCIPAL = re.compile(rf"(?:{'|'.join(KINDS)}):[^\s:]\S{{0,199}}")


def is_principal(value: object) -> TypeGuard[str]:
    """Whether the value is a kind and a name without spaces, such as ``team:revops``."""
    return isinstance(value, str) and _PRINCIPAL.fullmatch(value) is not None
