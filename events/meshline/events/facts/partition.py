"""Facts about the log itself, its partitions, and what their keepers know and refuse."""

from __future__ import annotations

from typing import Any

from meshline.events.facts.fact import Fact

__all__ = [
    "LogCreated",
    "ParkedEventRetried",
    "ParkedEventSkipped",
    "PartitionClaimed",
    "RequestRejected",
    "WorkflowRegistered",
]


class LogCreated(Fact):
    """The first record of every partition: which log this is, and its layout."""

    TYPE = "meshline.log.created"

    log_id: str
    partition: int
    partitions: int


class PartitionClaimed(Fact):
    """A keeper takes the partition; the offset of this record is its epoch."""

    TYPE = "meshline.partition.claimed"

    keeper: str
    reducer_version: int


class WorkflowRegistered(Fact):
    """A definition as the keepers of this partition know it; ``spec`` is its graph as data."""

    TYPE = "meshline.workflow.registered"

    workflow: str
    version: int
    spec_hash: str
    spec: dict[str, Any]


class RequestRejected(Fact):
    """A request that was refused: which, by whom (the envelope's actor), and why."""

    TYPE = "meshline.request.rejected"

    request: str
    code: str
    reason: str


class ParkedEventRetried(Fact):
    """Here the view applies again what it has parked of the key of this event.

    Like ``ParkedEventSkipped`` it is said to a view and changes nothing else. It frees what is
    parked at this place of the partition, in every build of the view: so a rebuild repeats it.
    """

    TYPE = "meshline.parked.event.retried"

    view: str
    partition: int
    offset: int
    reason: str = ""


class ParkedEventSkipped(Fact):
    """Here the view leaves this event out if it has it parked, and applies what waits behind it.

    What was applied before is never taken back: in a build whose code can apply the event nothing
    is parked here, and nothing is skipped.
    """

    TYPE = "meshline.parked.event.skipped"

    view: str
    partition: int
    offset: int
    reason: str
