"""A past moment, and which events count there.

What "up to there" means is one of three things, and each is a plain rule about events:

- by **recorded** time: what Meshline had been told by then. Of each run the events before the first
  one that was recorded after the moment, so always the beginning of what the run's history shows.
- by **event** time: what was so by then, as far as is known today. The events whose own time is not
  after the moment, in the order of the log. An event that was imported late counts at the time at
  which it happened; two that came in the wrong order are still applied in the order of the log.
- by **position**: the events up to and with this place of a partition; of partitions that are not
  named, all.

What is void is void at every moment: the fence sees the whole log, and the moment only what counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from meshline.projections.intake import Item, Undecodable

__all__ = ["Moment"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A past moment: a time, or a position in some partitions.

    Args:
        time: with its zone; None where ``offsets`` says it all.
        by: which of an event's two times counts.
        offsets: the last offset that counts, by partition.
    """

    time: datetime | None = None
    by: Literal["event", "recorded"] = "event"
    offsets: Mapping[int, int] = field(default_factory=dict)

    def admits(self) -> Callable[[Item], bool]:
        """Return a function that says of each event, in the order of the log, whether it counts.

        It remembers which runs have passed the moment: make a new one for each reading.
        """
        passed: set[str] = set()
        time, by, last_of = self.time, self.by, self.offsets

        def counts(item: Item) -> bool:
            partition, offset = item.position
            if offset > last_of.get(partition, offset):
                return False
            if time is None or isinstance(item, Undecodable):
                # Nobody knows the time of what can't be read; as in a live view, it stops its run.
                return True
            if by == "event":
                return item.event.time <= time
            if item.event.recorded_at > time:
                passed.add(item.event.subject)
            return item.event.subject not in passed

        return counts
