"""The module of an app that was loaded: what stands in it besides workflows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

__all__ = ["module_of"]


def module_of(target: str) -> ModuleType:
    """Return the module that ``App(target).load()`` has loaded, for ``leads.py`` or a name."""
    path, colon, attribute = target.rpartition(":")
    name = path if colon and attribute.isidentifier() else target
    if name in sys.modules:
        return sys.modules[name]
    file = str(Path(name).resolve())
    return next(m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == file)
