"""Who there is (``directories``, and where each one holds), and who is away (``absences``).

Every partition says each change for its own decisions. The highest number, and of two with the same
number the higher hash, is the directory; a partition that has another has not heard of it yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import AbsenceChanged, DirectoryChanged
from meshline.projections.columns import Json
from meshline.projections.projection import Key, Projection

__all__ = [
    "AbsenceRow",
    "DirectoryPartitionRow",
    "DirectoryRow",
    "absences",
    "directories",
    "partitions",
    "projection",
]


class DirectoryRow(NamedTuple):
    """One directory, as it was said first; who changed it, and why."""

    number: int
    directory_hash: str
    changed_at: datetime
    actor: str | None
    reason: str
    partition: int
    log_offset: int
    directory: Json


class DirectoryPartitionRow(NamedTuple):
    """Which directory a partition decides by."""

    partition: int
    number: int
    directory_hash: str
    changed_at: datetime
    log_offset: int


class AbsenceRow(NamedTuple):
    """What was asked last about one user's absence. ``substitute``: None: they are back."""

    absent: str
    substitute: str | None
    since: datetime
    until: datetime
    requested_at: datetime
    actor: str | None
    reason: str


def _by_content(event: Recorded[Any]) -> tuple[Key]:
    data = event.event.data
    return ((data.number, data.directory_hash),)


def _by_partition(event: Recorded[Any]) -> tuple[Key]:
    return ((event.position.partition,),)


def _by_absent(event: Recorded[Any]) -> tuple[Key]:
    return ((event.event.data.user,),)


def _entity(event: Recorded[Any]) -> str:
    data = event.event.data
    if isinstance(data, AbsenceChanged):
        return f"absence of {data.user}"
    return f"directory {data.number}"


projection = Projection("directories", version=2, entity=_entity)
directories = projection.table(
    "directories", DirectoryRow, key=["number", "directory_hash"], keys=_by_content
)
partitions = projection.table(
    "directory_partitions", DirectoryPartitionRow, key=["partition"], keys=_by_partition
)
absences = projection.table("absences", AbsenceRow, key=["absent"], keys=_by_absent)


@directories.on(DirectoryChanged)
def _changed(row: DirectoryRow | None, event: Recorded[DirectoryChanged]) -> DirectoryRow:
    said, data = event.event, event.event.data
    first = (said.time, *event.position)
    # Partitions are read in any order: the earliest is the same in all of them.
    if row is not None and (row.changed_at, row.partition, row.log_offset) <= first:
        return row
    return DirectoryRow(
        number=data.number,
        directory_hash=data.directory_hash,
        changed_at=said.time,
        actor=None if said.actor is None else said.actor.id,
        reason=data.reason,
        partition=event.position.partition,
        log_offset=event.position.offset,
        directory=data.directory.model_dump(mode="json"),
    )


@partitions.on(DirectoryChanged)
def _taken(
    row: DirectoryPartitionRow | None, event: Recorded[DirectoryChanged]
) -> DirectoryPartitionRow:
    said, data = event.event, event.event.data
    return DirectoryPartitionRow(
        partition=event.position.partition,
        number=data.number,
        directory_hash=data.directory_hash,
        changed_at=said.time,
        log_offset=event.position.offset,
    )


@absences.on(AbsenceChanged)
def _away(row: AbsenceRow | None, event: Recorded[AbsenceChanged]) -> AbsenceRow:
    said, data = event.event, event.event.data
    found = AbsenceRow(
        absent=data.user,
        substitute=data.substitute,
        since=data.since,
        until=data.until,
        requested_at=data.requested_at,
        actor=None if said.actor is None else said.actor.id,
        reason=data.reason,
    )
    # Partitions are read in any order: what was asked last is the same in all of them.
    return found if row is None or _order(row) <= _order(found) else row


def _order(row: AbsenceRow) -> tuple[Any, ...]:
    return (
        row.requested_at, row.substitute or "", row.since, row.until, row.actor or "", row.reason,
    )  # fmt: skip
