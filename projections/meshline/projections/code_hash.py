"""Whether a projection's code is still what its view was built with."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys

from meshline.projections.projection import Projection

__all__ = ["code_hash_of"]


def code_hash_of(projection: Projection) -> str:
    """Return 16 hex digits that change with the projection's code or row models.

    Taken from the modules that hold its functions and rows, without comments and docstrings: the
    constants and small functions beside a handler are part of what it does.
    """
    modules = {function.__module__ for function in projection.functions}
    modules |= {table.row.__module__ for table in projection.tables}
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(modules):
        digest.update(_code_of(name).encode())
    for query, sql in sorted(projection.queries.items()):
        digest.update(f"{query}={sql}".encode())
    return digest.hexdigest()


def _code_of(module: str) -> str:
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return module
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
