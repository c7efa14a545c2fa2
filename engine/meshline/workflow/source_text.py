"""What a rule says, in the author's own words: the text of a lambda, the name of a function."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from typing import Any

__all__ = ["source_of"]


def source_of(rule: Callable[..., Any]) -> str:
    """Return the text of a lambda's body, or the name of a function."""
    code = getattr(rule, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return str(getattr(rule, "__name__", rule))
    positions = {(line, column) for line, _, column, _ in code.co_positions()}
    linecache.checkcache(code.co_filename)
    bodies = [
        node.body
        for node in ast.walk(_parsed(code.co_filename))
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno
    ]
    # Two lambdas can stand on one line: the code knows the column where its body begins.
    own = [body for body in bodies if (body.lineno, body.col_offset) in positions]
    return ast.unparse(own[0]) if len(own) == 1 else "<lambda>"


def _parsed(file: str) -> ast.AST:
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])
