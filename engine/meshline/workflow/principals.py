"""Who can own things: ``user:ada``, ``team:revops``, ``queue:triage``, ``role:sales-lead``."""

from __future__ import annotations

import re
from typing import TypeGuard

__all__ = ["is_principal"]

_PRINCIPAL = re.compile(r"[a-z][a-z0-9_-]*:[^\s:]\S{0,199}")


def is_principal(value: object) -> TypeGuard[str]:
    """Whether the value is ``kind:name``, the kind in small letters, without spaces."""
    return isinstance(value, str) and _PRINCIPAL.fullmatch(value) is not None
