"""Settings of the logs, each with its unit and default; and the log for an address."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from meshline.events.errors import SettingsInvalid
from meshline.events.log.protocol import EventLog

__all__ = ["LogSettings", "open_log"]


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


def open_log(address: str, settings: LogSettings | None = None) -> EventLog:
    """Return the log at an address, not yet opened.

    Args:
        address: ``memory://NAME`` (lives in this process), ``postgresql://…`` (a DSN; the log's
            schema is the DSN's ``meshline_namespace`` query parameter, default ``meshline``), or
            ``kafka://host:port[,host:port]/namespace``.
    Raises:
        SettingsInvalid: the address is none of these.
    """
    scheme = urlsplit(address).scheme
    settings = settings or LogSettings()
    # The client libraries are imported only where they are used.
    if scheme == "memory":
        from meshline.events.log.memory import memory_log

        return memory_log(address, settings)
    if scheme in ("postgresql", "postgres"):
        from meshline.events.log.postgres import PostgresLog

        return PostgresLog(address, settings)
    if scheme == "kafka":
        from meshline.events.log.kafka import KafkaLog

        return KafkaLog(address, settings)
    raise SettingsInvalid(
        f"The log's address is {address!r}: expected memory://NAME, postgresql://… or "
        "kafka://host:port/namespace. Correct --log or MESHLINE_LOG."
    )
