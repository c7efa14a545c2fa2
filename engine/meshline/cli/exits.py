"""Exit codes: one number for each kind of ending, the same for all commands."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MEANINGS", "Exit", "exit_of"]


class Exit(IntEnum):
    """What a command's exit code says. Scripts rely on the numbers: they never change."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    UNANSWERED = 6
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it did not work, or something was found (check, verify, doctor, view rebuild "
    "with parked events, view retry that fails again); the message says what",
    Exit.USAGE: "the command line or an address is wrong; nothing was done",
    Exit.REFUSED: "a trigger or a request was rejected; the reason is printed and in the log",
    Exit.NOT_FOUND: "there is no such run, exception, approval or trigger, or the id is ambiguous",
    Exit.UNREACHABLE: "the log or the views did not answer, or there is no log",
    Exit.UNANSWERED: "it is in the log, but no worker has decided about it in time",
    Exit.INTERRUPTED: "stopped by Ctrl-C",
}

_BY_CODE = {
    # The log.
    "ML1001": Exit.REFUSED,
    "ML2001": Exit.UNREACHABLE,
    "ML2002": Exit.UNREACHABLE,
    "ML2006": Exit.REFUSED,
    "ML2007": Exit.UNANSWERED,
    "ML2009": Exit.USAGE,
    # Settings and addresses.
    "ML3001": Exit.USAGE,
    "ML3002": Exit.UNREACHABLE,
    "ML3003": Exit.UNREACHABLE,
    "ML3004": Exit.USAGE,
    # Views.
    "ML5005": Exit.UNREACHABLE,
    "ML5006": Exit.UNANSWERED,
    "ML5007": Exit.NOT_FOUND,
    "ML5009": Exit.REFUSED,
    "ML5011": Exit.REFUSED,
    # A server.
    "ML6001": Exit.USAGE,
    "ML6002": Exit.REFUSED,
    "ML6006": Exit.REFUSED,
    "ML6008": Exit.UNREACHABLE,
    "ML6009": Exit.UNREACHABLE,
    "ML6010": Exit.UNREACHABLE,
    "invalid_request": Exit.USAGE,
    # Apps.
    "ML4101": Exit.USAGE,
}


def exit_of(code: str) -> Exit:
    """Return how a command ends that meets an error with this code."""
    return _BY_CODE.get(code, Exit.FAILED)
