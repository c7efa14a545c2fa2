"""Why a step was skipped, was tried again, or has not begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from meshline.events import facts
from meshline.projections.reasons import Reason, Said, Told
from meshline.projections.runs_view import RunRow

__all__ = ["Place", "again", "not_begun", "places", "skipped"]


class Place(NamedTuple):
    """Where a node of the graph stands, in a word, and the event that put it there."""

    is_over: bool
    word: str
    said: Said[Any]


_PLACES: dict[type, tuple[Callable[[Any], str], bool, str]] = {
    facts.StepStarted: (lambda d: d.step, False, "is under way"),
    facts.StepFannedOut: (lambda d: d.step, False, "is under way for its items"),
    facts.StepFailed: (lambda d: d.step, False, "has failed"),
    facts.StepRetryScheduled: (lambda d: d.step, False, "waits to be tried again"),
    facts.StepSucceeded: (lambda d: d.step, True, "succeeded"),
    facts.StepJoined: (lambda d: d.step, True, "succeeded"),
    facts.StepSkipped: (lambda d: d.step, True, "was skipped"),
    facts.TimerSet: (lambda d: d.timer, False, "sleeps"),
    facts.TimerFired: (lambda d: d.timer, True, "woke up"),
    facts.MessageAwaited: (lambda d: d.message, False, "has not come"),
    facts.MessageMatched: (lambda d: d.message, True, "came"),
    facts.ApprovalRequested: (lambda d: d.approval, False, "is not decided"),
    facts.ApprovalApproved: (lambda d: d.approval, True, "was approved"),
    facts.ApprovalDenied: (lambda d: d.approval, True, "was denied"),
    facts.TaskCreated: (lambda d: d.task, False, "is not done"),
    facts.TaskCompleted: (lambda d: d.task, True, "was done"),
    facts.OwnerAssigned: (lambda d: d.rule or "", True, "has said whose it is"),
}


def places(told: Told) -> dict[str, Place]:
    """Return where each node stands that has begun, by name."""
    found: dict[str, Place] = {}
    for said in told:
        data = said.data
        if data.__class__ in _PLACES:
            name_of, is_over, word = _PLACES[data.__class__]
            found[name_of(data)] = Place(is_over, word, said)
        elif isinstance(data, facts.ExceptionOpened) and data.blocking:
            found[data.about] = Place(False, f"is held by exception {data.exception_id}", said)
    return found


# -- skipped -----------------------------------------------------------------------------------


def skipped(told: Told) -> Iterator[Reason]:
    before: dict[str, facts.StepSkipped] = {}
    for said in told.all(facts.StepSkipped):
        before[said.data.step] = said.data
        yield _skipped(said, before)


def _skipped(said: Said[facts.StepSkipped], before: dict[str, facts.StepSkipped]) -> Reason:
    data, saw, root = said.data, None, None
    match data.why:
        case "condition":
            saw = data.values
            words = f"its condition does not hold: {data.rule or data.reason}"
            if data.rule and saw is None:
                words += "; what it saw was too large to be kept"
        case "upstream" if data.upstream:
            root = _root(data.upstream, before)
            words = f"it needs {data.upstream}, which was skipped"
            words += f"; {root} was the first of them" if root != data.upstream else ""
        case "upstream":
            words = f"what it needs was skipped: {data.reason}"
        case "operator":
            value = "with a value in its place" if data.value is not None else "without a value"
            words = f"{said.row.actor or 'a person'} decided so, {value}"
            words += f": {data.reason}" if data.reason else ""
        case "denied":
            words = "it was denied"
        case _:
            words = "nobody decided in time, and its workflow goes on without"
    return said.because(
        "skipped", data.step, words, saw=saw, why=data.why, rule=data.rule,
        upstream=data.upstream, first_skipped=root, reason=data.reason or None,
    )  # fmt: skip


def _root(name: str, before: dict[str, facts.StepSkipped]) -> str:
    """Return the step whose skipping led to this one's. Each was skipped before the next."""
    seen: set[str] = set()
    while name in before and before[name].upstream and name not in seen:
        seen.add(name)
        name = before[name].upstream or name
    return name


# -- tried again -------------------------------------------------------------------------------


def again(told: Told) -> Iterator[Reason]:
    failures: dict[str, facts.StepFailed] = {}
    for said in told:
        data = said.data
        if isinstance(data, facts.StepFailed):
            failures[data.step] = data
        elif isinstance(data, facts.StepStarted) and data.why in _AGAIN:
            failed = failures.get(data.step)
            words = f"try {data.attempt}: {_AGAIN[data.why]}"
            if failed is not None and data.why != "taken_over":
                words += f"; the last try failed: {failed.error.type}: {failed.error.message}"
            yield said.because(
                "again", data.step, words, attempt=data.attempt, why=data.why,
                error=failed.error.type if failed else None,
            )  # fmt: skip


_AGAIN = {
    "retry": "its retry policy says so",
    "taken_over": "the worker that was at it is gone, and how far it had come is not known",
    "operator": "a person asked for it",
}


# -- not begun ---------------------------------------------------------------------------------


def not_begun(told: Told, run: RunRow | None, spec: dict[str, Any]) -> Iterator[Reason]:
    """Yield what the nodes need that have not begun; as of the last event of the history."""
    last = next(reversed(list(told)), None)
    if run is None or last is None:
        return
    stand = places(told)
    undoing = told.last(facts.CompensationStarted)
    for node in spec.get("nodes", ()):
        if node["name"] in stand:
            continue
        missing = {
            name: stand[name].word if name in stand else "has not begun"
            for name in (*node["needs"], *node["wants"])
            if name not in stand or not stand[name].is_over
        }
        if run.ended_at is not None:
            words = f"the run had ended before: it is {run.state}"
        elif undoing is not None:
            words = f"the run is being undone: {undoing.data.reason}"
        elif missing:
            words = "; ".join(f"it needs {name}, which {word}" for name, word in missing.items())
        else:
            words = f"what it needs is there; the run is {run.state}"
        yield last.because("not_begun", node["name"], words, needs=missing or None, state=run.state)
