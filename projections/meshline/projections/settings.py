"""Settings of the projector and of what runs beside it, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ProjectorSettings", "ReadingSettings", "SnapshotSettings"]


@dataclass(frozen=True, slots=True)
class ProjectorSettings:
    """Limits and times.

    Args:
        batch_records_max: records of one commit; as many again are read ahead meanwhile.
        commit_interval_s: at least so long from one commit to the next; the first event after a
            rest is committed at once.
        fetch_wait_s: how long one request to an idle log waits for news.
        known_rows_max: rows of each table that stay in memory between batches.
        standby_poll_s: how often a view that another process holds is asked for.
        retry_s, retry_s_max: wait before the first further try after a failure, and the most;
            doubled each time.
        stop_s: how long a stop waits for what is under way with a store that may not answer; what
            is given up then is read again later.
        merge_within_records: views that are closer than this read the log together.
    """

    batch_records_max: int = 4_000
    commit_interval_s: float = 0.03
    fetch_wait_s: float = 1.0
    known_rows_max: int = 20_000
    standby_poll_s: float = 1.0
    retry_s: float = 0.2
    retry_s_max: float = 10.0
    stop_s: float = 3.0
    merge_within_records: int = 5_000


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """How often the rows of views are kept for looking at the past, and how much of that stays.

    Args:
        every_events: at least so many from one snapshot of a view to the next.
        time_share_max: at most this share of the time goes into making them, so that they are
            rarer where views are large.
        count_max: of each build; those that are missed least go.
        bytes_max: of each build, compressed. The newest stays, whatever its size.
        look_s: how often is looked whether one is due.
    """

    every_events: int = 25_000
    time_share_max: float = 0.05
    count_max: int = 24
    bytes_max: int = 1 << 30
    look_s: float = 1.0


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How long it is kept who read payloads.

    Args:
        kept_days: older readings go.
        sweep_s: how often is looked for those.
        batch_rows_max: of one statement that deletes some.
        same_s: a page that refreshes itself is noted again after so long, if it shows the same.
        known_max: readings that are remembered for that.
    """

    kept_days: float = 400.0
    sweep_s: float = 3_600.0
    batch_rows_max: int = 1_000
    same_s: float = 300.0
    known_max: int = 1_000
