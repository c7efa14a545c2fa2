"""Settings of the logs, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogSettings"]


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Limits and times, the same for every log.

    Args:
        append_deadline_s: after this an append without an answer is unknown.
        open_deadline_s: how long to try to reach the log at the start.
        record_bytes_max: one record; larger ones are refused before they reach a client library.
        batch_bytes_max: one append up to this size is all or nothing.
        unsent_bytes_max: appends under way; above it further ones wait.
        read_ahead_bytes_max: what a reader holds that was not fetched yet; above it, it waits.
        session_timeout_s: a member that is silent for so long loses its partitions.
        heartbeat_s: how often a member shows that it is there.
        linger_ms: how long a batch waits for more records; 0 sends at once.
    """

    append_deadline_s: float = 10.0
    open_deadline_s: float = 20.0
    record_bytes_max: int = 512 * 1024
    batch_bytes_max: int = 900 * 1024
    unsent_bytes_max: int = 32 * 1024 * 1024
    read_ahead_bytes_max: int = 8 * 1024 * 1024
    session_timeout_s: float = 6.0
    heartbeat_s: float = 1.0
    linger_ms: int = 0
