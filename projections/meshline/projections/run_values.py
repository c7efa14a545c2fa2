"""What a run knows, read from its history: its trigger, and what its steps and messages gave.

It is what the engine has in its state, corrections included. Pure: the same rows give the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from meshline.events import facts
from meshline.events.catalogue import type_name
from meshline.events.corrections import Corrected, Correction, changed, corrected, differences
from meshline.events.requests import TriggerReceived
from meshline.projections.history_view import HistoryRow
from meshline.projections.pages import LIMIT_MAX
from meshline.projections.reasons import Said, Told

__all__ = ["TRIGGER", "VALUE_TYPES", "Values", "previewed", "values_in", "whole_history"]

TRIGGER = "trigger"

VALUE_TYPES = [
    type_name(each)
    for each in (
        TriggerReceived, facts.TriggerAccepted, facts.StepSucceeded, facts.StepSkipped,
        facts.MessageMatched, facts.StepFannedOut, facts.StepJoined, facts.ExceptionResolved,
    )
]  # fmt: skip
"""What of a history values are read from."""


class _Views(Protocol):
    async def history(
        self, run_id: str, *, limit: int = ..., after_offset: int = ...
    ) -> list[HistoryRow]: ...


async def whole_history(views: _Views, run_id: str) -> list[HistoryRow]:
    """Return all that was said about the run, however much that is, in the order of the log."""
    rows = some = await views.history(run_id, limit=LIMIT_MAX)
    while len(some) == LIMIT_MAX:
        some = await views.history(run_id, limit=LIMIT_MAX, after_offset=rows[-1].log_offset)
        rows = rows + some
    return rows


class Values:
    """What a run knows, event by event; the trigger's value first."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._counts: dict[str, int] = {}
        self.by_name: dict[str, Any] = {}

    def take(self, said: Said[Any]) -> None:
        """Go on to where the event has been said."""
        values = self.by_name
        match said.data:
            case facts.TriggerAccepted():
                asked = self._told.asked(said)
                if asked is not None and isinstance(asked.data, TriggerReceived):
                    values[TRIGGER] = asked.data.payload
            case facts.StepSucceeded(step=step, result=value):
                values[step] = value
            case facts.StepSkipped(step=step, why="operator", value=value):
                values[step] = value
            case facts.MessageMatched(message=message, payload=value):
                values[message] = value
            case facts.StepFannedOut(step=step, count=count):
                self._counts[step] = count
            case facts.StepJoined(step=step):
                names = [f"{step}[{index}]" for index in range(self._counts.get(step, 0))]
                values[step] = [values.pop(name, None) for name in names]
            case facts.ExceptionResolved(corrected=all_corrected):
                for each in all_corrected:
                    if each.of in values:
                        values[each.of] = changed(values[each.of], each.changes)
            case _:
                pass


def values_in(history: Iterable[HistoryRow]) -> dict[str, Any]:
    """Return the values by name, the trigger's first; those that a person could correct."""
    told = Told(history)
    values = Values(told)
    for said in told:
        values.take(said)
    return {name: value for name, value in values.by_name.items() if value is not None}


def previewed(values: dict[str, Any], corrections: Iterable[Correction]) -> tuple[Corrected, ...]:
    """Return what the corrections would change in these values.

    Raises:
        ValueError: there is no such value, or no such place in it.
    """
    by_value: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_value.setdefault(correction.of, []).append(correction)
    found = []
    for name, asked in by_value.items():
        if name not in values:
            known = ", ".join(values) or "none"
            raise ValueError(f"{name!r} has no value in this run: expected one of {known}")
        after = corrected(values[name], asked)
        found.append(Corrected(of=name, changes=differences(values[name], after)))
    return tuple(found)
