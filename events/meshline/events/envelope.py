"""The envelope around every event: CloudEvents 1.0 attributes and Meshline's extensions."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

__all__ = ["Actor", "Event", "Position", "Recorded"]

D_co = TypeVar("D_co", bound=BaseModel, covariant=True)


class Position(NamedTuple):
    """Where a record stands in the log."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


class Actor(NamedTuple):
    """Who asked or acted; computed by the server, never believed from a client.

    ``kind`` is one of ``user``, ``service``, ``rule``, ``system``; ``id`` is a principal such as
    ``user:ada`` or the name of the rule.
    """

    kind: str
    id: str


class Event(NamedTuple, Generic[D_co]):
    """One event: its data and the CloudEvents attributes around it.

    Facts carry ``epoch`` (offset of their keeper's claim) and ``sequence`` (1, 2, 3 … within that
    epoch); requests carry neither. ``recorded_at`` is the writer's clock at the append; it equals
    ``time`` unless the event tells of something that happened earlier.
    """

    id: str
    source: str
    subject: str
    time: datetime
    data: D_co
    recorded_at: datetime
    epoch: int | None = None
    sequence: int | None = None
    causation_id: str | None = None
    correlation_id: str | None = None
    actor: Actor | None = None
    traceparent: str | None = None

    @property
    def is_fact(self) -> bool:
        return self.epoch is not None

    def numbered(self, epoch: int, sequence: int, source: str) -> Event[D_co]:
        """Return this event as fact number ``sequence`` of ``epoch``, with the id that follows."""
        return self._replace(
            id=f"{epoch}-{sequence}", source=source, epoch=epoch, sequence=sequence
        )


class Recorded(NamedTuple, Generic[D_co]):
    """An event and the position at which the log keeps it."""

    event: Event[D_co]
    position: Position
