"""Errors of the events room. Each has a code and says what happened, what was expected, what to do.

A refusal by the domain is a fact or a return value; these are the world's faults and the caller's.
"""

from __future__ import annotations

__all__ = [
    "AppendRefused",
    "AppendUnknown",
    "EventUnreadable",
    "EventVersionUnknown",
    "LogIdentityChanged",
    "LogLayoutMismatch",
    "LogNotFound",
    "LogUnavailable",
    "MeshlineError",
    "PayloadRefused",
    "PositionLost",
    "PublisherClosed",
    "SealInvalid",
    "SettingsInvalid",
]


class MeshlineError(Exception):
    """Base of all errors that Meshline raises on purpose.

    Args:
        message: what happened, what was expected, and what to do, with the values.
    """

    code = "ML0000"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code} {self.message}"


class PayloadRefused(MeshlineError):
    """A payload did not pass the gate; ``reason`` is the gate's code, such as ``too_large``."""

    code = "ML1001"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EventUnreadable(MeshlineError):
    """Bytes in the log are no event of Meshline."""

    code = "ML1003"


class EventVersionUnknown(MeshlineError):
    """An event is of a type or version that this program does not know."""

    code = "ML1004"


class LogNotFound(MeshlineError):
    """There is no log at the address, and the caller did not ask to create one."""

    code = "ML2001"


class LogUnavailable(MeshlineError):
    """The log did not answer in time; nothing is known to be lost."""

    code = "ML2002"


class LogIdentityChanged(MeshlineError):
    """The log at this address is not the one that was read before."""

    code = "ML2003"


class LogLayoutMismatch(MeshlineError):
    """The number of partitions is not the one stored when the log was created."""

    code = "ML2004"


class PositionLost(MeshlineError):
    """The log no longer holds a position that was read before, or not yet."""

    code = "ML2005"


class AppendRefused(MeshlineError):
    """The log refused an append for good: the same bytes would be refused again."""

    code = "ML2006"


class AppendUnknown(MeshlineError):
    """An append had no answer before the deadline: the event may be in the log or not."""

    code = "ML2007"


class PublisherClosed(MeshlineError):
    """The publisher was closed, or belongs to the process that this one was forked from."""

    code = "ML2008"


class SealInvalid(MeshlineError):
    """A file that should hold the seal of a log holds none."""

    code = "ML2009"


class SettingsInvalid(MeshlineError):
    """A setting or an address can't be used as given."""

    code = "ML3001"
