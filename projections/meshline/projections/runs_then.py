"""Runs as of a past time, in SQL: whose each one was, and how it stood.

What decides that is said by the last of some facts of its history that count. What ``runs_view``
makes of them one by one is said here of them as a whole; the tests compare the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from meshline.events.catalogue import type_name
from meshline.events.facts import (
    ActivityRecorded,
    ExceptionResolved,
    Fact,
    OwnerAssigned,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunPaused,
    RunReopened,
    RunResumed,
    RunStarted,
    RunSucceeded,
    RunWaiting,
)
from meshline.projections.runs_view import MOVES

__all__ = ["FACTS", "RUNS_THEN", "RunThen"]


class RunThen(NamedTuple):
    """What is asked of many runs as of a past time; ``is_made``: something of it came later."""

    run_id: str
    workflow: str
    source: str
    state: str
    wait_kind: str | None
    owner: str
    assignee: str | None
    exception_route: str
    started_at: datetime
    is_made: bool


# Whatever the state was, it is another then.
_SETS: dict[type[Fact], str] = {
    RunStarted: "running",
    RunWaiting: "waiting",
    RunHeld: "held",
    RunPaused: "paused",
    RunResumed: "running",
    RunReopened: "running",
    RunSucceeded: "succeeded",
    RunFailed: "failed",
    RunCancelled: "cancelled",
}
_MOVES: tuple[type[Fact], ...] = (*MOVES, ExceptionResolved, ActivityRecorded)

FACTS: dict[str, list[str]] = {
    "owns": [type_name(RunStarted), type_name(OwnerAssigned)],
    "sets": [*map(type_name, _SETS)],
    "states": [*_SETS.values()],
    "moves": [*map(type_name, _MOVES)],
    # Nothing moves from there but by one of those that set the state.
    "stays": ["paused", "succeeded", "failed", "cancelled"],
}
"""The arguments of ``RUNS_THEN`` beside the time, by their names there."""


def _last(types: str, *columns: str) -> str:
    return f"""(
        select {", ".join(columns)} from {{ns}}.history
        where run_id = r.run_id and time <= {{time}} and type = any({types})
        order by partition desc, log_offset desc limit 1)"""


_STATE = "({states})[array_position({sets}, type)] as state"

# A run of which nothing came later is as it is now. {time} and the names in `FACTS` stand for
# arguments.
RUNS_THEN = f"""
    select {", ".join(RunThen._fields[:-1])}, false as is_made
    from {{ns}}.runs where changed_at <= {{time}}
    union all
    select r.run_id, r.workflow, r.source, stood.state,
           case when stood.state in ('waiting', 'held') then moved.data -> 'waits' -> 0 ->> 'kind'
                when stood.state <> 'paused' then null
                when said.data ->> 'until' is null then 'task' else 'timer' end,
           owned.data ->> 'owner', owned.data ->> 'assignee', r.exception_route, r.started_at, true
    from {{ns}}.runs as r
    cross join lateral {_last("{owns}", "data")} as owned
    cross join lateral {_last("{sets}", "data", _STATE)} as said
    cross join lateral {_last("{sets} || {moves}", "data", _STATE)} as moved
    cross join lateral (select case
        when said.state = any({{stays}}) then said.state
        when moved.state is not null then moved.state
        when jsonb_array_length(moved.data -> 'waits') > 0 then 'waiting'
        else 'running' end) as stood(state)
    where r.started_at <= {{time}} and r.changed_at > {{time}}
"""
