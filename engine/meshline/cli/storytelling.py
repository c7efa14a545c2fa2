"""A run's history, as its view keeps it, told line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from meshline.events.catalogue import CATALOGUE, type_name
from meshline.events.envelope import Actor, Event
from meshline.events.requests import TriggerReceived
from meshline.events.story import StoryLine, sentence

if TYPE_CHECKING:
    from meshline.projections.history_view import HistoryRow

__all__ = ["story_lines", "told"]

_TRIGGER = type_name(TriggerReceived)


def story_lines(rows: Iterable[HistoryRow], *, full: bool = False) -> Iterator[str]:
    """Yield the lines of a history.

    Args:
        full: every event with its position; otherwise requests that a fact answers are left out,
            because the fact says who asked. A trigger stays: only it says what came.
    """
    rows = list(rows)
    answered = {row.causation_id for row in rows if row.sequence is not None}
    for row in rows:
        position = f"{row.partition}:{row.log_offset}"
        if full:
            yield f"{position:<9} {told(row)}"
        elif row.sequence is not None or row.type == _TRIGGER or position not in answered:
            yield told(row)


def told(row: HistoryRow) -> str:
    """Return one event as a line."""
    data_type = CATALOGUE.get(row.type)
    if data_type is None:  # written by a newer program
        return str(StoryLine(row.time, row.type))
    event = Event(
        id=row.event_id,
        source="",
        subject=row.run_id,
        time=row.time,
        data=data_type.model_validate(row.data),
        recorded_at=row.recorded_at,
        actor=Actor(row.actor_kind or "", row.actor) if row.actor else None,
    )
    return str(StoryLine(row.time, sentence(event)))
