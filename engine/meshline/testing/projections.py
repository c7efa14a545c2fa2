"""A projection under test: given these events, its rows are these."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel

from meshline.events.envelope import Actor, Event, Position, Recorded
from meshline.events.facts import Fact
from meshline.events.log import LogIdentity
from meshline.events.log.protocol import LogRecord
from meshline.projections.intake import Intake, Item
from meshline.projections.memory_store import MemoryStore
from meshline.projections.projection import Projection, Row, Table
from meshline.projections.recall import recall_among
from meshline.projections.store import Checkpoint, Parked
from meshline.projections.view import Batch, View
from meshline.testing.workflow_test import START, WorkflowTest

__all__ = ["ProjectionTest"]

R = TypeVar("R", bound=Row)
T = TypeVar("T")
RUN = "11111111-1111-5111-8111-111111111111"


class ProjectionTest:
    """Applies events to a projection in memory, as a projector would, and shows its rows.

    ``given`` and ``when`` do the same; two words make a test readable. An event that the
    projection can't apply fails the test at once, unless ``may_park`` is set.

    Args:
        start: the time of the first event; each further one is a minute later.
        may_park: keep what fails for ``parked``, as a projector does.
    """

    def __init__(
        self, projection: Projection, *, start: datetime = START, may_park: bool = False
    ) -> None:
        self._projection = projection
        self._now = start
        self._may_park = may_park
        self._offset = 0
        self._store = MemoryStore()
        identity = LogIdentity("test", 1, datetime(2026, 1, 1, tzinfo=UTC))
        installed = _result_of(self._store.install(projection, identity))
        self._seen: dict[Position, Item] = {}
        self._view = View(projection, self._store, installed, recall_among(self._seen))

    # -- given and when ------------------------------------------------------------------------

    def given(
        self,
        *events: BaseModel,
        run: str = RUN,
        at: datetime | None = None,
        by: str | None = None,
    ) -> ProjectionTest:
        """Apply facts or requests of one run.

        Args:
            at: when the first of them happened; by default a minute after the one before.
            by: who acted, such as ``user:ada``.
        """  # fmt: skip
        self._now = at or self._now
        items: list[Item] = []
        for data in events:
            items.append(self._recorded(data, run, by))
            self._now += timedelta(minutes=1)
        self._apply(items)
        return self

    when = given

    def given_log_of(self, test: WorkflowTest) -> ProjectionTest:
        """Apply all that a workflow under test has said: what a keeper really writes.

        Only once, and before any other event.
        """
        if self._offset:
            raise ValueError(
                f"The projection has had {self._offset} events: expected a whole log as the first. "
                "Make a ProjectionTest of its own for it."
            )
        records: list[LogRecord] = test.records
        intake = Intake({0: Checkpoint()}, self._projection.handles)
        self._offset = len(records)
        self._apply(intake.take(records))
        return self

    def _recorded(self, data: BaseModel, run: str, by: str | None) -> Recorded[Any]:
        is_fact = isinstance(data, Fact)
        event: Event[Any] = Event(
            id=f"e{self._offset}",
            source="test",
            subject=run,
            time=self._now,
            data=data,
            recorded_at=self._now,
            epoch=0 if is_fact else None,
            sequence=self._offset + 1 if is_fact else None,
            actor=None if by is None else Actor(by.partition(":")[0], by),
        )
        self._offset += 1
        return Recorded(event, Position(0, self._offset - 1))

    def _apply(self, items: list[Item]) -> None:
        before = self._view.checkpoints[0].offset
        if self._offset == before:
            return
        self._seen |= {item.position: item for item in items}
        batch = Batch(items, {0: before}, {0: Checkpoint(offset=self._offset)})
        change = _result_of(self._view.prepare(batch, checked=True))
        assert change is not None, "the batch goes on where the last one ended"
        if change.parked and not self._may_park:
            raise AssertionError(_said_of(change.parked[0]))
        _result_of(self._store.commit([change]))
        self._view.committed(change)

    # -- then ----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time of the next event."""
        return self._now

    def rows(self, table: Table[R]) -> list[R]:
        """Return the table's rows in the order of their keys."""
        return _result_of(self._store.rows(table))

    def row(self, table: Table[R], *key: Any) -> R | None:
        """Return the row with this key; None if there is none."""
        return next((row for row in self.rows(table) if table.key_of(row) == key), None)

    @property
    def parked(self) -> list[Parked]:
        """What could not be applied, and what waits behind it."""
        return _result_of(self._store.parked(self._projection))


def _said_of(parked: Parked) -> str:
    return (
        f"{parked.event_type} at {parked.position} can't be applied: {parked.error}. Expected a "
        "projection that applies it: a projector would park it and the run's later events.\n"
        f"{parked.stack}"
    )


def _result_of(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, also where the test itself runs in an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()
