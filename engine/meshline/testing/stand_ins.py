"""What stands in for a step in a test: a result, an error, a crash or a function for each try."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Crash", "StandIn", "Step", "crash", "raises"]


class Crash(BaseException):
    """The worker dies in the middle of the try; another takes over."""


class StandIn:
    """What a step gives in a test; ``called`` holds the arguments of each try so far.

    Args:
        outcomes: one for each try; the last one stands for all further ones.
    """

    def __init__(self, outcomes: Sequence[Any]) -> None:
        self.called: list[dict[str, Any]] = []
        self._outcomes = list(outcomes)

    def __call__(self, arguments: dict[str, Any]) -> Any:
        number = min(len(self.called), len(self._outcomes) - 1)
        self.called.append(arguments)
        outcome = self._outcomes[number]
        if isinstance(outcome, type) and issubclass(outcome, BaseException):
            outcome = outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        if inspect.isfunction(outcome) or inspect.ismethod(outcome):
            asked = inspect.signature(outcome).parameters
            return outcome(**{name: arguments[name] for name in asked})
        return outcome


Step = str | Callable[..., Any]
"""A step by its name, or by its function."""

crash = Crash("the worker was lost")
"""As an outcome: the worker dies in the middle of the try."""


def raises(error: BaseException | type[BaseException] | str) -> BaseException:
    """Return an outcome that fails with this error; a text becomes a ``RuntimeError``."""
    if isinstance(error, str):
        return RuntimeError(error)
    return error() if isinstance(error, type) else error
