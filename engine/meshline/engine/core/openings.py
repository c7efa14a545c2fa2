"""Opening exceptions: every one has a route, an owner, a cause group and words for a person."""

from __future__ import annotations

from typing import Literal

from meshline.engine.core.causes import cause_of
from meshline.engine.core.decision import Decision
from meshline.engine.core.state import RunState
from meshline.events.facts import ExceptionOpened
from meshline.events.ids import exception_id_of
from meshline.events.requests import StepError
from meshline.events.text import cleaned

__all__ = ["open_exception"]

MESSAGE_LENGTH_MAX = 2000


def open_exception(
    run: RunState,
    kind: str,
    about: str,
    message: str,
    *,
    blocking: bool,
    severity: Literal["low", "medium", "high", "critical"] = "medium",
    error: StepError | None = None,
    route: str | None = None,
    owner: str | None = None,
) -> Decision:
    """Return the decision to open an exception of this run, owned by its route or by ``owner``."""
    route = route or run.route
    number = run.exceptions_opened + 1
    return Decision(
        ExceptionOpened(
            exception_id=exception_id_of(run.run_id, kind, about, number),
            workflow=run.workflow,
            version=run.version,
            kind=kind,
            about=about,
            route=route,
            owner=owner or route,
            severity=severity,
            cause=cause_of(run.workflow, about, kind, error, message),
            message=cleaned(message, MESSAGE_LENGTH_MAX),
            blocking=blocking,
            error=error,
        )
    )
