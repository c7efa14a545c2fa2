"""What a worker is at."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkerStatus"]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker is at, for people and metrics.

    Args:
        partitions: in which this worker acts.
        catching_up: partitions that it reads before it may claim them, or whose claim it awaits.
    """

    partitions: tuple[int, ...]
    catching_up: tuple[int, ...]
    open_runs: int
    ended_runs: int
    steps_under_way: int
    records_read: int
    facts_appended: int
    void_facts: int
    unreadable_records: int
