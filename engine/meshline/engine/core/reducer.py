"""Applying: facts to states. It refuses nothing: what the log says is so.

``evolve`` takes one fact to one run; ``fold`` takes one record to a partition, and is all that a
reader of the log needs to know what is so. What each fact does to a run is in ``appliers.py``.
"""

from __future__ import annotations

import hashlib
from typing import Any

from meshline.engine.core.appliers import APPLIERS, accepted
from meshline.engine.core.people import PEOPLE_FACTS, people_after
from meshline.engine.core.state import (
    EndedRun,
    PartitionState,
    RunState,
)
from meshline.engine.core.transitions import SAME, TRANSITIONS
from meshline.events import facts
from meshline.events.codec import numbers_of
from meshline.events.envelope import Event
from meshline.events.ids import causation_of
from meshline.events.requests import ActivityReported, Request

__all__ = ["apply", "ended_of", "evolve", "fold", "is_kept", "keep", "pass_over", "report_key"]


def fold(
    state: PartitionState, event: Event[Any], offset: int, *, runs_in_place: bool = True
) -> bool:
    """Take the record at ``offset`` into the state, in place; return whether it counts.

    Args:
        runs_in_place: change run states themselves, which is quicker; without it a changed run is
            another object, so that a snapshot may be made of those that were there before.
    """
    state.next_offset = offset + 1
    if not state.fence.admits(event, offset):
        state.void_facts += 1
        return False
    data = event.data
    if isinstance(data, Request):
        state.pending[causation_of(state.partition, offset)] = event
    elif event.epoch is not None:
        apply(state, event, runs_in_place=runs_in_place)
    return True


def pass_over(state: PartitionState, value: bytes, offset: int) -> bool:
    """Take note of a record that can't be read; return whether it is a fact that counts.

    It changes no run, and the views stop at it. What it would have said is decided again.
    """
    state.next_offset = offset + 1
    numbers = numbers_of(value)
    return numbers is not None and state.fence.admits_numbers(*numbers)


def apply(state: PartitionState, event: Event[Any], *, runs_in_place: bool = True) -> None:
    """Take a fact that counts into the state, in place."""
    data = event.data
    if type(data) is facts.WorkflowRegistered:
        state.registered[data.workflow, data.version] = data.spec_hash
        return
    request = None if event.causation_id is None else state.pending.pop(event.causation_id, None)
    if type(data) in PEOPLE_FACTS:
        state.people = people_after(state.people, event)
        return
    run_id = event.subject
    run = state.runs.get(run_id)
    if run is not None and not runs_in_place:
        run = run.copy()
    keep(state, evolve(run, event, request, state.ended.get(run_id)))


def keep(state: PartitionState, run: RunState | None) -> None:
    """Put a run into the state: whole while it is open, and only its ending afterwards."""
    if run is None:
        return
    if run.has_ended:
        state.ended[run.run_id] = ended_of(run)
        if not is_kept(run):
            state.runs.pop(run.run_id, None)
            return
    elif run.run_id in state.ended:
        del state.ended[run.run_id]
    state.runs[run.run_id] = run


def is_kept(run: RunState) -> bool:
    """Return whether the run stays in memory as a whole.

    Beside open runs those with an open exception do, and observed ones, which may be reopened.
    """
    return not run.has_ended or bool(run.exceptions) or run.seen is not None


def ended_of(run: RunState) -> EndedRun:
    return EndedRun(run.status, run.payload_hash, run.exceptions_opened)


def evolve(
    run: RunState | None,
    event: Event[Any],
    request: Event[Any] | None = None,
    ended: EndedRun | None = None,
) -> RunState | None:
    """Apply one fact to its run and return the run; None if there is none.

    Args:
        run: changed in place.
        request: the request that the fact answers, where it answers one.
        ended: what is kept of the run if it ended and left memory.
    """
    data = event.data
    kind = type(data)
    if run is None:
        if kind is facts.TriggerAccepted and ended is None:
            return accepted(event, data, request)
        if kind is not facts.ExceptionOpened or ended is None:
            return None
        run = RunState(event.subject)
        run.status, run.payload_hash, run.exceptions_opened = ended
    then = TRANSITIONS.get((run.status, kind))
    if then is None:
        return run
    if request is not None and run.seen is not None and type(request.data) is ActivityReported:
        run.reported_at = event.recorded_at
        # One that was refused was not taken in: it may be sent again.
        if kind is not facts.RequestRejected:
            run.seen |= {report_key(request.id)}
    apply_to = APPLIERS.get(kind)
    if apply_to is not None:
        apply_to(run, event, data)
    if then is not SAME:
        run.status = then  # type: ignore[assignment]  # the table's values are statuses
    return run


def report_key(event_id: str) -> int:
    """Return 60 bits that stand in for the id of a report, kept to know repeats by."""
    digest = hashlib.blake2b(event_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 4
