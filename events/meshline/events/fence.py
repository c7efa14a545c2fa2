"""Which facts count: the rule that makes every reader derive the same state from the same log.

A keeper appends a claim, and the claim's offset is its epoch. Every fact carries the epoch and its
number within it. A fact counts if its epoch is the latest claim's and its number is exactly the
next; every other fact is void, for every reader, for ever. So the appends of a keeper that was
replaced are void; so is the second copy of an append that was sent twice, and so is everything
behind an append that was lost. A keeper that finds a fact of its own void, or has no answer to an
append, claims anew: that settles what is void. The state of the rule is two numbers a partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from meshline.events.catalogue import CATALOGUE
from meshline.events.envelope import Event
from meshline.events.facts import Fact, LogCreated, PartitionClaimed

__all__ = ["Fence"]

# Asking each event with `isinstance` would take longer than all else here: pydantic answers it.
_NUMBERED = frozenset(c for c in CATALOGUE.values() if issubclass(c, Fact)) - {
    PartitionClaimed,
    LogCreated,
}


@dataclass(slots=True)
class Fence:
    """The rule for one partition; feed it every record in the order of the log.

    ``epoch`` is -1 before the first claim: no fact counts then.
    """

    epoch: int = -1
    sequence: int = 0

    def admits(self, event: Event[Any], offset: int) -> bool:
        """Take note of the record at ``offset`` and return whether it counts.

        Requests, claims and the log's first record always count; a fact without an epoch never.
        """
        kind = event.data.__class__
        if kind is PartitionClaimed:
            self.epoch = offset
            self.sequence = 0
            return True
        if kind not in _NUMBERED:
            return True
        return self.admits_numbers(event.epoch, event.sequence)

    def admits_numbers(self, epoch: int | None, sequence: int | None) -> bool:
        """Take note of a fact of which only its numbers are known; return whether it counts.

        So counts what can't be read: what stands behind it would be void else, for some readers.
        """
        if epoch != self.epoch or self.epoch < 0 or sequence != self.sequence + 1:
            return False
        self.sequence += 1
        return True
