"""What a bulk operation is: what was chosen, the frozen list, its items and its effect."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from meshline.events.requests import (
    CancelRequested,
    ExceptionActionRequested,
    OwnerChangeRequested,
    Request,
)
from meshline.projections.errors import NotReady
from meshline.projections.exception_view import ExceptionRow
from meshline.projections.runs_view import RunRow

__all__ = [
    "BulkAction",
    "BulkItem",
    "BulkList",
    "Chosen",
    "Differences",
    "Effect",
    "Result",
    "acts_on_runs",
    "left_out",
    "request_of",
]

ExceptionAction = Literal["acknowledge", "start", "assign", "resolve", "dismiss", "retry", "skip"]
RunAction = Literal["cancel", "hand_over"]
BulkAction = ExceptionAction | RunAction
Result = Literal["done", "skipped", "refused", "unanswered", "left_out"]

Differences = list[dict[str, Any]]
"""What corrections change, value by value, as ``ExceptionResolved.corrected`` has it in JSON."""

_NAMES = uuid.UUID("9b0c6f3e-6f0a-4a0e-9a6d-6d2f3c1b7a55")
_OF_RUNS = ("workflow", "owner", "state", "source", "waiting_on", "opened_before")
_OF_EXCEPTIONS = (
    *("cause", "workflow", "step", "kind", "owner", "route", "severity", "state"),
    "opened_before",
)


def acts_on_runs(action: str) -> bool:
    """Return whether the action is one on runs; else it is one on exceptions."""
    return action in get_args(RunAction)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which open runs, or exceptions that are not resolved: all that fit all that is given."""

    cause: str | None = None
    workflow: str | None = None
    step: str | None = None
    kind: str | None = None
    owner: str | None = None
    route: str | None = None
    severity: str | None = None
    opened_before: datetime | None = None
    state: str | None = None
    source: str | None = None
    waiting_on: str | None = None

    @property
    def is_everything(self) -> bool:
        return not self.as_dict()

    def as_dict(self) -> dict[str, str]:
        """Return what is given, as text."""
        given = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: str(value) for name, value in given if value is not None}

    def check_fits(self, action: str) -> None:
        """Raise ``NotReady`` where something is given that the action's rows do not have."""
        of_runs = acts_on_runs(action)
        allowed = _OF_RUNS if of_runs else _OF_EXCEPTIONS
        wrong = [name for name in self.as_dict() if name not in allowed]
        if wrong:
            raise NotReady(
                f"{action} is done to {'runs' if of_runs else 'exceptions'}, which are not chosen "
                f"by {', '.join(wrong)}: expected some of {', '.join(allowed)}."
            )

    def has(self, row: ExceptionRow | RunRow) -> bool:
        """Whether a row fits what a query of the view does not look at."""
        # All items of a step are that step.
        about = row.about.partition("[")[0] if isinstance(row, ExceptionRow) else None
        if self.step is not None and about != self.step:
            return False
        since = row.opened_at if isinstance(row, ExceptionRow) else row.started_at
        return self.opened_before is None or since < self.opened_before


