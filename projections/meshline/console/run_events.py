"""The events of a run's page: some of them, each with its actor and its cause, and its moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Query

from meshline.console.visit import Visit
from meshline.events.story import sentence
from meshline.projections.as_of import item_of
from meshline.projections.history_view import KINDS, HistoryRow, kind_of, types_meant
from meshline.projections.intake import Undecodable
from meshline.projections.queries import Views

__all__ = ["EventsAsked", "EventsShown", "Wanted", "events_shown", "moments_of", "said"]

EVENTS_MAX = 200
"""Events on one page of a run."""

ACTORS_MAX = 100
MOMENTS_MAX = 40
_MOMENTS = frozenset(
    KINDS[kind]
    for kind in (
        *("run.started", "run.paused", "run.resumed", "run.reopened", "run.compensation.started"),
        *("run.succeeded", "run.failed", "run.cancelled", "owner.assigned"),
        *("exception.opened", "exception.resolved", "exception.dismissed"),
        *("approval.requested", "approval.approved", "approval.denied"),
        *("task.created", "task.completed"),
    )
)
"""After these a run looks otherwise."""


class EventsAsked(NamedTuple):
    """Which events are meant; ``show`` is the offset of the one whose payload is."""

    kinds: list[str]
    failed: bool
    actor: str
    after: int
    show: int

    @property
    def query(self) -> dict[str, Any]:
        """What an address says of them, but for the page and the payload."""
        return {"type": self.kinds, "failed": "1" if self.failed else "", "actor": self.actor}


async def _asked(
    kind: Annotated[list[str] | None, Query(alias="type")] = None,
    failed: Annotated[str, Query(max_length=10)] = "",
    actor: Annotated[str, Query(max_length=300)] = "",
    after: Annotated[int, Query(ge=-1, lt=2**62)] = -1,
    show: Annotated[int, Query(ge=-1, lt=2**62)] = -1,
) -> EventsAsked:
    kinds = [each for each in kind or () if each in KINDS]
    return EventsAsked(kinds, bool(failed), actor.strip(), after, show)


Wanted = Annotated[EventsAsked, Depends(_asked)]


class EventsShown(NamedTuple):
    """A page of events, and what can be chosen among all of the run."""

    items: list[dict[str, Any]]
    next_after: int | None
    kinds: list[str]
    actors: list[str]


async def events_shown(
    visit: Visit,
    views: Views,
    run_id: str,
    history: Sequence[HistoryRow],
    asked: EventsAsked,
) -> EventsShown:
    """Return the page that is asked for; who wants to see a payload is kept.

    Args:
        history: of the run, or the beginning of it, to find causes in.
    """
    rows = await views.history(
        run_id, limit=EVENTS_MAX + 1, after_offset=asked.after, actor=asked.actor or None,
        types=types_meant(asked.kinds, failed=asked.failed),
    )  # fmt: skip
    following = rows[EVENTS_MAX - 1].log_offset if len(rows) > EVENTS_MAX else None
    rows = rows[:EVENTS_MAX]
    here = {row.log_offset for row in rows}
    causes = {row.event_id: row for row in history}
    causes |= {f"{row.partition}:{row.log_offset}": row for row in history}
    items = [
        {
            "row": row,
            "said": said(row, by=False),
            "data": None,
            "is_shown": row.log_offset == asked.show,
            "cause": _cause(causes, row, here),
        }
        for row in rows
    ]
    for item in items:
        if item["is_shown"]:
            item["data"] = (await visit.desk.shown(item["row"], f"run {run_id}"))["data"]
    kinds = sorted({kind_of(row.type) for row in history})
    actors = sorted({row.actor for row in history if row.actor is not None})
    return EventsShown(items, following, kinds, actors[:ACTORS_MAX])


def _cause(
    causes: Mapping[str, HistoryRow], row: HistoryRow, here: set[int]
) -> dict[str, Any] | None:
    """Return what the event follows from: another of the run, or a name of it alone."""
    if row.causation_id is None:
        return None
    cause = causes.get(row.causation_id)
    if cause is None:
        return {"text": row.causation_id, "offset": None, "is_here": False}
    return {
        "text": kind_of(cause.type).replace(".", " "),
        "offset": cause.log_offset,
        "is_here": cause.log_offset in here,
    }


def said(row: HistoryRow, *, by: bool = True) -> str:
    """Return the event in words, without what payloads say; see ``sentence``."""
    item = item_of(row)
    if isinstance(item, Undecodable):
        return row.type
    return sentence(item.event, values=False, by=by)


def moments_of(history: Sequence[HistoryRow]) -> list[dict[str, Any]]:
    """Return events after which the run looked otherwise, each by its number in the history.

    Of more than can be shown, the last: what is long ago is reached by its number.
    """
    found = [(number, row) for number, row in enumerate(history, 1) if row.type in _MOMENTS]
    return [
        {"number": number, "time": row.time, "said": said(row)}
        for number, row in found[-MOMENTS_MAX:]
    ]
