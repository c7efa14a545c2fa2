"""Claiming partitions: a keeper acts once its claim is read back, and the clocks agree by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from meshline.engine.clock_watch import ClockWatch
from meshline.engine.errors import ClockOff
from meshline.engine.partitions import Held
from meshline.engine.settings import WorkerSettings
from meshline.events.clock import Clock
from meshline.events.crash_points import crash_point
from meshline.events.log import Accepted, EventLog, LogRecord

__all__ = ["Claims"]

logger = logging.getLogger("meshline.engine")

UNANSWERED_S = 0.2
"""After a claim that was not accepted; it may still come, and another settles it either way."""


class Claims:
    """Makes the claims of one worker. Make it on the loop that the worker runs in.

    Args:
        mark: says that there is something to do for a partition.
    """

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        new_id: Callable[[], str],
        settings: WorkerSettings,
        mark: Callable[[int], None],
    ) -> None:
        self._log = log
        self._clock = clock
        self._new_id = new_id
        self._settings = settings
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._watch = ClockWatch(settings.clock_off_s_max, self._loop.time)
        self._renewed_after = 0

    def claim_if_due(self, partition: int, held: Held, now: datetime) -> None:
        """Claim a partition of which all that stood in it is read."""
        keeper = held.keeper
        if keeper.is_claiming or held.claim is not None:
            return
        if keeper.state.next_offset < held.caught_up_at:
            return
        if held.claim_not_before <= self._loop.time():
            held.claim = self._loop.create_task(self._claim(partition, held, now))

    async def _claim(self, partition: int, held: Held, now: datetime) -> None:
        held.claimed_at, held.claimed_after_jumps = now, self._watch.jumps
        entry = held.keeper.claim(self._new_id(), now)
        crash_point("claim.before")
        result = await self._log.append(partition, [entry])
        crash_point("claim.after")
        held.claim = None
        held.claim_not_before = self._loop.time() + self._settings.reclaim_s
        if not isinstance(result, Accepted):
            logger.warning("Claim of partition %d: %s", partition, result)
            held.keeper.forget_claim()
            held.claim_not_before = self._loop.time() + UNANSWERED_S
        self._mark(partition)

    def read_back(self, held: Held, records: Sequence[LogRecord]) -> None:
        """Compare the clocks, now that a claim stands among these records.

        Raises:
            ClockOff: they differ by too much; the keeper says nothing any more.
        """
        claim = next(record for record in records if record.offset == held.keeper.epoch)
        assert held.claimed_at is not None, "what is read back was made"
        now = self._clock.now()
        self._look_at(now)
        if held.claimed_after_jumps != self._watch.jumps:
            # It was made by another clock than goes now, and says nothing about this one.
            self._claim_anew(claim.partition, held)
            return
        try:
            self._watch.compare(held.claimed_at, claim.appended_ms, now)
        except ClockOff:
            # Before the pump has its turn, and says something by this clock.
            held.keeper.give_way()
            raise

    def renew_after_jump(self, held_now: Mapping[int, Held], now: datetime) -> None:
        """Let all claim anew if the clock has jumped: by that the log tells what time it is."""
        self._look_at(now)
        if self._renewed_after == self._watch.jumps:
            return
        self._renewed_after = self._watch.jumps
        for partition, held in held_now.items():
            if held.keeper.is_active and held.claimed_after_jumps != self._watch.jumps:
                self._claim_anew(partition, held)

    def _look_at(self, now: datetime) -> None:
        if self._watch.has_jumped(now):
            logger.warning("The clock has jumped to %s", now)

    def _claim_anew(self, partition: int, held: Held) -> None:
        held.keeper.give_way()
        held.claim_not_before = 0.0
        self._mark(partition)