class BulkList(NamedTuple):
    """A frozen list. ``more`` are the action's own words: the owner to assign, the value to use,
    the corrections to make.

    ``seen_at`` is where the view stood in the log, by partition, when the list was made: it holds
    at least all before these positions. ``left_out`` counts what fits what was chosen and can't be
    acted on so, by why. ``scope`` is the team's who made it.
    """

    name: str
    action: BulkAction
    more: dict[str, Any]
    reason: str
    chosen: dict[str, Any]
    items: int
    left_out: dict[str, int]
    seen_at: dict[str, int]
    scope: dict[str, Any] | None
    made_by: str
    made_at: datetime
    confirmed_above: int
    confirmed_by: str | None
    confirmed_at: datetime | None

    @property
    def corrections(self) -> list[dict[str, Any]]:
        """What is set right before each is tried again."""
        found: list[dict[str, Any]] = self.more.get("corrections", [])
        return found

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a second person has to agree before it is applied."""
        return self.items > self.confirmed_above and self.confirmed_by is None


class BulkItem(NamedTuple):
    """One exception or run as it stood when the list was made, and what came of it.

    ``exception_id`` is empty where it is a run; ``result`` is None while nothing was done, and
    ``left_out`` where it fits and is none of the list. ``corrected`` is what the list's corrections
    change in its run, as it was looked at.
    """

    list: str
    number: int
    exception_id: str
    run_id: str
    workflow: str
    about: str
    message: str
    state: str
    owner: str
    result: Result | None = None
    detail: str = ""
    corrected: Differences | None = None

    @property
    def event_id(self) -> str:
        """Of its request: the same however often the list is applied."""
        return str(uuid.uuid5(_NAMES, f"{self.list}/{self.exception_id or self.run_id}"))

    @classmethod
    def of(cls, name: str, number: int, row: ExceptionRow | RunRow) -> BulkItem:
        if isinstance(row, ExceptionRow):
            return cls(
                name, number, row.exception_id, row.run_id, row.workflow, row.about, row.message,
                row.state, row.owner,
            )  # fmt: skip
        about = f"{row.source}/{row.trigger_id}"
        return cls(name, number, "", row.run_id, row.workflow, about, "", row.state, row.owner)

    def change(self, row: ExceptionRow | RunRow) -> str | None:
        """Return what has changed meanwhile; None where it stands as it did."""
        if isinstance(row, RunRow):
            if row.ended_at is not None:
                return f"it has {row.state} meanwhile" if row.state != "cancelled" else (
                    "it was cancelled meanwhile"
                )  # fmt: skip
            is_same = (_calm(row.state), row.owner) == (_calm(self.state), self.owner)
        else:
            if row.state in ("resolved", "dismissed"):
                who = "" if row.resolved_by is None else f" by {row.resolved_by}"
                return f"it was {row.how or row.state} meanwhile{who}"
            is_same = (row.state, row.owner) == (self.state, self.owner)
        if is_same:
            return None
        return (
            f"it changed meanwhile: it was {self.state} with {self.owner}, and is {row.state} with "
            f"{row.owner}"
        )


def _calm(state: str) -> str:
    # Runs go to and fro between these by themselves, many times a second.
    return "running" if state == "waiting" else state


class Effect(NamedTuple):
    """What a list is expected to do, before it does it: to how many runs, and to which steps."""

    runs: int
    by_step: Mapping[str, int]


def left_out(action: str, more: Mapping[str, Any], row: ExceptionRow | RunRow) -> str | None:
    """Return why this can't be done to a row as it stands; None: it can."""
    if action in ("assign", "hand_over"):
        has_it = row.owner == more["owner"]
        return "its owner has it already" if has_it else None
    if isinstance(row, RunRow):
        return None
    match action:
        case "retry" | "skip" if not row.blocking:
            return "it holds nothing up: it can be resolved"
        case "retry" if row.kind == "no_worker":
            return "no worker has its version: there is nothing to try again"
        case "resolve" | "dismiss" if row.blocking:
            return "it holds its run up: it can be retried or skipped"
        case "acknowledge" if row.state != "open":
            return "somebody has seen it already"
        case "start" if row.state == "in_progress":
            return "somebody works on it already"
    return None


def request_of(made: BulkList, item: BulkItem) -> Request:
    """Return what is asked of an item; the history says with it which list it belongs to."""
    agreed = f", agreed to by {made.confirmed_by}" if made.confirmed_by else ""
    reason = f"{made.reason} ({made.name}{agreed})".strip()
    match made.action:
        case "cancel":
            return CancelRequested(reason=reason)
        case "hand_over":
            return OwnerChangeRequested(reason=reason, **made.more)
        case action:
            return ExceptionActionRequested(
                exception_id=item.exception_id, action=action, reason=reason, **made.more
            )
