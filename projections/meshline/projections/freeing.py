"""Asking that a parked event is applied after all, or left out: which is meant, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

from meshline.events.envelope import Position
from meshline.events.errors import PayloadRefused
from meshline.events.gate import check_identifier
from meshline.events.log import EventLog
from meshline.projections.errors import NotFound
from meshline.projections.intake import subject_of
from meshline.projections.poison import ParkedKey, parked_keys
from meshline.projections.recall import records_at

__all__ = ["parked_at", "subjects_of"]


async def parked_at(address: str, view: str, position: Position) -> ParkedKey:
    """Return the event that is parked there: in the live build, or else in the newest.

    Raises:
        NotFound: none is.
    """
    found = await parked_keys(address, view, at=position)
    if not found:
        raise NotFound(
            f"Nothing is parked in {view} at {position}: expected an event that "
            f"`meshline view parked {view}` shows."
        )
    return max(found, key=lambda each: (each.state == "live", each.version, each.build))


async def subjects_of(log: EventLog, parked: Sequence[ParkedKey]) -> dict[Position, str]:
    """Return what each event is about, so that the run's history shows what was asked."""
    by_partition: dict[int, list[Position]] = {}
    for position in sorted(each.position for each in parked):
        by_partition.setdefault(position.partition, []).append(position)
    subjects: dict[Position, str] = {}
    for partition, positions in by_partition.items():
        records = await records_at(log, partition, [position.offset for position in positions])
        for position, record in zip(positions, records, strict=True):
            subject = subject_of(record.value, record.key)
            try:
                subjects[position] = check_identifier("subject", subject)
            except PayloadRefused:
                # Foreign bytes may be about anything: the position says enough.
                subjects[position] = ""
    return subjects
