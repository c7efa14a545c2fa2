"""Breaking the engine on purpose, to see that the simulation notices."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

__all__ = ["assert_found", "break_code"]


def break_code(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any] | property, old: str, new: str
) -> None:
    """Replace a piece of a function's source, wherever the function is already known.

    Args:
        old: stands in it exactly once; if the function was changed, change this too.
    """
    if isinstance(function, property):
        assert function.fget is not None
        function = function.fget
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}"
    namespace: dict[str, Any] = dict(function.__globals__)
    # The functions' modules have postponed annotations, so this one must have them too.
    source = "from __future__ import annotations\n" + source.replace(old, new)
    exec(compile(source, "<broken>", "exec"), namespace)
    broken = namespace[function.__name__]
    broken = getattr(broken, "fget", broken)
    monkeypatch.setattr(function, "__code__", broken.__code__)


def assert_found(
    name: str, seeds: range, simulate: Callable[[int], object], found_by: int = 0
) -> None:
    """Simulate one seed after the other, until one fails; fail if none does.

    Args:
        found_by: the seed that found it last, which is tried first.
    """
    tried = 0
    for seed in (found_by, *seeds):
        try:
            simulate(seed)
        except Exception:
            return
        tried += 1
    pytest.fail(f"{name}: not found by {tried} seeds")
