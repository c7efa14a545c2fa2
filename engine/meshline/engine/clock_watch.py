"""Watches that this worker's clock goes as the log's does: timers are set and fired by it.

A worker with a wrong clock would set timers late and fire others early, for ever, since what it
says is history. So every claim is a comparison: it says when it was made, and the log when it was
taken. Nothing is said before a claim is read back, and after a jump of the clock a new one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from meshline.engine.errors import ClockOff

__all__ = ["ClockWatch"]


class ClockWatch:
    """See the module.

    Args:
        off_s_max: how far the two may differ; 0: nobody looks.
        elapsed: seconds that have really passed since some moment.
    """

    def __init__(self, off_s_max: float, elapsed: Callable[[], float]) -> None:
        self._off_max = timedelta(seconds=off_s_max)
        self._elapsed = elapsed
        self._began: datetime | None = None
        self.jumps = 0

    def has_jumped(self, now: datetime) -> bool:
        """Return whether the clock went on by other than what has passed; once for each jump."""
        if not self._off_max:
            return False
        began = now - timedelta(seconds=self._elapsed())
        if self._began is not None and abs(began - self._began) <= self._off_max:
            return False
        is_first, self._began = self._began is None, began
        self.jumps += not is_first
        return not is_first

    def compare(self, claimed_at: datetime, appended_ms: int, now: datetime) -> None:
        """Compare the times of a claim: made and taken; ``now`` is after both.

        Raises:
            ClockOff: they can't all be right.
        """
        taken = datetime.fromtimestamp(appended_ms / 1000, UTC)
        # A claim may be long on its way, but it is not taken before it is made.
        ahead, behind = claimed_at - taken, taken - now
        if self._off_max and max(ahead, behind) > self._off_max:
            seconds, word = max(
                (ahead.total_seconds(), "ahead of"), (behind.total_seconds(), "behind")
            )
            raise ClockOff(
                f"This worker's clock is {seconds:,.0f} s {word} the log's: expected "
                f"{self._off_max.total_seconds():g} s at most, because timers go by it. Let this "
                "machine and the log's follow one time server, then start the worker again."
            )
