"""The log: the append-only truth, in partitions. One protocol, three implementations.

``open_log(address)`` gives the one for an address: ``memory://``, ``postgresql://…`` or
``kafka://host:port/namespace``. All of them pass one conformance suite, so that only the address
differs between a laptop and production.
"""

from __future__ import annotations

from meshline.events.log.address import open_log
from meshline.events.log.protocol import (
    Accepted,
    AppendResult,
    Entry,
    EventLog,
    LogIdentity,
    LogReader,
    LogRecord,
    Membership,
    Refused,
    Unknown,
)
from meshline.events.log.settings import LogSettings

__all__ = [
    "Accepted",
    "AppendResult",
    "Entry",
    "EventLog",
    "LogIdentity",
    "LogReader",
    "LogRecord",
    "LogSettings",
    "Membership",
    "Refused",
    "Unknown",
    "open_log",
]
