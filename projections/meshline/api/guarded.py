"""An application that is behind its guard with all that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

__all__ = ["Guarded"]


class Guarded(FastAPI):
    """The answer to a mistake too is behind it: Starlette's own stands around all middleware.

    Args:
        guard: is handed the application, and returns what stands before it.
    """

    def __init__(self, guard: Callable[[ASGIApp], ASGIApp], **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard

    def build_middleware_stack(self) -> ASGIApp:
        return self._guard(super().build_middleware_stack())
