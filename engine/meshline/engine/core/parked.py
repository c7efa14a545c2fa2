"""Answering what is asked about an event that a view has parked.

The keeper knows no views, and what it says here changes no run: it gives the wish a place in the
log, behind the event and in its partition, where every build of the view meets it in the same
order. So it does not matter whether the event's run is open, has ended, or never was.
"""

from __future__ import annotations

from meshline.engine.core.decision import Decision
from meshline.engine.core.replies import refuse, say
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.ids import position_of
from meshline.events.requests import ParkedActionRequested

__all__ = ["answer_parked"]


def answer_parked(request: Event[ParkedActionRequested], cause: str) -> Decision:
    """Return the answer: the fact that the view acts on, or a refusal."""
    data = request.data
    partition, offset = position_of(cause)
    if data.partition != partition:
        reason = f"the event is in partition {data.partition}, and was asked about in {partition}"
        return refuse(request, cause, "other_partition", reason)
    if not 0 <= data.offset < offset:
        reason = f"no event can be parked at {data.offset}: expected one before this request"
        return refuse(request, cause, "unknown_position", reason)
    if not data.view:
        return refuse(request, cause, "unknown_view", "no view is named")
    kind = facts.ParkedEventRetried if data.action == "retry" else facts.ParkedEventSkipped
    if kind is facts.ParkedEventSkipped and not data.reason.strip():
        reason = "a skip needs a reason: every rebuild repeats it"
        return refuse(request, cause, "reason_missing", reason)
    fact = kind(view=data.view, partition=partition, offset=data.offset, reason=data.reason)
    return say(request, cause, fact)
