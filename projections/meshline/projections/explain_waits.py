"""Why a run waits: on what, since when, until when, whose it is, and what brought it there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from meshline.events import facts
from meshline.events.facts import Wait
from meshline.events.requests import TriggerReceived
from meshline.projections.explain_steps import places
from meshline.projections.reasons import Reason, Said, Told, clock
from meshline.projections.runs_view import RunRow

__all__ = ["waits"]


def waits(told: Told, run: RunRow | None, spec: dict[str, Any]) -> Iterator[Reason]:
    if run is None:
        yield from _not_answered(told)
    elif run.ended_at is not None:
        return
    elif run.state == "paused" and (paused := told.last(facts.RunPaused)):
        yield _paused(paused)
    elif run.state == "running":
        yield from _under_way(told, run)
    else:
        said = told.last(facts.RunWaiting, facts.RunHeld, facts.ActivityRecorded) or next(
            reversed(list(told)), None
        )
        for data in run.waits if said is not None else ():
            assert said is not None
            yield _waits(told, said, Wait.model_validate(data), spec)


def _not_answered(told: Told) -> Iterator[Reason]:
    """A trigger came, and no run has begun of it."""
    answered = {said.row.causation_id for said in told if said.row.sequence is not None}
    for said in told.all(TriggerReceived):
        if said.position not in answered:
            words = "no worker has answered yet: is one running that has this partition?"
            yield said.because("waits", "trigger", words, kind="worker", since=_text(said))
    accepted = told.last(facts.TriggerAccepted)
    if accepted is not None:
        data = accepted.data
        yield accepted.because(
            "waits", "run",
            f"no worker has begun it: it needs one with {data.workflow} version {data.version}",
            kind="worker", since=_text(accepted), owner=data.exception_route,
        )  # fmt: skip


def _text(said: Said[Any]) -> str:
    return said.row.time.isoformat()


def _paused(said: Said[facts.RunPaused]) -> Reason:
    data = said.data
    words = f"{said.row.actor or 'somebody'} paused the run"
    words += f" until {clock(data.until)}" if data.until else " until it is resumed"
    words += f": {data.reason}" if data.reason else ""
    return said.because(
        "waits", "run", words, kind="pause", since=_text(said),
        until=data.until.isoformat() if data.until else None, reason=data.reason or None,
    )  # fmt: skip


def _under_way(told: Told, run: RunRow) -> Iterator[Reason]:
    for name, place in places(told).items():
        data = place.said.data
        if isinstance(data, facts.StepStarted):
            yield place.said.because(
                "waits", name,
                f"a worker is at it, try {data.attempt}, since {clock(place.said.row.time)}",
                kind="step", since=_text(place.said), owner=run.owner, attempt=data.attempt,
            )  # fmt: skip


def _waits(told: Told, said: Said[Any], wait: Wait, spec: dict[str, Any]) -> Reason:
    words, origin = _WORDS.get(wait.kind, _other)(told, wait, spec)
    origin = origin or said
    end = f"until {clock(wait.until)}" if wait.until else "without an end of its own"
    return origin.because(
        "waits", wait.about or wait.kind,
        f"{words}; since {clock(wait.since)}, {end}; whose: {wait.owner}",
        kind=wait.kind, since=wait.since.isoformat(), owner=wait.owner,
        until=wait.until.isoformat() if isinstance(wait.until, datetime) else None,
    )  # fmt: skip


Found = tuple[str, Said[Any] | None]


def _about(told: Told, field: str, name: str, *kinds: type[Any]) -> Said[Any] | None:
    """Return the last event of these kinds that is about this node, or an item of it."""
    found = None
    for said in told:
        if said.data.__class__ in kinds:
            about = getattr(said.data, field)
            if about == name or about.startswith(f"{name}["):
                found = said
    return found


def _retry(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    failed = _about(told, "step", wait.about, facts.StepFailed)
    planned = _about(told, "step", wait.about, facts.StepRetryScheduled)
    words = f"{wait.about} is tried again later"
    if failed is not None:
        words = f"{wait.about} failed with {failed.data.error.type}: {failed.data.error.message}"
    if planned is not None:
        node: dict[str, Any] = next(
            (n for n in spec.get("nodes", ()) if n["name"] == wait.about), {}
        )
        most = node.get("retry", {}).get("maximum_attempts")
        words += f"; try {planned.data.attempt}{f' of {most}' if most else ''} comes"
    return words, planned


def _timer(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    said = _about(told, "timer", wait.about, facts.TimerSet)
    return f"{wait.about} sleeps, as its workflow says", said


def _task(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    asked = _about(told, "task", wait.about, facts.ApprovalRequested, facts.TaskCreated)
    moved = _about(told, "task", wait.about, facts.ApprovalEscalated, facts.TaskEscalated)
    if asked is None:
        return _other(told, wait, spec)
    ended = "decided" if isinstance(asked.data, facts.ApprovalRequested) else "done it"
    words = f"{wait.about} was asked of {asked.data.by}, and nobody has {ended}"
    if isinstance(asked.data, facts.ApprovalRequested) and asked.data.of > 1:
        votes = sum(said.data.approval == wait.about for said in told.all(facts.ApprovalVoted))
        words = f"{wait.about} was asked of {asked.data.by}: {votes} of {asked.data.of} approved"
    if moved is not None:
        words += f"; it went on to {moved.data.owner}, because the time was over"
    elif asked.data.escalate_to:
        words += f"; then it goes to {asked.data.escalate_to}"
    return words, moved or asked


def _message(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    said = _about(told, "message", wait.about, facts.MessageAwaited)
    return f"the message {wait.about} has not come", said


def _worker(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    said = _about(told, "step", wait.about, facts.StepStarted)
    attempt = f", try {said.data.attempt}" if said else ""
    return f"an outside worker is to do {wait.about}{attempt}, and has not reported", said


def _exception(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    said = _about(told, "exception_id", wait.about, facts.ExceptionOpened)
    if said is None:
        return _other(told, wait, spec)
    about = f" about {said.data.about}" if said.data.about else ""
    return f"the exception {said.data.kind}{about} is open, and somebody must deal with it", said


def _outside(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    said = told.last(facts.ActivityRecorded)
    return f"{wait.about} must act, outside", said


def _other(told: Told, wait: Wait, spec: dict[str, Any]) -> Found:
    return f"it waits for the {wait.kind} {wait.about}".rstrip(), None


_WORDS = {
    "retry": _retry,
    "timer": _timer,
    "approval": _task,
    "task": _task,
    "message": _message,
    "worker": _worker,
    "exception": _exception,
    "outside": _outside,
}
