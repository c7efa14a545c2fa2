"""A view that uses all that views can do, in as many versions as are wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import Fact, OwnerAssigned, RunStarted, RunSucceeded
from meshline.events.requests import TriggerReceived
from meshline.projections.projection import Projection, RowAccess, by_run

__all__ = ["TALLY", "tally"]

TALLY = "tally"


class Tally(NamedTuple):
    """How many facts of a run there are; gone when it has succeeded."""

    run_id: str
    facts: int


class Line(NamedTuple):
    """One for each fact."""

    partition: int
    log_offset: int
    kind: str


class Holding(NamedTuple):
    """How often somebody was given something."""

    owner: str
    times: int
    last: str


def tally(version: int) -> Projection:
    """Return the projection; all versions of it make the same rows."""
    projection = Projection(TALLY, version=version)
    runs = projection.table("tally", Tally, key=["run_id"], keys=by_run)
    lines = projection.table("lines", Line, key=["partition", "log_offset"], append_only=True)
    holdings = projection.table("holdings", Holding, key=["owner"])

    @runs.on(Fact)
    def count(row: Tally | None, event: Recorded[Any]) -> Tally | None:
        if isinstance(event.event.data, RunSucceeded):
            return None
        return Tally(event.event.subject, 1 + (row.facts if row else 0))

    @projection.on(Fact)
    def write_down(rows: RowAccess, event: Recorded[Any]) -> None:
        partition, offset = event.position
        rows.append(lines, Line(partition, offset, type(event.event.data).__name__))

    @projection.on(RunStarted, OwnerAssigned)
    def give(rows: RowAccess, event: Recorded[Any]) -> None:
        owner: str = event.event.data.owner
        before = rows.get(holdings, owner)
        times = before.times if before else 0
        # In one partition the last is the last; which of two partitions' it is, nobody knows.
        last = str(event.position) if event.position.partition == 0 else ""
        if before and not last:
            last = before.last
        rows.put(holdings, Holding(owner, times + 1, last))

    @projection.on(TriggerReceived)
    def refuse(rows: RowAccess, event: Recorded[TriggerReceived]) -> None:
        if event.event.data.trigger_id.endswith("5"):
            raise ValueError("a trigger that this view can't apply")

    return projection
