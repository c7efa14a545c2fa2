"""Limits and times of a publisher, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PublisherSettings"]


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """The limits.

    Args:
        append_deadline_s: an append without an answer is tried again until then.
        retry_delay_s: the pause before the second try; it doubles, up to a second.
        batch_bytes_max: one append; a log takes up to its own ``batch_bytes_max`` as a whole.
        batch_records_max: one append.
        unsent_bytes_max: what waits to be appended, over all partitions; above it callers wait.
        window_max: in ``publish_many``, triggers whose answers are still to come.
        fetch_records_max: records that are read at once while answers are awaited.
        fetch_wait_s: how long one look for answers lasts.
        idle_s: how long the reader is kept open when nobody waits for an answer.
    """

    append_deadline_s: float = 30.0
    retry_delay_s: float = 0.05
    batch_bytes_max: int = 512 * 1024
    batch_records_max: int = 500
    unsent_bytes_max: int = 8 * 1024 * 1024
    window_max: int = 1000
    fetch_records_max: int = 1000
    fetch_wait_s: float = 1.0
    idle_s: float = 5.0
