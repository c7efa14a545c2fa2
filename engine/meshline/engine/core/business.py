"""What a step says on purpose: nothing broke, and a person decides before anything goes on."""

from __future__ import annotations

from meshline.engine.core.decision import Decision
from meshline.engine.core.openings import open_exception
from meshline.engine.core.state import RunState
from meshline.events.requests import BusinessCase, StepError

__all__ = ["open_business"]


def open_business(run: RunState, step: str, error: StepError, case: BusinessCase) -> Decision:
    """Return the decision to hold the step, on the route and for the owner that it names."""
    return open_exception(
        run, "business", step, error.message or case.code, blocking=True, error=error,
        severity=case.severity, route=case.route, owner=case.owner,
    )  # fmt: skip
