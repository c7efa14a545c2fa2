"""Partitions as a worker deals with them: held now, or gone elsewhere and perhaps to come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from meshline.engine.core.keeper import Keeper

__all__ = ["Held", "Stray"]


@dataclass(slots=True)
class Held:
    """A partition in a worker's hands, active or on the way to it."""

    keeper: Keeper
    caught_up_at: int
    append: asyncio.Task[None] | None = None
    claim: asyncio.Task[None] | None = None
    claimed_at: datetime | None = None
    claimed_after_jumps: int = 0
    claim_not_before: float = 0.0
    accepted_last: int | None = None
    snapshot_at: int = 0
    timer: asyncio.TimerHandle | None = None

    @property
    def has_passed_its_own(self) -> bool:
        """Whether all is read up to where the log has a proposal, and it was not there."""
        last = self.accepted_last
        keeper = self.keeper
        return last is not None and keeper.is_proposing and keeper.state.next_offset > last

    def let_go(self) -> None:
        if self.claim is not None:
            self.claim.cancel()
        if self.timer is not None:
            self.timer.cancel()


@dataclass(slots=True)
class Stray:
    """A partition that went elsewhere: until then its tries go on, and its state is remembered."""

    until: float
    held: Held
