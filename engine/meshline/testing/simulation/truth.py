"""What the log says, read record by record as it is taken, by a reader that is never wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from meshline.engine.core.state import PartitionState
from meshline.engine.settings import WorkerSettings
from meshline.events import facts
from meshline.events.codec import decode
from meshline.events.envelope import Event, Position
from meshline.events.errors import EventUnreadable
from meshline.events.log.protocol import LogRecord
from meshline.testing.auditor import Auditor
from meshline.testing.simulation.world import World
from meshline.workflow.registry import Registry

__all__ = ["Truth"]

AHEAD_MAX = timedelta(seconds=WorkerSettings().clock_off_s_max)

_CHATTY = ("WorkflowRegistered", "LogCreated")


class Truth:
    """Listens to a ``LogServer``.

    ``started`` are the tries that may have begun, ``succeeded`` those of which a worker said so;
    ``answers`` the facts that count, by the cause that they name; ``asked`` where requests stand,
    by the id that their client gave them.
    """

    def __init__(self, world: World, registry: Registry) -> None:
        self._world = world
        self.auditors = [Auditor(registry, p) for p in range(world.plan.partitions)]
        self.started: set[tuple[str, str, int]] = set()
        self.succeeded: set[tuple[str, str, int]] = set()
        self.answers: dict[str, list[Event[Any]]] = {}
        self.asked: dict[str, list[Position]] = {}
        self.accepted: dict[str, str] = {}
        self.claims = 0
        self.records = 0

    @property
    def states(self) -> list[PartitionState]:
        return [auditor.state for auditor in self.auditors]

    def read(self, record: LogRecord) -> None:
        self.records += 1
        event = self.auditors[record.partition].read(record)
        if self._world.is_told:
            self._tell(record, event)
        if event is None:
            return
        data = event.data
        if event.is_fact:
            self._check_time(record, event)
        if event.correlation_id is not None and not event.is_fact:
            position = Position(record.partition, record.offset)
            self.asked.setdefault(event.correlation_id, []).append(position)
        if isinstance(data, facts.PartitionClaimed):
            self.claims += 1
        elif isinstance(data, facts.StepStarted):
            self.started.add((event.subject, data.step, data.attempt))
        elif isinstance(data, facts.StepSucceeded) and event.causation_id is None:
            self.succeeded.add((event.subject, data.step, data.attempt))
        elif isinstance(data, facts.TriggerAccepted):
            self.accepted[event.subject] = event.causation_id or ""
        if event.is_fact and event.causation_id is not None:
            self.answers.setdefault(event.causation_id, []).append(event)

    def _check_time(self, record: LogRecord, event: Event[Any]) -> None:
        """Facts may be old when the log takes them, but not from the future."""
        ahead = event.recorded_at - self._world.now()
        if ahead > AHEAD_MAX:
            where = f"{record.partition}:{record.offset}"
            self._world.fail(AssertionError(f"The fact at {where} is said {ahead} ahead of time"))

    def _tell(self, record: LogRecord, event: Event[Any] | None) -> None:
        where = f"{record.partition}:{record.offset}"
        try:
            found = decode(record.value)
        except EventUnreadable:
            self._world.tell("log", f"{where} holds what is no event")
            return
        name = type(found.data).__name__
        if name in _CHATTY:
            return
        said = " ".join(
            str(value)
            for field in ("step", "attempt", "why", "timer", "approval", "keeper", "trigger_id")
            if (value := getattr(found.data, field, None)) is not None
        )
        run = f" of {found.subject[:8]}" if found.subject else ""
        epoch = f" in epoch {found.epoch}, number {found.sequence}" if found.is_fact else ""
        void = "" if event is not None else ", void"
        self._world.tell("log", f"{where} {name} {said}{run}{epoch}{void}")
