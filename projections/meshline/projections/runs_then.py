"""A list of runs as of a past time, from the histories of the runs that may stand on its page.

The runs that had started by then are known from the view as it is now, in the order of the list;
each is folded from its own history, as when it is looked at alone. So a page takes as long as it
is long, however much the log holds. Where the filters let through few of very many, or the moment
is no event time, nobody can tell beforehand how many runs that would be: the log is folded then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from meshline.projections import runs_view
from meshline.projections.as_of import fold_history
from meshline.projections.history_view import HistoryRow
from meshline.projections.moment import Moment
from meshline.projections.pages import LIMIT_MAX, Page, next_after, row_after
from meshline.projections.runs_view import RunRow
from meshline.projections.summaries import OPEN_RUNS

__all__ = ["LOOKED_AT_MAX", "RunsWanted", "page_then"]

LOOKED_AT_MAX = 1_000
"""Runs that are folded for one page, before the log is."""

EVENTS_MAX = 20_000
_ORDER = ("started_at", "run_id")


class RunsWanted(NamedTuple):
    """What ``Views.runs`` is asked for."""

    states: Sequence[str] | None = None
    workflow: str | None = None
    owner: str | None = None
    source: str | None = None
    wait_kind: str | None = None
    id_prefix: str | None = None
    limit: int = 50
    after: str | None = None

    def holds(self, row: RunRow) -> bool:
        """Return whether the run, as it was, is meant by what changes of a run."""
        return (
            (not self.states or row.state in self.states)
            and (self.owner is None or self.owner in (row.owner, row.assignee))
            and self.wait_kind in (None, row.wait_kind)
        )


class _Fetching(Protocol):
    async def _fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]: ...


async def page_then(views: _Fetching, moment: Moment, wanted: RunsWanted) -> Page[RunRow] | None:
    """Return the page of the list as it was; None where only the whole log can tell it."""
    if moment.time is None or moment.by != "event" or moment.offsets:
        return None
    limit = max(1, min(wanted.limit, LIMIT_MAX))
    last = None if wanted.after is None else row_after(wanted.after, RunRow, _ORDER)
    found: list[RunRow] = []
    looked_at = events = 0
    ask = limit + 1
    while len(found) <= limit:
        if looked_at + ask > LOOKED_AT_MAX + limit or events > EVENTS_MAX:
            return None
        some = await _started_by(views, moment.time, wanted, last, ask)
        run_ids = [run_id for _, run_id in some]
        history = await _histories(views, run_ids)
        if len(history) > EVENTS_MAX:
            return None
        found += [r for r in await _as_they_were(history, run_ids, moment) if wanted.holds(r)]
        if len(some) < ask:
            break
        last, looked_at, events, ask = [*some[-1]], looked_at + ask, events + len(history), 4 * ask
    if len(found) <= limit:
        return Page(found, None)
    end = found[limit - 1]
    return Page(found[:limit], next_after([end.started_at, end.run_id]))


async def _started_by(
    views: _Fetching, time: datetime, wanted: RunsWanted, last: list[Any] | None, limit: int
) -> list[tuple[datetime, str]]:
    """Return the next runs that may be on the list, in its order."""
    texts, values = ["started_at <= $1"], [time]

    def where(text: str, *more: Any) -> None:
        for value in more:
            values.append(value)
            text = text.replace("?", f"${len(values)}", 1)
        texts.append(text)

    if wanted.states and set(wanted.states) <= set(OPEN_RUNS):
        # Whichever end came last in the log was not there yet: else it was no open run.
        where("(ended_at is null or ended_at > $1)")
    for name in ("workflow", "source"):
        if (value := getattr(wanted, name)) is not None:
            where(f"{name} = ?", value)
    if wanted.id_prefix:
        where("(run_id >= ? and run_id < ?)", wanted.id_prefix, wanted.id_prefix + "\U0010ffff")
    if last is not None:
        where("(started_at, run_id) < (?, ?)", *last)
    rows = await views._fetch(
        f"select started_at, run_id from {{ns}}.runs where {' and '.join(texts)} "
        f"order by started_at desc, run_id desc limit {limit}",
        *values,
    )
    return [(row["started_at"], row["run_id"]) for row in rows]


async def _histories(views: _Fetching, run_ids: list[str]) -> list[HistoryRow]:
    said = await views._fetch(
        "select * from {ns}.history where run_id = any($1::text[]) "
        f"order by partition, log_offset limit {EVENTS_MAX + 1}",
        run_ids,
    )
    return [HistoryRow(**row) for row in said]


async def _as_they_were(
    history: list[HistoryRow], run_ids: list[str], moment: Moment
) -> list[RunRow]:
    store = await fold_history(history, (runs_view.projection,), moment)
    known = {row.run_id: row for row in await store.rows(runs_view.runs)}
    return [known[run_id] for run_id in run_ids if run_id in known]
