"""The auditor that tests use: it raises at the first thing that should not be there."""

from __future__ import annotations

from typing import Any

from meshline.engine.core.auditor import Auditor as Reader
from meshline.engine.core.state import PartitionState
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.envelope import Event
from meshline.events.errors import EventUnreadable
from meshline.events.ids import causation_of
from meshline.events.log.protocol import LogRecord
from meshline.events.requests import Request
from meshline.workflow.registry import Registry

__all__ = ["Auditor", "HistoryWrong"]


class HistoryWrong(AssertionError):
    """A fact that counts says what must never be said."""


class Auditor:
    """Reads one partition, record by record, and holds each fact against the rules.

    Args:
        registry: all definitions that there are.
        partition: that it reads.
    """

    def __init__(self, registry: Registry, partition: int = 0) -> None:
        self.accepted: set[str] = set()
        self._reader = Reader(registry, partition)

    @property
    def state(self) -> PartitionState:
        return self._reader.state

    def read(self, record: LogRecord) -> Event[Any] | None:
        """Take in the next record; return its event if it counts.

        Raises:
            HistoryWrong: it counts, and must not be.
        """
        void = self.state.void_facts
        for wrong in self._reader.read(record):
            if wrong.severity == "error":
                raise HistoryWrong(
                    f"{wrong.found}, of run {wrong.about}: expected {wrong.expected}"
                )
        try:
            event = decode(record.value)
        except EventUnreadable:
            return None
        counts = self.state.void_facts == void
        if counts:
            self._check_decided(event)
            if type(event.data) is facts.TriggerAccepted:
                self.accepted.add(event.subject)
        if isinstance(event.data, Request):
            assert causation_of(record.partition, record.offset) in self.state.pending
        return event if counts else None

    def _check_decided(self, event: Event[Any]) -> None:
        """Whatever comes may be decided; where it could not be, the engine has a mistake."""
        data = event.data
        words = (getattr(data, "code", ""), getattr(data, "kind", ""), getattr(data, "reason", ""))
        if "undecidable" in words or "could not be decided" in words[2]:
            raise HistoryWrong(f"{data!r} of run {event.subject}: expected a decision")
