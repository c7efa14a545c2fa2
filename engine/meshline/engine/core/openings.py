"""Opening exceptions: every one has a route, an owner, a cause group and words for a person."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from meshline.engine.core.decision import Decision
from meshline.engine.core.items import step_of
from meshline.engine.core.state import RunState
from meshline.events.facts import ExceptionOpened
from meshline.events.ids import exception_id_of
from meshline.events.requests import StepError
from meshline.events.text import cleaned

__all__ = ["cause_of", "open_exception"]

_VARYING = re.compile(
    r"'[^']*'|\"[^\"]*\""  # what is quoted
    r"|\bhttps?://\S+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # an address
    r"|\b0x[0-9a-fA-F]+"
    r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b\d+(?:[.:,T-]\d+)*(?:Z|[+-]\d\d:\d\d)?\b"  # a number, a time, a machine
    r"|\b(?=[a-zA-Z_-]*\d)[\w-]{8,}\b"  # an id: letters and digits
    r"|\d+"
)
MESSAGE_LENGTH_MAX = 2000


def cause_of(workflow: str, about: str, kind: str, error: StepError | None, message: str) -> str:
    """Return a fingerprint that is equal for exceptions of the same cause.

    Numbers, times, ids, addresses and quoted values in the message do not count.
    """
    said = (message if error is None else error.message)[:MESSAGE_LENGTH_MAX]
    words = _VARYING.sub("#", said)[:200]
    parts = (workflow, about, kind, "" if error is None else error.type, words)
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=6).hexdigest()


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
) -> Decision:
    """Return the decision to open an exception of this run, owned by its route."""
    route = route or run.route
    number = run.exceptions_opened + 1
    return Decision(
        ExceptionOpened(
            exception_id=exception_id_of(run.run_id, kind, about, number),
            workflow=run.workflow,
            kind=kind,
            about=about,
            route=route,
            owner=route,
            severity=severity,
            # All items of a step are one group: they fail of the same causes.
            cause=cause_of(run.workflow, step_of(about), kind, error, message),
            message=cleaned(message, MESSAGE_LENGTH_MAX),
            blocking=blocking,
            error=error,
        )
    )
