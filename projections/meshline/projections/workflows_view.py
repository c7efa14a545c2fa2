"""The view ``workflows``: every definition that was registered, with its five answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from meshline.events.envelope import Recorded
from meshline.events.facts import WorkflowRegistered
from meshline.projections.columns import Json
from meshline.projections.projection import Key, Projection

__all__ = ["WorkflowRow", "projection", "workflows"]


class WorkflowRow(NamedTuple):
    """One definition. Two rows of one version with different hashes are a mistake to be seen.

    Every partition registers it; ``spec`` is as it was said first.
    """

    workflow: str
    version: int
    spec_hash: str
    trigger_type: str
    source: str
    owner: str
    exception_route: str
    expected_outcome: str
    observed: bool
    registered_at: datetime
    partition: int
    log_offset: int
    spec: Json


def _by_definition(event: Recorded[Any]) -> tuple[Key]:
    data = event.event.data
    return ((data.workflow, data.version, data.spec_hash),)


def _entity(event: Recorded[Any]) -> str:
    return f"{event.event.data.workflow} v{event.event.data.version}"


projection = Projection("workflows", version=1, entity=_entity)
workflows = projection.table(
    "workflows", WorkflowRow, key=["workflow", "version", "spec_hash"], keys=_by_definition
)


@workflows.on(WorkflowRegistered)
def _registered(row: WorkflowRow | None, event: Recorded[WorkflowRegistered]) -> WorkflowRow:
    data, spec = event.event.data, event.event.data.spec
    first = (event.event.time, *event.position)
    # Partitions are read in any order: the earliest is the same in all of them.
    if row is not None and (row.registered_at, row.partition, row.log_offset) <= first:
        return row
    trigger = spec.get("trigger")
    return WorkflowRow(
        workflow=data.workflow,
        version=data.version,
        spec_hash=data.spec_hash,
        trigger_type=str(trigger.get("type", "")) if isinstance(trigger, dict) else "",
        source=str(spec.get("source", "")),
        owner=str(spec.get("owner", "")),
        exception_route=str(spec.get("exception_route", "")),
        expected_outcome=str(spec.get("expected_outcome", "")),
        observed=bool(spec.get("observed", False)),
        registered_at=event.event.time,
        partition=event.position.partition,
        log_offset=event.position.offset,
        spec=spec,
    )
