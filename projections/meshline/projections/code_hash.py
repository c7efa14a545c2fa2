"""Whether a projection's code is still what its view was built with."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from weakref import WeakKeyDictionary

from meshline.projections.projection import Projection

__all__ = ["code_hash_of", "modules_of"]

_INSTALLED = [
    Path(sysconfig.get_path(place)).resolve()
    for place in ("stdlib", "platstdlib", "purelib", "platlib")
]


# The first answer stays: the files of a process that runs may say something else by now, and its
# old code must not pass for the new.
_known: WeakKeyDictionary[Projection, str] = WeakKeyDictionary()


def code_hash_of(projection: Projection) -> str:
    """Return 16 hex digits that change with the projection's code or row models.

    Taken from the modules that hold its functions and rows and from what these import of the same
    project, without comments and docstrings: the constants and small functions beside a handler
    are part of what it does. Installed packages and Meshline itself are not looked into.

    It is of the files as they are at the first call: ``loading.py`` makes that right after the
    import.
    """
    if projection not in _known:
        _known[projection] = _hash(projection)
    return _known[projection]


def modules_of(projection: Projection) -> set[str]:
    """Return the names of the modules that hold its code, and of what they import of theirs."""
    modules = {function.__module__ for function in projection.functions}
    modules |= {table.row.__module__ for table in projection.tables}
    _add_imports(modules)
    return modules


def _hash(projection: Projection) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(modules_of(projection)):
        digest.update(_code_of(name).encode())
    for query, sql in sorted(projection.queries.items()):
        digest.update(f"{query}={sql}".encode())
    return digest.hexdigest()


def _add_imports(modules: set[str]) -> None:
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        for imported in _imports_of(name):
            if imported not in modules and _is_of_the_project(imported):
                modules.add(imported)
                waiting.append(imported)


def _imports_of(module: str) -> set[str]:
    package = getattr(sys.modules.get(module), "__package__", None) or ""
    return set(_read(_source_of(module), package)[1])


def _is_of_the_project(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module.partition(".")[0] == "meshline":
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(place) for place in _INSTALLED)


def _code_of(module: str) -> str:
    return _read(_source_of(module), "")[0] or module


def _source_of(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return ""


@lru_cache(maxsize=256)
def _read(source: str, package: str) -> tuple[str, frozenset[str]]:
    """Return the code without what only people read, and the names that it may import."""
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            # What is imported from a package may be a module of it, or a name in it.
            found |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), frozenset(found)
