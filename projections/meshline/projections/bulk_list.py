"""What a bulk operation is: what was chosen, the frozen list, its items and its effect."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from meshline.projections.exception_view import ExceptionRow

__all__ = ["BulkAction", "BulkItem", "BulkList", "Chosen", "Effect", "effect_of"]

BulkAction = Literal["acknowledge", "assign", "resolve", "retry", "skip"]
Result = Literal["done", "skipped", "refused", "unanswered"]

_NAMES = uuid.UUID("9b0c6f3e-6f0a-4a0e-9a6d-6d2f3c1b7a55")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which exceptions that are not resolved: all that fit everything that is given."""

    cause: str | None = None
    workflow: str | None = None
    step: str | None = None
    kind: str | None = None
    owner: str | None = None
    route: str | None = None
    severity: str | None = None
    opened_before: datetime | None = None

    @property
    def is_everything(self) -> bool:
        return all(value is None for value in self.as_dict().values())

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def has(self, row: ExceptionRow) -> bool:
        """Whether a row fits what a query of the view does not look at."""
        # All items of a step are that step.
        if self.step is not None and row.about.partition("[")[0] != self.step:
            return False
        return self.opened_before is None or row.opened_at < self.opened_before


class BulkList(NamedTuple):
    """A frozen list. ``more`` are the action's own words: the owner to assign, the value to use."""

    name: str
    action: BulkAction
    more: dict[str, Any]
    reason: str
    chosen: dict[str, Any]
    items: int
    made_by: str
    made_at: datetime
    confirmed_above: int
    confirmed_by: str | None
    confirmed_at: datetime | None

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a second person has to agree before it is applied."""
        return self.items > self.confirmed_above and self.confirmed_by is None


class BulkItem(NamedTuple):
    """One exception as it stood when the list was made, and what came of it; None: nothing yet."""

    list: str
    number: int
    exception_id: str
    run_id: str
    workflow: str
    about: str
    message: str
    state: str
    owner: str
    blocking: bool
    result: Result | None = None
    detail: str = ""

    @property
    def event_id(self) -> str:
        """Of its request: the same however often the list is applied."""
        return str(uuid.uuid5(_NAMES, f"{self.list}/{self.exception_id}"))


class Effect(NamedTuple):
    """What a list is expected to do, before it does it."""

    runs: int
    by_step: Mapping[str, int]
    likely_refused: int
    why_refused: str


def effect_of(action: str, items: Sequence[BulkItem]) -> Effect:
    """Predict what becomes of the items, as they stood when the list was made."""
    blocked = action in ("retry", "skip")
    out = [item for item in items if blocked != item.blocking and action in _OF_BLOCKING]
    why = "they hold nothing up" if blocked else "they hold their runs up: retry or skip them"
    steps = Counter(f"{i.workflow}: {i.about.partition('[')[0] or 'the run'}" for i in items)
    return Effect(
        runs=len({item.run_id for item in items}),
        by_step=dict(steps.most_common()),
        likely_refused=len(out),
        why_refused=why if out else "",
    )


_OF_BLOCKING = ("retry", "skip", "resolve")
