"""The log for an address."""

from __future__ import annotations

from urllib.parse import urlsplit

from meshline.events.errors import SettingsInvalid
from meshline.events.log.protocol import EventLog
from meshline.events.log.settings import LogSettings

__all__ = ["open_log"]


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
