"""How long it takes until a person has a case, by source system.

From the start of a run to the first moment at which somebody in person answers for it or works on
it: its owner is a `user:`, or it has an assignee. Teams and queues are not somebody.

    meshline projector --projections examples.projections.time_to_owner

Then, in any SQL tool: `select * from meshline.time_to_owner_by_source`.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import OwnerAssigned, RunStarted
from meshline.projections.projection import Projection, by_run


class TimeToOwner(NamedTuple):
    """One run; `person`, `owned_at` and `seconds` are empty while nobody in person has it."""

    run_id: str
    source: str
    workflow: str
    started_at: datetime
    person: str | None
    owned_at: datetime | None
    seconds: float | None


projection = Projection("time_to_owner", version=1)
time_to_owner = projection.table(
    "time_to_owner", TimeToOwner, key=["run_id"], keys=by_run, indexes=["source"]
)

# Ordinary SQL over the table, with a name of its own that stays when the view is built anew.
projection.query(
    "time_to_owner_by_source",
    """
    select source,
           count(*) as runs,
           count(owned_at) as owned,
           percentile_cont(0.5) within group (order by seconds) as median_s,
           percentile_cont(0.9) within group (order by seconds) as p90_s
    from {time_to_owner}
    group by source
    """,
)


def in_person(owner: str, assignee: str | None) -> str | None:
    """Return the person among the two, if there is one."""
    if assignee is not None:
        return assignee
    return owner if owner.startswith("user:") else None


@time_to_owner.on(RunStarted)
def started(row: TimeToOwner | None, event: Recorded[RunStarted]) -> TimeToOwner:
    data, at = event.event.data, event.event.time
    person = in_person(data.owner, None)
    owned = (person, at, 0.0) if person else (None, None, None)
    return TimeToOwner(event.event.subject, data.source, data.workflow, at, *owned)


@time_to_owner.on(OwnerAssigned)
def assigned(row: TimeToOwner | None, event: Recorded[OwnerAssigned]) -> TimeToOwner | None:
    if row is None or row.owned_at is not None:
        return row
    person = in_person(event.event.data.owner, event.event.data.assignee)
    if person is None:
        return row
    at = event.event.time
    seconds = (at - row.started_at).total_seconds()
    return row._replace(person=person, owned_at=at, seconds=seconds)
