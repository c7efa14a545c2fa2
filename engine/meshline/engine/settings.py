"""Settings of the worker, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshline.engine.core.keeper import KeeperLimits
from meshline.events.gate import Gate

__all__ = ["WorkerSettings"]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Limits and times of one worker.

    Args:
        group: workers of one group share the partitions of a log.
        fetch_records_max: records taken from the log at once.
        fetch_wait_s: how long one fetch waits for the first of them.
        steps_max: tries under way at the same time; further ones wait for their turn.
        threads_max: of these, plain functions, each in a thread; 0: in the event loop itself, where
            a simulation must decide when each thing happens.
        tries_lost_max: tries that go on after their time-out, in a thread or not heeding that they
            are cancelled; with so many the worker ends, since only a new process is rid of them.
        loop_blocked_s: an ``async`` step that keeps the event loop to itself for so long is named;
            0: nobody looks.
        loop_blocked_s_max: … and is ended as failed, if it is Python that runs. Well below the
            log's ``session_timeout_s``: others take over a worker that stands still for that long.
        drain_s: how long a stop waits for what is under way.
        reclaim_s: how long to wait before a partition that another claimed is claimed back, if it
            is still meant to be held here.
        sweep_s: how often to look for what should not be: appends not read back, strays.
        clock_off_s_max: how far this worker's clock and the log's may differ; with more the worker
            ends, since its timers would be early or late. 0: nobody looks.
        stray_s: tries of a partition that went elsewhere go on for so long, in case it comes back.
        snapshot_records: a snapshot of a partition is taken after so many records.
        gate: what a step's result must pass to become part of the history.
        keeper: limits of each partition's keeper.
    """

    group: str = "workers"
    fetch_records_max: int = 5_000
    fetch_wait_s: float = 1.0
    steps_max: int = 1_000
    threads_max: int = 32
    tries_lost_max: int = 64
    loop_blocked_s: float = 1.0
    loop_blocked_s_max: float = 3.0
    drain_s: float = 10.0
    reclaim_s: float = 6.0
    sweep_s: float = 1.0
    clock_off_s_max: float = 30.0
    stray_s: float = 30.0
    snapshot_records: int = 100_000
    gate: Gate = field(default_factory=Gate)
    keeper: KeeperLimits = field(default_factory=KeeperLimits)
