"""What one view has parked: what its store holds, and what the batch at hand adds and frees."""

from __future__ import annotations

from collections.abc import Iterable

from meshline.events.envelope import Position
from meshline.projections.projection import Projection
from meshline.projections.store import Parked, Stop, ViewStore

__all__ = ["Parking"]


class Parking:
    """The parked events of one view while a batch is folded.

    Args:
        stopped: what the store has stopped.
    """

    def __init__(self, projection: Projection, store: ViewStore, stopped: Iterable[Stop]) -> None:
        self.stopped: set[Stop] = set(stopped)
        self._projection = projection
        self._store = store
        self._parked: dict[Position, Parked] = {}
        self._freed: dict[Position, None] = {}
        # What the batch did to ``stopped``, to take it back: what, and whether it was in there.
        self._undo: list[tuple[Stop, bool]] = []

    @property
    def parked(self) -> tuple[Parked, ...]:
        """What the batch parks."""
        return tuple(self._parked.values())

    @property
    def freed(self) -> tuple[Position, ...]:
        """What the batch takes out of what the store holds; some of it may be parked again."""
        return tuple(self._freed)

    def park(self, event: Parked) -> None:
        self._parked[event.position] = event
        if event.stops and event.stop not in self.stopped:
            self._undo.append((event.stop, False))
            self.stopped.add(event.stop)

    def release(self, stop: Stop) -> None:
        """Let the entity go on, unless one of its events is parked again."""
        if stop in self.stopped:
            self._undo.append((stop, True))
            self.stopped.discard(stop)

    async def at(self, position: Position) -> Parked | None:
        """Return what is parked there."""
        if position in self._parked:
            return self._parked[position]
        if position in self._freed:
            return None
        return await self._store.parked_at(self._projection, position)

    async def of(self, stop: Stop) -> list[Parked]:
        """Return all that is parked of an entity in its partition, in the order of the log."""
        stored = await self._store.parked_of(self._projection, stop)
        found = [event for event in stored if event.position not in self._freed]
        found += [event for event in self._parked.values() if event.stop == stop]
        return sorted(found, key=lambda event: event.position)

    def take_out(self, events: Iterable[Parked]) -> None:
        """They are no longer parked."""
        for event in events:
            if self._parked.pop(event.position, None) is None:
                self._freed[event.position] = None

    def written(self) -> None:
        """The batch is in the store."""
        self._parked.clear()
        self._freed.clear()
        self._undo.clear()

    def dropped(self) -> None:
        """The batch is not in the store."""
        for stop, was_stopped in reversed(self._undo):
            if was_stopped:
                self.stopped.add(stop)
            else:
                self.stopped.discard(stop)
        self._parked.clear()
        self._freed.clear()
        self._undo.clear()
