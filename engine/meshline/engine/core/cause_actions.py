"""Answering that what causes a group of exceptions is mended, or not after all.

The keeper gives it a place in the log, in every partition: behind what came before it, and before
what comes after. So what the views tell of a group needs no clock, and is the same in each rebuild.
"""

from __future__ import annotations

import re

from meshline.engine.core.decision import Decision
from meshline.engine.core.replies import refuse, say
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.requests import CauseActionRequested

__all__ = ["answer_cause"]

_CAUSE = re.compile(r"[0-9a-f]{12}")


def answer_cause(request: Event[CauseActionRequested], cause: str) -> Decision:
    """Return the fact that the views act on, or a refusal."""
    data = request.data
    if request.actor is None:
        return refuse(request, cause, "no_actor", "nobody is named who says so")
    if _CAUSE.fullmatch(data.cause) is None:
        reason = f"{data.cause!r} is no cause: expected 12 digits and letters, as groups have them"
        return refuse(request, cause, "unknown_cause", reason)
    if not data.reason.strip():
        return refuse(request, cause, "reason_missing", "a reason is needed, for all who look on")
    if data.action == "reopen":
        return say(request, cause, facts.CauseReopened(cause=data.cause, reason=data.reason))
    if data.in_version is None or data.in_version < 1:
        reason = f"expected the version of the workflow that mends it, and found {data.in_version}"
        return refuse(request, cause, "invalid", reason)
    fact = facts.CauseResolved(cause=data.cause, in_version=data.in_version, reason=data.reason)
    return say(request, cause, fact)
